/*
 * daemonize BYTES [SECONDS=0.5]
 *
 * Becomes a daemon: fork, setsid, fork again; both parents exit 0 at once. The daemon is in its own session, and no
 * longer the root's descendant by parent PIDs. It touches BYTES, prints "holding PID" and holds them for SECONDS.
 */
#include "known.h"

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: daemonize BYTES [SECONDS]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    double seconds = known_arg(argc, argv, 2, 0.5);
    pid_t middle = fork();
    if (middle < 0)
        known_fail("fork");
    if (middle > 0)
        _exit(0);
    if (setsid() < 0)
        known_fail("setsid");
    pid_t daemon = fork();
    if (daemon < 0)
        known_fail("fork");
    if (daemon > 0)
        _exit(0);
    known_hold(bytes, seconds);
    return 0;
}
