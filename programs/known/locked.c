/*
 * locked BYTES [SECONDS=0.2]
 *
 * Locks BYTES into memory (mlock): the kernel touches them for that. Prints "holding", holds them for SECONDS, exits 0.
 * Requires a limit of locked memory (RLIMIT_MEMLOCK, ulimit -l) of at least BYTES, or the right to exceed it.
 */
#include "known.h"

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: locked BYTES [SECONDS]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    double seconds = known_arg(argc, argv, 2, 0.2);
    if (mlock(known_map(bytes), bytes))
        known_fail("mlock");
    known_print("holding");
    known_sleep(seconds);
    return 0;
}
