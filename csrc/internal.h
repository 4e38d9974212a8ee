/* What the C files share with each other and Python never sees. */
#ifndef CONCMEM_INTERNAL_H
#define CONCMEM_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "concmem.h"

/* When the sampler reads a source. */
enum cm_cadence {
    CM_EVERY_TICK,  /* of every process, at every tick: costs a microsecond */
    CM_ROUND_ROBIN, /* of as many processes a tick as its share of time allows */
    CM_ON_BUDGET,   /* of the whole tree at once, now and then: costs too much for anything else */
};

/*
 * One way to read memory. Reading returns 0, -ENODATA where the file holds no memory figures (a zombie, or a process
 * whose main thread has left), -ESRCH where the process is gone, or another -errno.
 */
struct cm_source {
    const char *name;
    const char *file;
    enum cm_cadence cadence;
    uint32_t ncolumns;
    struct cm_column columns[CM_MAX_COLUMNS];
    int (*read)(int fd, uint32_t *row);
};

/* In the order of the table in core.c, which is the order of the tracks. */
enum { CM_STATM, CM_STATUS, CM_SMAPS_ROLLUP, CM_SOURCES };

enum { CM_STATM_RSS };
enum { CM_STATUS_HWM, CM_STATUS_SWAP, CM_STATUS_THREADS };
enum { CM_SMAPS_PSS, CM_SMAPS_USS, CM_SMAPS_SWAP_PSS };

extern const struct cm_source cm_source_statm, cm_source_status, cm_source_smaps_rollup;
extern const struct cm_source *const cm_sources[CM_SOURCES];

uint32_t cm_scale(const struct cm_source *source, int column);

/* proc.c: reading and parsing small kernel files */
struct cm_stat {
    char comm[16];
    char state;
    int ppid;
    uint64_t child_faults; /* of children that it waited for */
    int threads;
    uint64_t start_ticks;
    bool forgets_children; /* ignores SIGCHLD: nobody will ever hear how large they were */
};

ssize_t cm_pread_text(int fd, char *buffer, size_t n);
ssize_t cm_read_file_at(int dir_fd, const char *file, char *buffer, size_t n);
int cm_read_stat(int dir_fd, const char *file, struct cm_stat *stat);
int cm_open_process(int proc_fd, int pid);
uint32_t cm_field(const char *text, const char *name);
char *cm_format(char *at, uint64_t number);

static inline uint64_t cm_number(const char **at)
{
    const char *c = *at;
    uint64_t value = 0;
    while (*c == ' ' || *c == '\t')
        c++;
    for (; *c >= '0' && *c <= '9'; c++)
        value = value * 10 + (uint64_t)(*c - '0');
    *at = c;
    return value;
}

static inline uint64_t cm_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* launch.c: for both sides */
struct cm_setup {
    uint64_t signal_mask; /* of the new process */
    bool dies_with_parent;
};
int cm_start(struct cm_spawn *spawn, const struct cm_setup *setup, int *pidfd);

/* record.c: the bounded recording of one track */
void cm_record(void *base, struct cm_track *track, uint64_t t_ns, const uint32_t *values, const uint32_t *highs);
void cm_record_end(void *base, struct cm_track *track);

#endif
