/** N virtual threads in a ring. */
public class RingOfVirtualThreads {
    public static void main(String[] args) throws InterruptedException {
        Ring.run("java-virtual-threads-channel", args, (i, task) -> Thread.startVirtualThread(task));
    }
}
