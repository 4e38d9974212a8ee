/*
 * What the programs of known size share: touching an exact number of bytes, sleeping, reading arguments.
 *
 * "Touching B bytes" always means the same: a new mapping, without transparent huge pages, written once in each 4 KiB
 * page, so that it adds exactly B bytes (rounded up to pages) to the RSS of the process. Invalid arguments end a
 * program with one line on stderr and exit code 2; a failed system call with exit code 1.
 */
#ifndef KNOWN_H
#define KNOWN_H

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KNOWN_PAGE ((size_t)4096)
#define KNOWN_HUGE ((size_t)2 << 20)

static inline void known_fail(const char *what)
{
    perror(what);
    _exit(1);
}

/* Return the value of argument `index`, or `fallback` if it is missing. */
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

/* Return which of the `words`, NULL at the end, argument `index` is; 0, the first, if it is missing. */
static inline unsigned known_choice(int argc, char **argv, int index, const char *const words[])
{
    if (index >= argc)
        return 0;
    for (unsigned i = 0; words[i]; i++)
        if (!strcmp(argv[index], words[i]))
            return i;
    fprintf(stderr, "%s: argument %d has an unknown value: %s\n", argv[0], index, argv[index]);
    _exit(2);
}

static inline void known_write(char *mapping, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += KNOWN_PAGE)
        ((volatile char *)mapping)[at] = 1;
}

static inline void known_read(const char *mapping, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += KNOWN_PAGE)
        (void)((const volatile char *)mapping)[at];
}

static inline char *known_map_with(size_t bytes, int flags)
{
    if (bytes == 0)
        return NULL;
    char *mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
    if (mapping == MAP_FAILED)
        known_fail("mmap");
    /* A kernel without huge pages refuses the advice, and needs none. */
    madvise(mapping, bytes, MADV_NOHUGEPAGE);
    return mapping;
}

/* Map `bytes` without touching them. Return NULL for 0 bytes. */
static inline char *known_map(size_t bytes)
{
    return known_map_with(bytes, MAP_PRIVATE);
}

/* The same, shared with all children forked from now on. */
static inline char *known_map_shared(size_t bytes)
{
    return known_map_with(bytes, MAP_SHARED);
}

/* Like known_touch, but the kernel touches the pages inside mmap, with mmap_lock held. */
static inline char *known_populate(size_t bytes)
{
    return known_map_with(bytes, MAP_PRIVATE | MAP_POPULATE);
}

/* Write `bytes` ones into a file. They are in the page cache, and in the RSS of no process. */
static inline void known_fill(int fd, size_t bytes)
{
    static char ones[64 << 10];
    memset(ones, 1, sizeof ones);
    while (bytes > 0) {
        ssize_t written = write(fd, ones, bytes < sizeof ones ? bytes : sizeof ones);
        if (written < 0)
            known_fail("write");
        bytes -= (size_t)written;
    }
}

static inline char *known_map_file_with(int fd, size_t bytes, int protection, int flags)
{
    if (bytes == 0)
        return NULL;
    char *mapping = mmap(NULL, bytes, protection, flags, fd, 0);
    if (mapping == MAP_FAILED)
        known_fail("mmap");
    return mapping;
}

/* Map `bytes` of a file, shared and writable, without touching them. Return NULL for 0 bytes. */
static inline char *known_map_file(int fd, size_t bytes)
{
    return known_map_file_with(fd, bytes, PROT_READ | PROT_WRITE, MAP_SHARED);
}

/* Map all `bytes` of a file, and read once in each page. Return NULL for 0 bytes. */
static inline char *known_read_mapped(int fd, size_t bytes, int flags)
{
    char *mapping = known_map_file_with(fd, bytes, PROT_READ, flags);
    known_read(mapping, bytes);
    return mapping;
}

enum known_place { KNOWN_ANONYMOUS, KNOWN_MEMFD, KNOWN_SHM, KNOWN_FILE };

/* Create a nameless file: by memfd_create, in /dev/shm, or in $TMPDIR, else /var/tmp. Return -1 for KNOWN_ANONYMOUS. */
static inline int known_create(enum known_place place)
{
    if (place == KNOWN_ANONYMOUS)
        return -1;
    const char *temporary = getenv("TMPDIR");
    char path[4096] = "memfd_create";
    if (place == KNOWN_SHM)
        snprintf(path, sizeof path, "/dev/shm/known-XXXXXX");
    if (place == KNOWN_FILE)
        snprintf(path, sizeof path, "%s/known-XXXXXX", temporary && *temporary ? temporary : "/var/tmp");
    int fd = place == KNOWN_MEMFD ? memfd_create("known", MFD_CLOEXEC) : mkstemp(path);
    if (fd < 0 || (place != KNOWN_MEMFD && unlink(path)))
        known_fail(path);
    return fd;
}

