import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;

/** N tasks in a ring that pass on one message. The message counts how often it was passed on. */
final class Ring {
    private static final long STOP = -1;

    private final int tasks;
    private final long nanos;

    private Ring(Arguments arguments) {
        this.tasks = arguments.tasks;
        this.nanos = arguments.millis * 1_000_000;
    }

    static void run(String program, String[] args, Starter starter) throws InterruptedException {
        Ring ring = new Ring(Arguments.read(program + " N [SECONDS=10]", args));
        BlockingQueue<Long> first = new ArrayBlockingQueue<>(1);
        BlockingQueue<Long> last = first;
        for (int i = 1; i < ring.tasks; i++) {
            BlockingQueue<Long> from = last;
            BlockingQueue<Long> to = new ArrayBlockingQueue<>(1);
            starter.start(i, () -> pass(from, to));
            last = to;
        }
        BlockingQueue<Long> from = last;
        starter.start(ring.tasks, () -> ring.lead(from, first)).join();
        System.out.println("done " + ring.tasks);
    }

    /** Passes on each message, and ends after it has passed on the one that stops the ring. */
    private static void pass(BlockingQueue<Long> from, BlockingQueue<Long> to) {
        try {
            for (long passed = from.take(); passed != STOP; passed = from.take()) {
                to.put(passed + 1);
            }
            to.put(STOP);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Sends the message, checks the time each time it arrives, and returns when the others have ended. */
    private void lead(BlockingQueue<Long> from, BlockingQueue<Long> to) {
        System.out.println("started " + tasks);
        try {
            long begun = System.nanoTime();
            to.put(1L);
            long passed = from.take();
            while (System.nanoTime() - begun < nanos) {
                to.put(passed + 1);
                passed = from.take();
            }
            System.out.println("passed " + passed);
            to.put(STOP);
            from.take();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
