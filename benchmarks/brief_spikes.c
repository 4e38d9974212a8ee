/*
 * brief_spikes COUNT SEED [PROCESSES]
 *
 * COUNT times: map 1 to 50 MiB, touch every page, hold them for 0.5 to 20 ms, unmap them, and pause for a few
 * milliseconds. Each spike is a line on standard output: from when to when all of it was there (CLOCK_MONOTONIC), and
 * its size in bytes. With PROCESSES, so many processes do this at the same time, each with spikes of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, MIB = 1 << 20 };

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void spike(void)
{
    size_t n = (size_t)(1 + random() % 50) * MIB;
    long hold_us = 500 + random() % 19500;
    char *at = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        exit(1);
    madvise(at, n, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < n; i += PAGE_BYTES)
        at[i] = 1;
    double from_s = now_s();
    usleep((useconds_t)hold_us);
    double to_s = now_s();
    munmap(at, n);
    printf("%.6f %.6f %zu\n", from_s, to_s, n);
    usleep((useconds_t)(random() % 5000));
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    int processes = argc > 3 ? atoi(argv[3]) : 1, seed = atoi(argv[2]);
    for (int i = 1; i < processes; i++)
        if (fork() == 0) {
            seed += i;
            processes = 0;
        }
    srandom((unsigned int)seed);
    setlinebuf(stdout); /* processes share it, line by line */
    for (int i = atoi(argv[1]); i > 0; i--)
        spike();
    while (processes > 1 && wait(NULL) > 0)
        ;
    return 0;
}
