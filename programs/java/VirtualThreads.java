import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** N virtual threads that sleep. */
public class VirtualThreads {
    // A lambda that captured it would be an object for each thread; one with a constant is one for all.
    private static long sleepMillis;

    public static void main(String[] args) throws InterruptedException {
        Arguments arguments = Arguments.read("java-virtual-threads N [SLEEP_SECONDS=10]", args);
        int tasks = arguments.tasks;
        sleepMillis = arguments.millis;

        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < tasks; i++) {
            threads.add(Thread.startVirtualThread(() -> {
                try {
                    Thread.sleep(Duration.ofMillis(sleepMillis));
                } catch (InterruptedException e) {
                    // Nothing interrupts it.
                }
            }));
        }
        System.out.println("started " + tasks);
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println("done " + tasks);
    }
}
