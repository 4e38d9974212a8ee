import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/** N virtual threads that sleep. */
public class VirtualThreads {
    public static void main(String[] args) throws InterruptedException {
        Arguments arguments = Arguments.read("java-virtual-threads N [SLEEP_SECONDS=10]", args);
        int tasks = arguments.tasks;
        Duration sleep = Duration.ofMillis(arguments.millis);

        List<Thread> threads = new ArrayList<>();
        for (int i = 0; i < tasks; i++) {
            threads.add(Thread.startVirtualThread(() -> {
                try {
                    Thread.sleep(sleep);
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
