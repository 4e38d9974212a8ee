/*
 * bare_ticks PID INTERVAL_NS
 *
 * The lowest cost of sampling a process: sleep to the next multiple of INTERVAL_NS, then one pread of a kept descriptor
 * of /proc/PID/statm, until PID has no memory any more. Missed ticks are skipped. Prints the number of readings, the
 * time from the first to the last, the median gap between them, and the CPU time used, in ns.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1000000 };
static long gaps[MOST];

static long ns_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

static int ascending(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    char path[64], text[128];
    snprintf(path, sizeof path, "/proc/%s/statm", argv[1]);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    long interval_ns = atol(argv[2]);
    if (fd < 0 || interval_ns <= 0) {
        perror(path);
        return 1;
    }
    long readings = 0, first_ns = 0, before_ns = 0;
    long due_ns = ns_of(CLOCK_MONOTONIC), spent_ns = ns_of(CLOCK_PROCESS_CPUTIME_ID);
    while (readings < MOST) {
        ssize_t got = pread(fd, text, sizeof text - 1, 0);
        if (got <= 0 || text[0] == '0')
            break;
        long now_ns = ns_of(CLOCK_MONOTONIC);
        if (readings == 0)
            first_ns = now_ns;
        else
            gaps[readings - 1] = now_ns - before_ns;
        before_ns = now_ns;
        readings++;
        due_ns += interval_ns * ((now_ns - due_ns) / interval_ns + 1);
        struct timespec due = {.tv_sec = due_ns / 1000000000L, .tv_nsec = due_ns % 1000000000L};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) != 0)
            ;
    }
    spent_ns = ns_of(CLOCK_PROCESS_CPUTIME_ID) - spent_ns;
    if (readings < 2)
        return 1;
    long span_ns = before_ns - first_ns;
    qsort(gaps, (size_t)readings - 1, sizeof gaps[0], ascending);
    printf("%ld %ld %ld %ld\n", readings, span_ns, gaps[(readings - 1) / 2], spent_ns);
    return 0;
}
