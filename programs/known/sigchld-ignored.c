/*
 * sigchld-ignored BYTES [SECONDS=0.5]
 *
 * Ignores SIGCHLD, so that the kernel reaps its children by itself and no process gets their rusage. The one child
 * touches BYTES, prints "holding PID", holds them for SECONDS and exits. The parent then exits 0.
 */
#include "known.h"

#include <signal.h>
#include <sys/wait.h>

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: sigchld-ignored BYTES [SECONDS]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    double seconds = known_arg(argc, argv, 2, 0.5);
    signal(SIGCHLD, SIG_IGN);
    pid_t child = fork();
    if (child < 0)
        known_fail("fork");
    if (child == 0) {
        known_hold(bytes, seconds);
        _exit(0);
    }
    /* With SIGCHLD ignored this waits for the end of all children and then fails with ECHILD. */
    wait(NULL);
    return 0;
}
