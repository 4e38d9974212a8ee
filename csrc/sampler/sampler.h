/*
 * What the files of the sampler share: the process tree, one tick, and the end of the run.
 *
 * Each file of the sampler declares here the part of `struct sampler` that it owns, beside its functions.
 * `s->pss.last_ns` in another file therefore shows that it touches the state of pss.c.
 */
#ifndef CONCMEM_SAMPLER_H
#define CONCMEM_SAMPLER_H

#include "shared/internal.h"

enum {
    MAX_MEMBERS = 65536,
    SLOTS = 131072,
    MAX_BURST_NS = 20000000, /* longest time spent finding processes, or reaping them, before other work */
    CLOCK_CHECK = 64,        /* processes between two readings of the clock */
    LINE_BYTES = 4608,       /* a line of /proc/PID/cgroup: a path of at most PATH_MAX, and the names of controllers */
    UNCHANGED_TICKS = 4,     /* what shows no sign of change is read once in so many ticks */
};

struct sampler;
struct member;

/* loop.c: wait for signals, timers, the host and exit records. Returns 0 or an errno. */
int loop(struct sampler *s);

/* debug.c: what the sampler does, for people: each line with the file, the PID (0: none), the event, a detail ("":
 * none), and an errno (0: none) */
extern int debug_fd; /* 0: print nothing */
void debug_print(const char *file, int line, int pid, const char *event, const char *detail, int error);
#define DEBUG_DETAIL(pid, event, detail, error) \
    (debug_fd > 0 ? debug_print(__FILE__, __LINE__, pid, event, detail, error) : (void)0)
#define DEBUG(pid, event, error) DEBUG_DETAIL(pid, event, "", error)

/* nolibc/vdso.c: read the clock without a system call, as libc does */
#ifdef CM_FREESTANDING
void vdso_found(const void *at);
void vdso_use(void);
int vdso_clock_gettime(clockid_t clock, struct timespec *to);
#else
static inline void vdso_use(void)
{
}
#endif

/* witness.c: show whether a signal went to the whole process group */
int witness(void);

/* late_setup.c: work that can wait until the target has been loaded */
struct late_setup {
    bool done;
    bool is_fifo; /* scheduled as SCHED_FIFO, except between fifo_leave and fifo_enter */
};
void late_setup(struct sampler *s);
void fifo_leave(struct sampler *s);
void fifo_enter(struct sampler *s);

/* self.c: facts about the sampler's own process */
bool self_statm_is_exact(const struct sampler *s);
void self_store_size(struct sampler *s);

/* lock_backoff.c: limit the time spent waiting for the memory-map locks of other processes */
struct lock_backoff {
    uint64_t until_ns; /* before this time, read nothing that can wait for a lock */
};
bool may_wait_for_locks(const struct sampler *s);
bool note_lock_wait(struct sampler *s, uint64_t since_ns, uint64_t expected_ns);

/* member_set.c: the members, which are the processes of the tree that have not ended */
struct tree {
    struct member *members; /* index 0 is not used: it means "none" */
    uint32_t *slots;        /* hash table: PID -> index of the first member of the slot's chain */
    uint32_t *alive;        /* indices of the members in use, without gaps */
    uint32_t nalive, nused, first_free;
    int32_t root_row; /* the root's row of the process table + 1; 0: none */
    int children_fd;  /* the sampler's own list of children */
};
void tree_init(struct sampler *s);
struct member *tree_find(struct sampler *s, int pid);
struct member *tree_allocate(struct sampler *s, int pid);
void tree_remove(struct sampler *s, struct member *m);

/* program.c: notice that a process has executed another program */
void program_note(struct sampler *s, struct member *m, const struct cm_stat *stat);

/* tree_add.c: add a process to the tree. Returns false if it is known, gone, or not of the tree. */
bool tree_add(struct sampler *s, int pid, uint64_t now_ns);

/* tree.c: find the processes of the tree */
void tree_open(struct sampler *s);
void tree_discover(struct sampler *s, uint64_t now_ns);

/* process_table.c: the process table of the shared memory */
struct cm_process *table_add_row(struct sampler *s, int pid, const struct cm_stat *stat, uint64_t now_ns,
                                 int32_t *number);
