/** N threads of the operating system in a ring. */
public class RingOfThreads {
    public static void main(String[] args) throws InterruptedException {
        Ring.run("java-threads-channel", args, Starting::start);
    }
}
