import java.util.ArrayList;
import java.util.List;

/** N threads of the operating system that sleep. */
public class Threads {
    public static void main(String[] args) throws InterruptedException {
        Arguments arguments = Arguments.read("java-threads", args);
        int tasks = arguments.tasks;
        long sleepMillis = arguments.sleepMillis;

        List<Thread> threads = new ArrayList<>();
        for (int i = 1; i <= tasks; i++) {
            Thread thread = new Thread(() -> {
                try {
                    Thread.sleep(sleepMillis);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
            });
            try {
                thread.start();
            } catch (OutOfMemoryError e) {
                System.err.println("could not start thread " + i + ": " + e.getMessage());
                // Returning would wait for the threads that did start.
                System.exit(1);
            }
            threads.add(thread);
        }
        System.out.println("started " + tasks);
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.println("done " + tasks);
    }
}
