/*
 * zombie-keeper BYTES [SECONDS=0.5]
 *
 * A child touches BYTES, holds them for SECONDS and exits. The parent never reaps it, prints "zombie PID" when it has
 * ended, and runs for SECONDS more: in that time the child's statm reads zeros without an error.
 */
#include "known.h"

#include <sys/wait.h>

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: zombie-keeper BYTES [SECONDS]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    double seconds = known_arg(argc, argv, 2, 0.5);
    pid_t child = fork();
    if (child < 0)
        known_fail("fork");
    if (child == 0) {
        known_touch(bytes);
        known_sleep(seconds);
        _exit(0);
    }
    siginfo_t info;
    if (waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT))
        known_fail("waitid");
    printf("zombie %d\n", (int)child);
    fflush(stdout);
    known_sleep(seconds);
    return 0;
}
