/*
 * refork LINES SECONDS
 *
 * LINES lines of processes that never stand still: each process forks its successor and exits, as fast as it can, with
 * SIGTERM and SIGHUP ignored, every fourth in a session of its own. At most 2 * LINES + 1 processes are alive at once.
 * Prints "forking" when all lines have begun. The bound for a machine on which nobody kills them: every process knows
 * the same end, SECONDS after the start (at most 60), and past it forks no more.
 */
#include "known.h"

#include <signal.h>

static void run_line(double end_s)
{
    for (unsigned generation = 0; known_now_s() < end_s; generation++) {
        pid_t child = fork();
        if (child > 0)
            _exit(0);
        if (child < 0)
            known_sleep(0.001); /* no room for a process now: this one goes on in its place */
        else if (generation % 4 == 0)
            setsid();
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: refork LINES SECONDS\n");
        return 2;
    }
    unsigned lines = (unsigned)known_arg(argc, argv, 1, 0);
    double seconds = known_arg(argc, argv, 2, 0);
    double end_s = known_now_s() + (seconds < 60 ? seconds : 60);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    for (unsigned line = 0; line < lines; line++) {
        pid_t child = fork();
        if (child < 0)
            known_fail("fork");
        if (child == 0)
            run_line(end_s);
    }
    known_say("forking");
    while (known_now_s() < end_s)
        known_sleep(0.05);
    return 0;
}
