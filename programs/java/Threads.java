import java.util.ArrayList;
import java.util.List;

/** N threads of the operating system that sleep. */
public class Threads {
    public static void main(String[] args) throws InterruptedException {
        Arguments arguments = Arguments.read("java-threads N [SLEEP_SECONDS=10]", args);
        int tasks = arguments.tasks;
        long sleepMillis = arguments.millis;

        List<Thread> threads = new ArrayList<>();
        for (int i = 1; i <= tasks; i++) {
            threads.add(Starting.start(i, () -> {
                try {
                    Thread.sleep(sleepMillis);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
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
