import java.util.concurrent.CountDownLatch;

/** N tasks that end at once. */
final class Spawn {
    private Spawn() {
    }

    static void run(String program, String[] args, Starter starter) throws InterruptedException {
        Arguments arguments = Arguments.read(program + " N [IDLE_SECONDS=10]", args);
        int tasks = arguments.tasks;

        Thread.sleep(100);
        System.out.println("ready " + tasks);
        CountDownLatch alive = new CountDownLatch(tasks);
        for (int i = 1; i <= tasks; i++) {
            starter.start(i, alive::countDown);
        }
        alive.await();
        System.out.println("ended " + tasks);
        Thread.sleep(arguments.millis);
        System.out.println("done " + tasks);
    }
}
