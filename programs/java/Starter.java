/** A way to start threads of some kind. */
interface Starter {
    /** Starts the {@code i}-th thread. */
    Thread start(int i, Runnable task);
}
