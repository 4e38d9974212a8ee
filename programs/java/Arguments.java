/** The command line that all programs share: {@code N [SLEEP_SECONDS=10]}. */
final class Arguments {
    final int tasks;
    final long sleepMillis;

    private Arguments(int tasks, double sleepSeconds) {
        if (tasks < 1 || !(sleepSeconds >= 0 && sleepSeconds < 1e9)) {
            throw new NumberFormatException();
        }
        this.tasks = tasks;
        this.sleepMillis = Math.round(sleepSeconds * 1000);
    }

    /** Ends the program with a usage line where the arguments cannot be read. */
    static Arguments read(String program, String[] args) {
        try {
            if (args.length == 1 || args.length == 2) {
                return new Arguments(Integer.parseInt(args[0]), args.length == 2 ? Double.parseDouble(args[1]) : 10);
            }
        } catch (NumberFormatException unreadable) {
            // Told below.
        }
        System.err.println("usage: " + program + " N [SLEEP_SECONDS=10]");
        System.exit(2);
        throw new AssertionError();
    }
}
