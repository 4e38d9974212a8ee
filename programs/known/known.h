/*
 * What the programs of known size share: touching an exact number of bytes, sleeping, reading arguments.
 *
 * "Touching B bytes" is always the same thing: a mapping of its own, kept out of transparent huge pages, written once
 * in each 4 KiB page, so that it adds exactly B bytes (rounded up to pages) to the RSS of the process.
 * Bad arguments end a program with one line on stderr and exit code 2; what the system refuses, with exit code 1.
 */
#ifndef KNOWN_H
#define KNOWN_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define KNOWN_PAGE ((size_t)4096)

static inline void known_fail(const char *what)
{
    perror(what);
    _exit(1);
}

/* The value of argument `index`, or `fallback` where it is not given. */
static inline double known_arg(int argc, char **argv, int index, double fallback)
{
    if (index >= argc)
        return fallback;
    char *end;
    errno = 0;
    double value = strtod(argv[index], &end);
    if (errno || end == argv[index] || *end || !(value >= 0)) {
        fprintf(stderr, "%s: argument %d is not a number of 0 or more: %s\n", argv[0], index, argv[index]);
        _exit(2);
    }
    return value;
}

static inline void known_write(char *mapping, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += KNOWN_PAGE)
        ((volatile char *)mapping)[at] = 1;
}

/* Address space for `bytes`, none of it touched. NULL for 0 bytes. */
static inline char *known_map(size_t bytes)
{
    if (bytes == 0)
        return NULL;
    char *mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
        known_fail("mmap");
    /* A kernel without huge pages refuses the advice, and needs none. */
    madvise(mapping, bytes, MADV_NOHUGEPAGE);
    return mapping;
}

static inline char *known_touch(size_t bytes)
{
    char *mapping = known_map(bytes);
    if (mapping)
        known_write(mapping, bytes);
    return mapping;
}

static inline void known_give_up(char *mapping, size_t bytes)
{
    if (mapping && munmap(mapping, bytes))
        known_fail("munmap");
}

static inline double known_now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline void known_sleep(double seconds)
{
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) && errno == EINTR)
        ;
}

static inline void known_say(const char *line)
{
    puts(line);
    fflush(stdout);
}

#endif