struct cm_process *table_find_row(struct sampler *s, int pid, uint64_t since_ns);
struct cm_process *member_row(struct sampler *s, const struct member *m);

/* tracks.c: which sources are recorded, and why one is missing */
void track_set_missing(struct cm_track *track, int error, const char *why);
void tracks_debug(const struct sampler *s);
bool track_wanted(const struct sampler *s, int source);

/* children.c: read the kernel's lists of children */
typedef bool children_visitor(struct sampler *s, int pid, uint64_t now_ns);
uint64_t children_visit(struct sampler *s, int fd, uint64_t now_ns, children_visitor *visitor);
void children_read(struct sampler *s, int fd, uint64_t now_ns);
void children_read_of(struct sampler *s, struct member *m, uint64_t now_ns);
void children_is_shown(struct sampler *s, int pid);

/* machine.c: counters of the whole machine */
struct machine {
    int fd;
    uint64_t swapped_out, swapped_out_at_start; /* pages */
    uint64_t huge_faults;                       /* huge pages that were given out */
};
void machine_open(struct sampler *s);
void machine_read(struct sampler *s);
uint64_t machine_shared_bytes(void);

/* fault_ledger.c: bound the tree's memory by its page faults */
struct ledger_entry {
    uint64_t own, children, major; /* its faults, those of children that it waited for, and the major ones of both */
    uint64_t credited;             /* faults of all members that it has waited for, */
    uint64_t departed;             /* and of those since the last reading: already counted */
    uint32_t anon, shared;         /* pages */
    bool is_known;
    bool has_forked;
    bool is_settled; /* reaped, or counted in its parent */
};
struct fault_ledger {
    uint64_t pages;                   /* of anonymous memory: all faults so far, less what was freed */
    uint64_t freed_now, freed_before; /* by processes that ended; counted up to this tick: */
    uint64_t freed_tick;
    uint64_t taken_off;             /* of what was freed */
    bool has_orphans;               /* a process has lost its parent: it may have what the parent brought into memory */
    uint64_t anon, shared, unknown; /* at the last reading: the sums over all members; */
    uint64_t charged_bytes;         /* what the group was charged for of mapped files and shared memory, */
    uint64_t elsewhere_bytes;       /* and what members mapped more than that */
    uint64_t departed_shared;       /* pages of members that have ended since */
    uint64_t late_faults, late_major; /* of processes that were reaped since */
    uint64_t huge_faults;             /* the machine's counter before the members were last read */
    bool huge_pages_are_used;         /* it has moved since the reading before */
    uint64_t due_ns, spent_ns;
    uint64_t largest, largest_files; /* pages */
    uint32_t largest_shared;         /* of one member */
};
void fault_ledger_begin(struct sampler *s);
void fault_ledger_tick(struct sampler *s, uint64_t t_ns);
void fault_ledger_end(struct sampler *s);

/* fault_window.c: read the page faults of all members */
enum { MARK_PAGES = 256 }; /* a high-water mark has an error: use it if it is better by so many pages */
struct fault_window {
    uint64_t faults, huge;   /* faults; huge pages that the machine gave out */
    uint64_t freed;          /* faults of processes that have been waited for */
    uint64_t anon, shared;   /* pages of all members now */
    uint64_t new_shared;     /* shared pages of members above those at the first reading */
    uint64_t unknown;        /* shared pages that no reading of maps accounts for */
    uint64_t passing;        /* pages of files that can have been mapped for a moment, */
    uint64_t passing_others; /* and of other files than those in the union */
    uint64_t grown, allowed; /* pages: by how much members have grown, and may have grown by their faults */
    uint64_t unmapped;       /* shared pages that members have unmapped, at most */
    uint64_t charged_bytes;  /* mapped files and shared memory that the group was charged for before this reading */
    uint64_t foreign;        /* anonymous pages that members got by faults of other processes */
    uint32_t marks;          /* high-water marks that `passing` relies on, each with its error; */
    uint32_t marks_others;   /* and those that `passing_others` relies on */
};
void fault_window_read(struct sampler *s, struct member *m, struct fault_window *w);
uint64_t fault_pages_of_files(const struct sampler *s, uint64_t faults, uint64_t major);

