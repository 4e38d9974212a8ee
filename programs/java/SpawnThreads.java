/** N threads of the operating system that end at once. */
public class SpawnThreads {
    public static void main(String[] args) throws InterruptedException {
        Spawn.run("java-threads-spawn", args, Starting::start);
    }
}
