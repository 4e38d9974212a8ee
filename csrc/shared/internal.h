/* What the C files share with each other and not with Python. */
#ifndef CONCMEM_INTERNAL_H
#define CONCMEM_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "concmem.h"

/* When the sampler reads a source. */
enum cm_cadence {
    CM_EVERY_TICK,  /* for every process, at every tick: costs a microsecond */
    CM_ROUND_ROBIN, /* for as many processes a tick as its share of time allows */
    CM_ON_BUDGET,   /* for the whole tree at once, now and then: too costly otherwise */
    CM_PER_TREE,    /* kept for the tree instead of one process: once a tick */
    CM_AT_EXIT,     /* reported by the kernel when a process ends: has no track */
};

/*
 * One way to read memory. A source that is read per process has a `file` below /proc/PID and a `read`. `read` returns
 * 0; -ENODATA if the file holds no memory figures (a zombie, or a process whose main thread has exited); -ESRCH if the
 * process is gone; or another -errno. Other sources have a `probe`: it returns 0, or -errno and one sentence.
 */
struct cm_source {
    const char *name;
    const char *needs;  /* what it requires, in a few words */
    const char *remedy; /* the command that makes it usable, or "" */
    const char *file;
    enum cm_cadence cadence;
    bool on_request;    /* read only if it is requested */
    uint32_t group;     /* the control group by which it recognises the tree: CM_GROUP_... */
    const char *column; /* the title of its column in doctor's table of known programs, or NULL */
    uint32_t ncolumns;
    struct cm_column columns[CM_MAX_COLUMNS];
    int (*read)(int fd, uint32_t *row);
    int (*probe)(int proc_fd, const char **why);
};

/* Every source, in the order of the tracks: the name of its number, and of its `struct cm_source`. */
#define CM_FOR_EACH_SOURCE(X) \
    X(CM_STATM, cm_source_statm) \
    X(CM_STATUS, cm_source_status) \
    X(CM_SMAPS_ROLLUP, cm_source_smaps_rollup) \
    X(CM_CHILDREN, cm_source_children) \
    X(CM_WINDOWS, cm_source_windows) \
    X(CM_CGROUP, cm_source_cgroup) \
    X(CM_TASKSTATS, cm_source_taskstats) \
    X(CM_RSS_STAT, cm_source_rss_stat)

#define CM_NUMBER(number, source) number,
enum { CM_FOR_EACH_SOURCE(CM_NUMBER) CM_SOURCES };
#undef CM_NUMBER
_Static_assert(CM_SOURCES <= CM_MAX_TRACKS, "each source has a track");

#define CM_DECLARE(number, source) extern const struct cm_source source;
CM_FOR_EACH_SOURCE(CM_DECLARE)
#undef CM_DECLARE

enum {
    CM_STATM_RSS,
    CM_STATM_SHARED,
    CM_STATM_MAPPED, /* the size of the address space */
    CM_STATM_LAYOUT, /* not recorded; changes when the process maps or unmaps a file, or executes another program */
};
enum {
    CM_STATUS_HWM,
    CM_STATUS_SWAP,
    CM_STATUS_THREADS,
    CM_STATUS_PAGE_TABLES,
    CM_STATUS_HUGETLB,
    CM_STATUS_SHMEM,
    CM_STATUS_PINNED,
    CM_STATUS_UNMAPPED, /* not recorded: by how much the mappings have become smaller since their largest, KiB */
};
enum {
    CM_SMAPS_PSS,
    CM_SMAPS_USS,
    CM_SMAPS_SWAP_PSS,
    CM_SMAPS_LAZY_FREE,
    CM_SMAPS_THP,
    CM_SMAPS_SHARED_ANON, /* not recorded */
};
enum { CM_CHILDREN_PROCESSES, CM_CHILDREN_UNSEEN };
enum { CM_WINDOWS_RSS, CM_WINDOWS_LARGEST, CM_WINDOWS_INEXACT };
enum {
    CM_CGROUP_USAGE,
    CM_CGROUP_ANON,
    CM_CGROUP_FILE,
    CM_CGROUP_SHMEM,
    CM_CGROUP_KERNEL,
    CM_CGROUP_KERNEL_STACK,
    CM_CGROUP_PAGE_TABLES,
    CM_CGROUP_SOCK,
};

extern const struct cm_source *const cm_sources[CM_SOURCES];

uint32_t cm_scale(const struct cm_source *source, int column);

/* proc.c: read and parse small kernel files */
struct cm_stat {
    char comm[16];
    char state;
    int ppid;
    uint64_t flags;        /* PF_... of the kernel */
    uint64_t faults;       /* page faults */
    uint64_t child_faults; /* of children that it waited for */
    uint64_t child_cpu_ticks;
    uint64_t major_faults; /* of both, those that waited for a disk */
    uint64_t cpu_ticks;    /* user and system */
    int threads;
    uint64_t start_ticks;
    uint64_t stack;       /* the address of its first stack, 0 if it may not be read: another one after each exec */
    bool ignores_sigchld; /* the kernel reaps its children, and their rusage is lost */
};

ssize_t cm_pread_text(int fd, char *buffer, size_t n);
ssize_t cm_read_file_at(int dir_fd, const char *file, char *buffer, size_t n);
int cm_read_stat(int dir_fd, const char *file, struct cm_stat *stat);
int cm_read_stat_fd(int fd, struct cm_stat *stat);
int cm_open_process(int proc_fd, int pid);
char *cm_format_number(char *at, uint64_t number);