/* fault_credit.c: the page faults of processes that end */
void fault_set_problem(struct sampler *s, uint32_t problem, int pid);
void fault_ledger_depart(struct sampler *s, struct member *m);
void fault_ledger_depart_children(struct sampler *s, const struct member *m);
void fault_ledger_reap(struct sampler *s, struct member *m, uint64_t minor, uint64_t major);

/* process_files.c: the files of one process in /proc. A member is bound to its process by the descriptor of /proc/PID,
 * because its PID can be allocated again. */
struct member {
    int32_t pid;
    int32_t parent;       /* the parent's PID when the member was added */
    int32_t read_tid;     /* the thread to read if the main thread has exited, else 0 */
    uint32_t next;        /* in the chain of its slot, or in the list of free members */
    uint32_t alive_index; /* its place in `alive` */
    int32_t table_row;    /* its row of the process table, or -1 */
    int dir_fd;           /* /proc/PID, or -1 if no descriptors are left */
    int read_fd;          /* where its files are read: dir_fd, or task/TID below it */
    int children_fd, stat_fd;
    int fds[CM_SOURCES]; /* kept open for the sources that are read all the time, */
    bool keeps_files;    /* unless there are too few descriptors */
    uint64_t start_ticks;
    uint64_t stack;                            /* of its program; 0 if it is not known */
    uint64_t name_due_ns, name_pause_ns;       /* when its name and arguments are read next, and the pause before it */
    uint32_t rows[CM_SOURCES][CM_MAX_COLUMNS]; /* the last reading of each source */
    uint32_t status_rss;                       /* when status was last read: its RSS in pages, */
    uint64_t status_faults;                    /* its page faults, */
    uint32_t status_pause;                     /* the pause until the next reading in ticks, if it stays the same, */
    uint64_t status_tick;                      /* the tick, */
    uint64_t status_ns;                        /* and the time since the start */
    uint32_t peak_rss;                         /* largest reading, pages */
    uint32_t peak_mapped;                      /* the same of its address space */
    uint32_t peak_unique;                      /* largest USS, KiB */
    uint32_t peak_hwm;                         /* largest high-water mark, KiB */
    uint32_t peak_hugetlb, peak_swap;          /* largest readings, KiB */
    uint64_t faults;                           /* page faults of all its threads when stat was last read */
    uint64_t cpu_ns;                           /* with a limit on CPU time: the last reading, children included */
    uint64_t pss_faults;                       /* when PSS was last read: its page faults */
    uint32_t pss_rss;                          /* and its RSS in pages; */
    bool pss_read;                             /* false if PSS has not been read yet */
    struct ledger_entry ledger;                /* when its page faults were last read */
    bool ranges_read;                          /* /proc/PID/maps has been read: */
    uint64_t ranges_read_ns;                   /* when, */
    uint32_t ranges_layout;                    /* and by statm then: its layout, */
    uint32_t ranges_shared;                    /* and its pages of files and shared memory; */
    uint32_t unknown_pages;                    /* such pages that it did not list, at most; */
    uint32_t duplicate_pages;                  /* how many of its pages can be mapped more than once, */
    uint32_t merged_pages;                     /* and how many of the anonymous ones KSM had merged, at most */
    uint32_t shared_anon;                      /* anonymous pages that it may share with another process, at most */
    uint32_t inexact_windows;                  /* windows in which a spike can be missing */
    bool is_killed;                            /* by the sampler */
    bool is_refused;                           /* the kernel does not permit to kill it */
    bool is_in_first_walk;                     /* it was there when the sampler began to kill */
    bool is_zombie;                            /* ended, and its parent has not waited for it */
    bool may_have_threads;                     /* looks like a zombie, but other threads of it may still run */
    bool shares_parent_memory;                 /* between vfork and exec: its memory is its parent's */
    bool threads_read; /* entries of its /proc/PID/task other than the main thread's were read */
};
struct descriptors {
    int open, max;
};
int member_open_dir(struct sampler *s, const struct member *m);
int member_open_file(struct sampler *s, struct member *m, const char *file);
int member_read(struct sampler *s, struct member *m, int source, uint32_t *row);
int member_read_stat(struct sampler *s, struct member *m, struct cm_stat *stat);
int member_reset_hwm(struct sampler *s, struct member *m);
void member_close(struct sampler *s, struct member *m);
void member_keep_files(struct sampler *s, struct member *m);
int member_children_fd(struct sampler *s, struct member *m);
int open_thread_dir(int dir_fd, int tid);

