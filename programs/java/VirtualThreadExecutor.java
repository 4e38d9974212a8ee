import java.time.Duration;
import java.util.concurrent.Executors;

/** N virtual threads that sleep, started and awaited by an executor. */
public class VirtualThreadExecutor {
    public static void main(String[] args) {
        Arguments arguments = Arguments.read("java-virtual-threads-executor N [SLEEP_SECONDS=10]", args);
        int tasks = arguments.tasks;
        Duration sleep = Duration.ofMillis(arguments.millis);

        // Closing it waits for all that it has started.
        try (var executor = Executors.newVirtualThreadPerTaskExecutor()) {
            for (int i = 0; i < tasks; i++) {
                executor.submit(() -> {
                    Thread.sleep(sleep);
                    return null;
                });
            }
            System.out.println("started " + tasks);
        }
        System.out.println("done " + tasks);
    }
}
