/** Starting threads of the operating system. */
final class Starting {
    private Starting() {
    }

    /** Starts the {@code i}-th thread, or ends the program with one line. */
    static Thread start(int i, Runnable task) {
        Thread thread = new Thread(task);
        try {
            thread.start();
        } catch (OutOfMemoryError e) {
            System.err.println("could not start thread " + i + ": " + e.getMessage());
            // Returning would wait for the threads that did start.
            System.exit(1);
        }
        return thread;
    }
}