/* file_ranges.c: which parts of files the tree maps */
struct file_ranges {
    size_t count;
    uint64_t pages; /* in the union of all ranges */
    bool is_full;   /* some ranges are missing */
};
void file_ranges_read(struct sampler *s, struct member *m, const uint32_t *row);

/* merged_pages.c: pages that KSM has merged */
struct merged_pages {
    int run_fd, sharing_fd;
    bool is_on;
};
void merged_pages_open(struct sampler *s);
void merged_pages_tick(struct sampler *s);

/* member.c: read one process: its RSS, name and arguments */
bool member_read_rss(struct sampler *s, struct member *m, uint64_t now_ns);
void member_read_name(struct sampler *s, struct member *m, uint64_t now_ns);
void member_check_shared_memory(struct sampler *s, struct member *m);

/* leader_exited.c: read a process whose main thread has exited through another of its threads */
enum process_state { PROCESS_GONE, PROCESS_ZOMBIE, PROCESS_MAY_LIVE };
bool leader_exited_find(struct sampler *s, struct member *m);
enum process_state leader_exited_state(struct sampler *s, struct member *m);

/* threads.c: find children of threads other than the main thread */
struct thread_walk {
    uint32_t cursor;  /* the next member to walk, in `alive` */
    bool are_several; /* some process of the tree has more than one thread */
};
void threads_walk(struct sampler *s, uint64_t now_ns);
/* What getdents64 returns. */
struct dir_entry {
    uint64_t ino, off;
    unsigned short length;
    unsigned char type;
    char name[];
};

/* pid_scan.c: find processes by the PIDs that the kernel has allocated since the last tick */
struct pid_scan {
    int loadavg_fd;
    int32_t last_pid, pid_max; /* the last PID that was checked; the kernel's pid_max */
    uint32_t unseen;           /* of the PIDs since the last tick, how many were free again */
    uint64_t complete_ns;      /* the last tick at which every allocated PID had been checked */
    uint64_t new_pid_tick;     /* the last tick at which there was a new PID */
    bool is_checking;          /* the process that is added now was found by its PID */
};
void pid_scan_begin(struct sampler *s);
bool pid_scan_tick(struct sampler *s, uint64_t now_ns);
void pid_scan_end(struct sampler *s, uint64_t now_ns);

/* exit_records.c: the kernel's exit record of each process */
struct exit_records {
    int fd;                /* or -1 */
    uint64_t last_read_ns; /* when every waiting record was last read */
};
void exit_records_open(struct sampler *s);
void exit_records_close(struct sampler *s);
void exit_records_drain(struct sampler *s, uint64_t t_ns);
void exit_records_settle(struct sampler *s, int pid, uint64_t t_ns);

/* high_water.c: high-water marks, by process */
struct high_water {
    uint32_t cursor; /* the next member to read, in `alive` */
};
uint32_t high_water_read(struct sampler *s, uint64_t since_ns, uint64_t t_ns);

/* tick.c: one reading of everything */
struct ticks {
    uint64_t last_ns;      /* start of the last tick, by CLOCK_MONOTONIC; 0 before the first */
    uint64_t completed_ns; /* the last tick that found all members, since the start of the target */
    uint64_t due_ns;       /* the next tick */
    uint64_t row_ns;       /* with a fixed interval: when the first row was due that has not been read or dropped */
    uint64_t pss_ns;       /* what reading PSS took of the last one, */
    uint64_t pss_cpu_ns;   /* and the CPU time of it */
};
void tick(struct sampler *s, uint64_t now_ns);
uint64_t record_gap(struct sampler *s, uint64_t now_ns);

/* last_reading.c: what the host can look at while the command runs */
void last_reading_write(struct sampler *s, uint64_t t_ns);

