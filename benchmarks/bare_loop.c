/*
 * bare_loop SECONDS PID...
 *
 * The lowest cost of a sampler with an interval of 1 ms: sleep until the next millisecond, then one pread of a kept
 * descriptor of /proc/PID/statm for each process. Prints its own CPU time in seconds and how many rounds it made.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { INTERVAL_NS = 1000000 };

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    int n = argc - 2, *fds = calloc((size_t)n, sizeof *fds);
    char text[128];
    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof text, "/proc/%s/statm", argv[2 + i]);
        fds[i] = open(text, O_RDONLY | O_CLOEXEC);
        if (fds[i] < 0) {
            perror(text);
            return 1;
        }
    }
    prctl(PR_SET_TIMERSLACK, 1);
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    double until_s = seconds(CLOCK_MONOTONIC) + atof(argv[1]), before_s = seconds(CLOCK_PROCESS_CPUTIME_ID);
    long rounds = 0;
    for (; seconds(CLOCK_MONOTONIC) < until_s; rounds++) {
        next.tv_nsec += INTERVAL_NS;
        if (next.tv_nsec >= 1000000000) {
            next.tv_nsec -= 1000000000;
            next.tv_sec++;
        }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
        for (int i = 0; i < n; i++)
            if (pread(fds[i], text, sizeof text, 0) <= 0)
                return 1;
    }
    printf("%.6f %ld\n", seconds(CLOCK_PROCESS_CPUTIME_ID) - before_s, rounds);
    return 0;
}
