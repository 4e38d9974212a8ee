import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** N threads of the operating system that sleep. */
public class Threads {
    // A lambda that captured it would be an object for each thread; one with a constant is one for all.
    private static long sleepMillis;

    public static void main(String[] args) throws InterruptedException {
        Arguments arguments = Arguments.read("java-threads N [SLEEP_SECONDS=10]", args);
        int tasks = arguments.tasks;
        sleepMillis = arguments.millis;

        List<Thread> threads = new ArrayList<>();
        for (int i = 1; i <= tasks; i++) {
            threads.add(Starting.start(i, () -> {
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
