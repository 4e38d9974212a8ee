/*
 * children COUNT AT_ONCE BYTES [PARENT=0] [HOLD_MS=0] [HOW=fork]
 *
 * Touches PARENT bytes, then starts COUNT children in groups of AT_ONCE. The children of a group touch BYTES each, wait
 * until all have them, hold them for HOLD_MS and exit. The next group starts when the last has ended. Prints "holding"
 * when PARENT is touched and exits 0 when all children have ended. The footprint of the tree is PARENT + AT_ONCE x
 * BYTES, and start-up pages.
 *
 * HOW: fork: the children inherit PARENT, and the parent waits for them. unreaped: the same, but with SA_NOCLDWAIT set
 * for SIGCHLD, so that the kernel adds their rusage and page faults to no process. exec: they execute this program, with
 * BYTES as its PARENT and no children; AT_ONCE must be 1.
 */
#include "known.h"

#include <spawn.h>

extern char **environ;

/* Start this program with `bytes` as its PARENT. posix_spawn copies no page tables, as other programs' spawns. */
static void execute(char *program, size_t bytes, double hold_s)
{
    char size[32], hold_ms[32];
    snprintf(size, sizeof size, "%zu", bytes);
    snprintf(hold_ms, sizeof hold_ms, "%g", hold_s * 1e3);
    pid_t child;
    errno = posix_spawn(&child, program, NULL, NULL, (char *[]){program, "0", "1", "0", size, hold_ms, NULL}, environ);
    if (errno)
        known_fail("posix_spawn");
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: children COUNT AT_ONCE BYTES [PARENT] [HOLD_MS] [fork|unreaped|exec]\n");
        return 2;
    }
    unsigned count = (unsigned)known_arg(argc, argv, 1, 0), at_once = (unsigned)known_arg(argc, argv, 2, 1);
    size_t bytes = (size_t)known_arg(argc, argv, 3, 0), parent = (size_t)known_arg(argc, argv, 4, 0);
    double hold_s = known_arg(argc, argv, 5, 0) / 1e3;
    enum { FORK, UNREAPED, EXEC } how = known_choice(argc, argv, 6, (const char *[]){"fork", "unreaped", "exec", NULL});
    if (at_once == 0 || count % at_once || (how == EXEC && at_once > 1)) {
        fprintf(stderr, "children: COUNT must be a multiple of AT_ONCE, and AT_ONCE must be 1 with exec\n");
        return 2;
    }
    if (how == UNREAPED &&
        sigaction(SIGCHLD, &(struct sigaction){.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT}, NULL))
        known_fail("sigaction");
    known_touch(parent);
    if (count == 0) {
        known_sleep(hold_s);
        return 0;
    }
    known_print("holding");
    pthread_barrier_t *together = known_barrier(at_once);
    for (unsigned started = 0; started < count; started++) {
        if (how == EXEC) {
            execute(argv[0], bytes, hold_s);
        } else if (known_fork() == 0) {
            known_touch(bytes);
            known_meet(together);
            known_sleep(hold_s);
            _exit(0);
        }
        /* With SA_NOCLDWAIT this waits for the end of all children, and then fails with ECHILD. */
        if ((started + 1) % at_once == 0)
            known_reap_all();
    }
    return 0;
}
