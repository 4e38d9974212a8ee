/*
 * exec-small BYTES [SECONDS=0.3]
 *
 * Touches BYTES, prints "holding", holds them for SECONDS, then executes itself with BYTES = 0: the same process, now
 * small, prints "small" and runs for SECONDS.
 */
#include "known.h"

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: exec-small BYTES [SECONDS]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    double seconds = known_arg(argc, argv, 2, 0.3);
    known_touch(bytes);
    known_print(bytes ? "holding" : "small");
    known_sleep(seconds);
    if (bytes == 0)
        return 0;
    execl(argv[0], argv[0], "0", argc > 2 ? argv[2] : "0.3", (char *)NULL);
    known_fail("exec");
}