/* budget.c: decide when the next tick is */
struct budget {
    int64_t credit_ns;    /* CPU time that may be spent now */
    uint64_t credited_ns; /* when credit was last added, */
    uint64_t cpu_ns;      /* and the CPU time that had been spent by then */
    uint64_t before_ns;   /* CPU time between the last tick and this one */
    uint64_t tick_ns;     /* the CPU time of a tick, with its wake-up */
    uint64_t pages;       /* of the tree, when they last changed, */
    uint64_t changed_ns;  /* and when that was */
    bool first_is_spent;  /* the credit of the start */
};
void budget_begin(struct sampler *s);
void budget_tick_begins(struct sampler *s, uint64_t now_ns);
void budget_schedule(struct sampler *s, uint64_t began_ns, uint64_t pages);
bool budget_allows_wake_up(struct sampler *s);
uint64_t budget_own_cpu_ns(void);
uint64_t budget_pause(const struct sampler *s, uint64_t cost_ns, uint64_t parts);

/* pss.c: read smaps_rollup within its budget */
struct pss_state {
    int64_t credit_ns;    /* time that may be spent now */
    uint64_t credited_ns; /* when credit was last added */
    uint64_t last_ns;     /* when smaps_rollup was last read, */
    uint64_t cost_ns;     /* and how long that took */
    uint64_t ns_per_page;
    uint64_t last_held_kib;         /* the last sum of PSS, swapped-out memory and huge pages, less its error */
    uint32_t last_kib, largest_kib; /* the last reading of the tree, and the largest */
    int64_t steady_kib;             /* the largest value that a reading could have given; compared at every tick */
    uint64_t changed_ns;            /* when that value last changed much */
    uint32_t largest_rss;           /* the tree's largest RSS at any reading of PSS, pages */
};
void pss_begin(struct sampler *s);
int64_t pss_added_kib(const struct sampler *s, const struct member *m);
void pss_tick(struct sampler *s, uint64_t t_ns, uint32_t rss, int64_t added_kib, bool limit_reached);

/* lower_bound.c: memory that the tree held at least, without smaps_rollup */
struct lower_bound {
    uint64_t pages;     /* the largest so far, */
    uint64_t now_pages; /* and at this tick */
    bool is_stopped;    /* something was swapped out: no later tick can raise the bound */
};
void lower_bound_add(const struct sampler *s, struct member *m);
void lower_bound_use_pss(struct sampler *s);
void lower_bound_tick(struct sampler *s, bool swapped);
uint64_t lower_bound_confirmed(struct sampler *s);

/* cpu_limit.c: the limit on the tree's CPU time */
struct cpu_limit {
    uint64_t due_ns; /* when the CPU time is read next; UINT64_MAX: never */
    uint64_t cpus;   /* that the tree can use at once */
};
void cpu_limit_begin(struct sampler *s);
void cpu_limit_check(struct sampler *s, uint64_t now_ns);

/* kill.c: kill the tree */
struct ending {
    bool is_killing;
    bool is_terminating;        /* at the timeout, SIGTERM was sent; SIGKILL follows */
    bool is_finished;           /* no child is left, or the remaining ones are left behind */
    uint64_t walks;             /* through the tree, to kill it */
    bool is_refused;            /* the kernel does not permit to kill some process of the tree */
    uint64_t progress_ns;       /* when a process was last killed or reaped, or was seen exiting, since `is_killing` */
    uint64_t checked_ns;        /* when exiting processes were last looked for, */
    uint64_t exiting_cpu_ticks; /* and their CPU time then */
};
void kill_begin(struct sampler *s, uint32_t reason);
void kill_sweep(struct sampler *s);
void kill_at_timeout(struct sampler *s, uint64_t now_ns);
uint64_t kill_timeout_at(const struct sampler *s);

/* reap.c: reap processes. Returns true if more may be left. */
bool reap_some(struct sampler *s);

/* leftover.c: count the processes that are left when the sampler exits */
bool leftover_is_progress(const struct sampler *s, const struct member *m);
bool leftover_is_exiting(struct sampler *s);
void leftover_count(struct sampler *s, uint32_t flag);

/* delegated_group.c: make a group for the target below the sampler's delegated group */
int delegated_group_make(int mount_fd, uint64_t limit_bytes);

/* standing.c: tell lasting amounts from passing ones */
struct standing {
    uint64_t least, since_ns;
};
uint64_t standing_update(struct standing *standing, uint64_t amount, uint64_t t_ns);

