/** N virtual threads that end at once. */
public class SpawnVirtualThreads {
    public static void main(String[] args) throws InterruptedException {
        Spawn.run("java-virtual-threads-spawn", args, (i, task) -> Thread.startVirtualThread(task));
    }
}
