/** The command line that all programs share: how many tasks, and a number of seconds that is 10 if not given. */
final class Arguments {
    final int tasks;
    final long millis;

    private Arguments(int tasks, double seconds) {
        if (tasks < 1 || !(seconds >= 0 && seconds < 1e9)) {
            throw new NumberFormatException();
        }
        this.tasks = tasks;
        this.millis = Math.round(seconds * 1000);
    }

    /** Ends the program with the usage line where the arguments cannot be read. */
    static Arguments read(String usage, String[] args) {
        try {
            if (args.length == 1 || args.length == 2) {
                return new Arguments(Integer.parseInt(args[0]), args.length == 2 ? Double.parseDouble(args[1]) : 10);
            }
        } catch (NumberFormatException unreadable) {
            // The usage is printed below.
        }
        System.err.println("usage: " + usage);
        System.exit(2);
        throw new AssertionError();
    }
}