/* memory_files.c: files in memory that the tree does not map */
struct memory_files {
    uint64_t start_ns; /* since 1970 */
    uint64_t bytes;    /* at this tick, if they were searched for */
    uint64_t due_ns;
    uint64_t unmapped_bytes; /* of them, more than all processes map */
    uint64_t with_recording; /* the machine's shared memory at the last tick, */
    uint64_t in_all;         /* and without the recording */
    uint64_t least_others;   /* the least shared memory that the rest of the machine had so far */
    struct standing closed;  /* what it has gained since */
};
void memory_files_begin(struct sampler *s);
void memory_files_tick(struct sampler *s, uint64_t t_ns);

/* shared_memory.c: shared memory that a member maps, read again */
uint64_t shared_memory_largest(struct sampler *s);

/* group_charge.c: what the kernel charged to the command's control group */
struct group_charge {
    struct cm_cgroup cgroup;
    uint64_t parts[CM_MAX_COLUMNS]; /* the last reading, bytes */
    uint64_t parts_read_ns, due_ns;
    uint64_t largest_usage;
    uint64_t held_bytes, compared_ns; /* at the last comparison */
    struct standing pinned, unmapped;
    uint64_t mapped_bytes; /* of files and shared memory, at the last reading of the parts */
};
void group_charge_read(struct sampler *s, uint64_t t_ns, bool last);
uint64_t group_charge_mapped(struct sampler *s);

/* tree_sources.c: figures that the kernel keeps for the whole tree */
struct tree_sources {
    struct cm_group groups[CM_GROUPS]; /* the groups that the target starts in */
    struct cm_rss_stat rss_stat;
    size_t root_line_bytes[CM_GROUPS];     /* length of `root_line`; 0: not known */
    char root_line[CM_GROUPS][LINE_BYTES]; /* the root's line of /proc/PID/cgroup for each group. Last, for its size */
};
int tree_sources_open(struct sampler *s);
void tree_sources_started(struct sampler *s);
void tree_sources_check(struct sampler *s, struct member *m);
void tree_sources_tick(struct sampler *s, uint64_t t_ns);
void tree_sources_end(struct sampler *s, uint64_t t_ns);
void tree_sources_thaw(const struct sampler *s);

/* sampler.c. One static object, all zero at first. `sources` is last: most of it is not touched in a short run. */
struct sampler {
    struct cm_head *head;
    char *base;                                 /* the shared memory, as bytes */
    const struct cm_target_setup *target_setup; /* in the shared memory, or NULL */
    int proc_fd;
    int recording_fd;
    int own_pid;
    uint32_t page_kib;

    struct tree tree;
    struct descriptors descriptors;
    struct late_setup late_setup;
    struct lock_backoff lock_backoff;
    struct ticks ticks;
    struct budget budget;
    struct pid_scan pid_scan;
    struct thread_walk threads;
    struct high_water high_water;
    struct pss_state pss;
    struct lower_bound lower_bound;
    struct machine machine;
    struct fault_ledger fault_ledger;
    struct file_ranges file_ranges;
    struct merged_pages merged_pages;
    struct memory_files memory_files;
    struct group_charge group_charge;
    struct exit_records exit_records;
    struct cpu_limit cpu_limit;
    struct ending ending;
    struct tree_sources sources;
};

/* A page table of the lowest level has a page of 8-byte entries. A huge page replaces one such table. */
static inline uint32_t fault_huge_pages(const struct sampler *s)
{
    return s->page_kib * 1024 / 8;
}

static inline uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static inline void usage_add(struct cm_usage *sum, const struct cm_usage *part)
{
    sum->minor_faults += part->minor_faults;
    sum->major_faults += part->major_faults;
    sum->voluntary_switches += part->voluntary_switches;
    sum->involuntary_switches += part->involuntary_switches;
    sum->read_bytes += part->read_bytes;
    sum->written_bytes += part->written_bytes;
}

static inline void keep_largest(uint64_t *largest, uint64_t value)
{
    if (value > *largest)
        *largest = value;
}

/* The member at a place of `alive`. */
static inline struct member *alive_at(const struct sampler *s, uint32_t i)
{
    return &s->tree.members[s->tree.alive[i]];
}

#endif
