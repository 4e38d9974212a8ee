/*
 * refork LINES SECONDS
 *
 * LINES chains of processes that keep forking: each process forks its successor and exits, as fast as it can, with
 * SIGTERM and SIGHUP ignored, every fourth in a new session. Prints "forking" when all chains have started.
 *
 * Bounds, for a machine on which no process kills or reaps them: no process forks while the machine has more than ROOM
 * tasks above the number at the start, zombies included; and no process forks later than SECONDS after the start (at
 * most 20).
 */
#include "known.h"

#include <fcntl.h>
#include <signal.h>

enum { ROOM = 1000, MOST_SECONDS = 20 };

static unsigned most_tasks;

/* Return the number of tasks of the machine, with those that have ended and are not reaped; the largest number if
 * unknown. */
static unsigned tasks(void)
{
    char text[128];
    int fd = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    const char *slash = strchr(text, '/'); /* "0.32 0.17 0.11 2/345 6789": runnable/all */
    return slash ? (unsigned)atoi(slash + 1) : ~0u;
}

static void run_line(double end_s)
{
    for (unsigned generation = 0; known_now_s() < end_s; generation++) {
        pid_t child = tasks() < most_tasks ? fork() : -1;
        if (child > 0)
            _exit(0);
        if (child < 0)
            known_sleep(0.001); /* no process can be started now: continue in this one */
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
    double end_s = known_now_s() + (seconds < MOST_SECONDS ? seconds : MOST_SECONDS);
    most_tasks = tasks() + ROOM;
    if (most_tasks < ROOM)
        known_fail("/proc/loadavg");
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
    known_print("forking");
    while (known_now_s() < end_s)
        known_sleep(0.05);
    return 0;
}
