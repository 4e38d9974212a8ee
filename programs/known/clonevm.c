/*
 * clonevm BYTES [PROCESSES=5] [SECONDS=0.2]
 *
 * PROCESSES processes with one address space (clone with CLONE_VM, as vfork, but all go on). The root touches BYTES,
 * prints "holding", and holds them for SECONDS; then the others end, are reaped, and it exits 0. BYTES are in the RSS
 * and in the PSS of every process; the footprint of the tree is BYTES once.
 */
#include "known.h"

#include <sched.h>

#define STACK ((size_t)64 << 10)

static int ends[2];

/* Wait until the root closes its end of the pipe. Descriptors are not shared: each process has its own. */
static int wait_for_root(void *unused)
{
    char none;
    (void)unused;
    close(ends[1]);
    return read(ends[0], &none, 1) != 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: clonevm BYTES [PROCESSES] [SECONDS]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    unsigned processes = (unsigned)known_arg(argc, argv, 2, 5);
    double seconds = known_arg(argc, argv, 3, 0.2);
    if (pipe(ends))
        known_fail("pipe");
    for (unsigned i = 1; i < processes; i++)
        if (clone(wait_for_root, known_map(STACK) + STACK, CLONE_VM | SIGCHLD, NULL) < 0)
            known_fail("clone");
    known_touch(bytes);
    known_print("holding");
    known_sleep(seconds);
    close(ends[1]);
    known_reap_all();
    return 0;
}
