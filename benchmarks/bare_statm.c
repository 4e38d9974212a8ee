/*
 * bare_statm PID TIMES
 *
 * The lowest cost of a memory reading: one pread of a kept descriptor of /proc/PID/statm, and two numbers parsed from
 * it, TIMES times. Prints nanoseconds per reading and the last RSS in pages.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    char path[64], text[128];
    snprintf(path, sizeof path, "/proc/%s/statm", argv[1]);
    long times = atol(argv[2]);
    unsigned long resident = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || times <= 0) {
        perror(path);
        return 1;
    }
    double start_ns = now_ns();
    for (long i = 0; i < times; i++) {
        ssize_t got = pread(fd, text, sizeof text - 1, 0);
        if (got <= 0)
            return 1;
        text[got] = 0;
        const char *at = text;
        while (*at >= '0' && *at <= '9')
            at++;
        resident = 0;
        for (at++; *at >= '0' && *at <= '9'; at++)
            resident = resident * 10 + (unsigned long)(*at - '0');
    }
    printf("%.3f %lu\n", (now_ns() - start_ns) / (double)times, resident);
    return 0;
}