/* lines.c: read kernel files of any length */
struct cm_lines {
    int fd, error;
    char *text;
    size_t capacity, next, end; /* size of the buffer; start of the next line; end of the text */
    off_t offset;               /* in the file */
    bool is_last;               /* the end of the file has been read */
    bool is_cut;                /* the rest of a line that was too long follows */
};
#define CM_NO_FIELD UINT64_MAX
void cm_lines_begin(struct cm_lines *lines, int fd, char *buffer, size_t n);
char *cm_lines_next(struct cm_lines *lines);
int cm_read_fields(int fd, char separator, const char *const *names, uint64_t *values, size_t n);

static inline uint32_t cm_in_32_bits(uint64_t value)
{
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX - 1;
}

static inline uint64_t cm_parse_number(const char **at)
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

/* windows.c */
int cm_window_reset(int fd);

/* cgroup.c */
struct cm_cgroup {
    int version, peak_fd, usage_fd, stat_fd, kernel_fd, sock_fd, swap_fd;
};
struct cm_cgroup_more {
    uint64_t mapped_bytes; /* files and shared memory that processes map */
    uint64_t swap_bytes;   /* swapped out, and not in memory as well */
    bool kernel_is_known;  /* the column `kernel` has all kernel memory */
};
int cm_cgroup_open(struct cm_cgroup *group, int dir_fd, int version, const char **why);
uint64_t cm_cgroup_peak(const struct cm_cgroup *group);
uint64_t cm_cgroup_usage(const struct cm_cgroup *group);
bool cm_cgroup_oom_kills(int dir_fd, int version, uint64_t *kills);
void cm_cgroup_parts(const struct cm_cgroup *group, uint64_t *row, struct cm_cgroup_more *more);
uint64_t cm_cgroup_limit_hits(int dir_fd, int version);

/* taskstats.c: exit records. The kernel sends one for each thread at its end. */
struct cm_exit_record {
    int32_t pid, tgid;           /* in the initial PID namespace, like ppid */
    int32_t ppid;                /* the parent's tgid when it ended */
    uint64_t hwm_bytes;          /* of its last address space, which may be shared: by threads, or after vfork */
    uint64_t elapsed_ns;         /* of the process if this ends it, else of the thread; in steps of microseconds */
    uint64_t user_ns, system_ns; /* of the thread; most kernels count them in clock ticks */
    uint64_t mapped_bytes;       /* largest size of the address space */
    struct cm_usage usage;       /* of the thread */
    uint32_t exit_code;          /* as wait() returns it; if only a thread ended, that thread's */
    bool ends_process;           /* its last thread has ended */
    bool has_executed;           /* the task has executed a program since it was forked */
    char comm[16];
};
int cm_taskstats_open(const char **why);
int cm_taskstats_next(int fd, struct cm_exit_record *record, uint64_t *lost);
void cm_taskstats_close(int fd);

/* rss_stat.c, rss_stat_program.c: the sum of RSS over the tree and its maximum, kept in the kernel */
enum {
    CM_RSS_STAT_SUM,    /* bytes */
    CM_RSS_STAT_WINDOW, /* its maximum since the last reading */
    CM_RSS_STAT_EVENTS,
    CM_RSS_STAT_LOST,       /* events of address spaces that did not fit into the table, */
    CM_RSS_STAT_NOT_RAISED, /* and events that could not update the maximum. If either is not 0, the sum is not exact */
};
struct cm_rss_stat {
    int64_t *values; /* written by the eBPF program, or NULL */
    uint64_t peak;   /* the largest window that was read */
    int event_fd;
};
int cm_rss_stat_open(struct cm_rss_stat *r, int group_fd, const char **why);
int cm_rss_stat_probe(int group_fd, const char **why);
void cm_rss_stat_read(struct cm_rss_stat *r, uint64_t *sum, uint64_t *window_max);
uint64_t cm_rss_stat_peak(const struct cm_rss_stat *r);
void cm_rss_stat_close(struct cm_rss_stat *r);

/* launch.c: used by the extension and the sampler */
enum { CM_GROUPS = 2 };
struct cm_group {
    int fd;           /* its folder, or -1 */
    int version;      /* 1 or 2; at most one of version 2 */
    int error;        /* the errno if the process could not enter it */
    bool is_required; /* without it the process must not run */
};
struct cm_setup {
    uint64_t signal_mask; /* of the new process */
    bool dies_with_parent;
    bool may_use_shell;      /* argv has a free place in front, for a script without #! that is passed to /bin/sh */
    struct cm_group *groups; /* the CM_GROUPS groups that it starts in, or NULL */
    const struct cm_target_setup *target; /* or NULL */
};
int cm_start(struct cm_spawn *spawn, const struct cm_setup *setup, int *pidfd);

/* target_setup.c */
int cm_target_set_up(const struct cm_target_setup *setup, volatile int *stage);

/* exec.c */
int cm_exec(char **argv, char **envp, bool shell);

/* files.c */
int cm_file_set(struct cm_file *file, int fd);
bool cm_file_is_valid(const struct cm_file *file);
void cm_remove_group(struct cm_group_folder *group);

/* cgroup_enter.c */
int cm_group_enter(int dir_fd, int version);
int cm_clone_into(int group_fd, int (*function)(void *), char *stack, size_t stack_bytes, void *argument, int *pidfd);

/* record.c: the bounded recording of one track */
void cm_record(void *base, struct cm_track *track, uint64_t t_ns, const uint32_t *values, const uint32_t *highs);
void cm_record_end(void *base, struct cm_track *track);

#endif