static inline char *known_touch(size_t bytes)
{
    char *mapping = known_map(bytes);
    if (mapping)
        known_write(mapping, bytes);
    return mapping;
}

/* Map `bytes` at a multiple of 2 MiB, with advice on huge pages, without touching them. Return NULL for 0 bytes. */
static inline char *known_map_huge(size_t bytes, int advice)
{
    if (bytes == 0)
        return NULL;
    char *mapping =
        mmap(NULL, bytes + KNOWN_HUGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_NORESERVE | MAP_PRIVATE, -1, 0);
    if (mapping == MAP_FAILED)
        known_fail("mmap");
    mapping += (KNOWN_HUGE - (uintptr_t)mapping % KNOWN_HUGE) % KNOWN_HUGE;
    /* A kernel without huge pages refuses the advice and uses small pages. */
    madvise(mapping, bytes, advice);
    return mapping;
}

/* Like known_touch, but in transparent huge pages if the kernel has them. */
static inline char *known_touch_huge(size_t bytes)
{
    char *mapping = known_map_huge(bytes, MADV_HUGEPAGE);
    known_write(mapping, bytes);
    return mapping;
}

static inline void known_unmap(char *mapping, size_t bytes)
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

static inline void known_spin(double seconds)
{
    double end_s = known_now_s() + seconds;
    while (known_now_s() < end_s)
        ;
}

/* Fork. The kernel kills the child when its parent ends, so that it does not wait for ever for processes that failed. */
static inline pid_t known_fork(void)
{
    pid_t child = fork();
    if (child < 0)
        known_fail("fork");
    if (child == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return child;
}

/* Reap all children. End with 1 if one of them failed. */
static inline void known_reap_all(void)
{
    bool failed = false;
    int status;
    while (wait(&status) > 0)
        failed |= status != 0;
    if (failed)
        _exit(1);
}

/* Return a barrier for this process and those that are forked from now on, `processes` in all. */
static inline pthread_barrier_t *known_barrier(unsigned processes)
{
    pthread_barrier_t *barrier = (void *)known_map_shared(sizeof *barrier);
    pthread_barrierattr_t between_processes;
    pthread_barrierattr_init(&between_processes);
    pthread_barrierattr_setpshared(&between_processes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(barrier, &between_processes, processes);
    return barrier;
}

/* Wait at the barrier for all other processes. SIGALRM ends this one if they do not come for a minute. */
static inline void known_meet(pthread_barrier_t *barrier)
{
    alarm(60);
    pthread_barrier_wait(barrier);
    alarm(0);
}

/* Return a number from 0 to below 1; the same seed gives the same numbers everywhere (splitmix64). */
static inline double known_random(uint64_t *seed)
{
    uint64_t x = *seed += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (double)((x ^ x >> 31) >> 11) / (double)(1ull << 53);
}

/* When the bytes of a spike were there, by CLOCK_MONOTONIC: all from top to leave, none before from or after down. */
struct known_spike {
    double from_s, top_s, leave_s, down_s;
};

/* Touch `bytes` by known_touch or known_populate, hold them by known_sleep or known_spin, and unmap them. */
static inline struct known_spike known_spike(char *touch(size_t), size_t bytes, void hold(double), double hold_s)
{
    struct known_spike spike = {.from_s = known_now_s()};
    char *mapping = touch(bytes);
    spike.top_s = known_now_s();
    if (hold_s > 0)
        hold(hold_s);
    spike.leave_s = known_now_s();
    known_unmap(mapping, bytes);
    spike.down_s = known_now_s();
    return spike;
}

static inline void known_print(const char *line)
{
    puts(line);
    fflush(stdout);
}

/* Touch so many bytes, print "holding PID", and hold them for so long. */
static inline void known_hold(size_t bytes, double seconds)
{
    known_touch(bytes);
    printf("holding %d\n", (int)getpid());
    fflush(stdout);
    known_sleep(seconds);
}

#endif
