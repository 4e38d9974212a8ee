/* What the files of the sampler share: the set of processes, one tick, and the end of all. */
#ifndef CONCMEM_SAMPLER_H
#define CONCMEM_SAMPLER_H

#include "shared/internal.h"

enum {
    MEMBERS = 65536,
    SLOTS = 131072,
    A_TURN_NS = 20000000, /* the longest that the sampler does nothing but find, or nothing but reap, */
    A_LOOK = 64,          /* with so many processes between two looks at the clock */
    LINE_BYTES = 4608,    /* of /proc/PID/cgroup: the kernel tells no path longer than PATH_MAX, and some controllers */
    QUIET_TICKS = 4,      /* what has given no sign of change is looked at this often */
};

/* A process of the tree. It is bound by its descriptor, not by its number, which another may get. */
struct member {
    int32_t pid;
    int32_t parent;      /* when it was met */
    int32_t tid;         /* the thread to read where the main thread has left, else 0 */
    uint32_t next;       /* in the chain of its slot, or in the list of free members */
    uint32_t at;         /* its place in `alive` */
    int32_t entry;       /* its row of the process table, or -1 */
    int dir_fd;          /* /proc/PID, or -1 where descriptors have run out */
    int read_fd;         /* where its files are read: dir_fd, or task/TID below it */
    int children_fd;
    int fds[CM_SOURCES]; /* kept for the sources that are read all the time */
    uint64_t start_ticks;
    uint64_t look_ns, look_after_ns; /* when its name and arguments are read next */
    uint32_t rows[CM_SOURCES][CM_MAX_COLUMNS];
    uint32_t status_rss; /* RSS when status was last read, */
    uint64_t status_tick; /* and at which tick, */
    uint64_t marked_ns;   /* and when that was */
    uint32_t peak_rss;   /* largest reading, pages */
    uint32_t peak_hwm;   /* largest mark, KiB */
    uint64_t faults;     /* minor faults of all its threads when they were last asked, */
    uint64_t pss_faults; /* and at the last reading of PSS, */
    uint32_t pss_rss;    /* with RSS then, pages, */
    bool pss_read;       /* if it was there */
    uint32_t inherited;  /* anonymous pages that may be another's as well, at the most */
    uint32_t inexact;    /* windows in which a spike can have been lost */
    bool killed;         /* by us */
    bool zombie;         /* ended, but its parent has not looked; */
    bool may_live;        /* or so it seemed, and threads of it are left, which may live on */
    bool shares_parent_memory;        /* between vfork and exec: its memory is its parent's */
    bool threads_read;   /* through /proc/PID/task, for others than the main one */
};

struct sampler {
    struct cm_head *head;
    char *base;
    int proc_fd, own_children_fd, loadavg_fd;
    int own_pid;
    uint32_t page_kib;

    struct member *members;
    uint32_t *slots;     /* pid -> member */
    uint32_t *alive;     /* members in use, packed */
    int32_t root_row;    /* the root's row of the process table + 1 */
    uint32_t nalive, nused, free;
    int descriptors, max_descriptors;

    bool child_ended, settled, killing, no_children_left;
    bool is_fifo; /* as SCHED_FIFO */
    uint64_t progress_ns;  /* when a process was last killed or reaped, or was seen to be ending, since `killing` */
    uint64_t ending_look_ns, ending_ticks; /* when that was looked for last, and the CPU time that was seen then */
    uint64_t last_tick_ns, not_before_ns, due_ns;
    uint64_t no_locks_before_ns; /* until then nothing is read that can wait for a lock */
    uint32_t status_cursor, thread_cursor;
    int32_t last_pid, pid_max; /* the last that the kernel had given out when it was last asked; pid_max */
    uint32_t unseen;      /* of those, how many were nobody's any more */
    uint64_t caught_up_ns; /* the last tick at which all of them had been looked at */
    bool several_threads; /* in some process of the tree */

    /* what is told of the tree as a whole, and of each process when it ends */
    struct cm_group groups[CM_GROUPS];
    struct cm_cgroup group;
    uint64_t group_row[CM_MAX_COLUMNS], group_record, parts_ns;
    struct cm_rss_stat rss_stat;
    size_t home_bytes[CM_GROUPS]; /* of `homes`; 0 where it is not known */
    int exit_records_fd;
    uint64_t drained_ns; /* when its descriptor was last emptied */
    uint64_t known_ns; /* the last tick: who ended before it is known no more by its number */

    /* the budget of smaps_rollup: what may be spent now; when it was read last, and what that took */
    int64_t pss_credit_ns;
    uint64_t pss_earned_ns, pss_read_ns, pss_cost_ns, pss_page_ns;
    uint32_t pss_last_kib, pss_record_kib; /* the last reading, and the largest; */
    int64_t pss_stood_kib;                 /* what another one may have said, */
    uint64_t pss_moved_ns;                 /* when that changed much, */
    uint32_t pss_most_rss;                 /* and the most RSS at any reading, pages */

    uint64_t lower_bound_pages; /* what the tree had at once at the least, */
    bool lower_bound_lost;      /* which can be told no longer */

    char homes[CM_GROUPS][LINE_BYTES]; /* what /proc/PID/cgroup says of the root in each group: last, for its size */
};

/* loop.c: what is waited for; 0 or an errno */
int loop(struct sampler *s);

/* witness.c: whether a signal came to the whole process group */
int witness(void);

/* late_setup.c: what can wait until the target has been loaded */
void late_setup(struct sampler *s);
void give_way(struct sampler *s);
void take_precedence(struct sampler *s);

/* self.c: what its own process tells */
bool self_statm_is_exact(const struct sampler *s);
void self_size_note(struct sampler *s);

/* lock_backoff.c: for locks of the tree's processes */
bool may_wait(const struct sampler *s);
bool waited_little(struct sampler *s, uint64_t since_ns, uint64_t expected_ns);

/* tree.c: who belongs to the tree */
void tree_begin(struct sampler *s);
void tree_open(struct sampler *s);
void tree_discover(struct sampler *s, uint64_t now_ns);
struct member *tree_find(struct sampler *s, int pid);
bool tree_meet(struct sampler *s, int pid, uint64_t now_ns);
void tree_remove(struct sampler *s, struct member *m);
struct cm_process *tree_entry(struct sampler *s, int pid, const struct cm_stat *stat, uint64_t now_ns, int32_t *at);
struct cm_process *tree_known(struct sampler *s, int pid, uint64_t since_ns);
struct cm_process *member_entry(struct sampler *s, const struct member *m);

/* children.c: who is whose child */
typedef bool children_visitor(struct sampler *s, int pid, uint64_t now_ns);
uint64_t children_visit(struct sampler *s, int fd, uint64_t now_ns, children_visitor *with);
void children_read(struct sampler *s, int fd, uint64_t now_ns);
void children_ask(struct sampler *s, struct member *m, uint64_t now_ns);

/* member.c: reading one process */
int member_folder(struct sampler *s, const struct member *m);
int member_open(struct sampler *s, struct member *m, const char *file);
int member_read(struct sampler *s, struct member *m, int source, uint32_t *row);
int member_reset(struct sampler *s, struct member *m);
bool member_read_rss(struct sampler *s, struct member *m, uint64_t now_ns);
void member_look(struct sampler *s, struct member *m, uint64_t now_ns);
void member_close(struct sampler *s, struct member *m);
void member_keep(struct sampler *s, struct member *m);
void member_check_shared_memory(struct sampler *s, struct member *m);

/* leader_exited.c: a process whose main thread has left, read through another */
int leader_exited_open(int dir_fd, int tid);
bool leader_exited_find(struct sampler *s, struct member *m);
enum rest { REST_NOTHING, REST_ZOMBIE, REST_MAY_LIVE };
enum rest leader_exited_rest(struct sampler *s, const struct member *m);

/* threads.c: children of threads that are not the main one */
void threads_walk(struct sampler *s, uint64_t now_ns);
int threads_other(int dir_fd, int leader);

/* pid_scan.c: processes found by the numbers that the kernel gives out */
void pid_scan_begin(struct sampler *s);
void pid_scan_look(struct sampler *s, uint64_t now_ns);
void pid_scan_end(struct sampler *s, uint64_t now_ns);

/* tree_sources.c: what the kernel keeps of the tree as a whole */
void track_lacks(struct cm_track *track, int error, const char *why);
bool track_wanted(const struct sampler *s, int source);
void tree_sources_open(struct sampler *s);
void tree_sources_entered(struct sampler *s);
void tree_sources_check(struct sampler *s, struct member *m);
void tree_sources_tick(struct sampler *s, uint64_t t_ns);
void tree_sources_end(struct sampler *s, uint64_t t_ns);
void tree_sources_thaw(const struct sampler *s);

/* delegated_group.c: a group for the target below the sampler's own */
int delegated_group_make(int mount_fd);

/* exit_records.c: what the kernel tells of each process at its end */
void exit_records_open(struct sampler *s);
void exit_records_close(struct sampler *s);
void exit_records_drain(struct sampler *s, uint64_t t_ns);
void exit_records_met(struct sampler *s, int pid, uint64_t t_ns);

/* high_water.c: high-water marks, by process */
uint32_t high_water_read(struct sampler *s, uint64_t since_ns, uint64_t t_ns);

/* tick.c: one reading of everything */
void tick(struct sampler *s, uint64_t now_ns);
uint64_t note_gap(struct sampler *s, uint64_t now_ns);

/* pss.c: smaps_rollup within its budget */
void pss_begin(struct sampler *s);
int64_t pss_added_kib(const struct sampler *s, const struct member *m);
void pss_tick(struct sampler *s, uint64_t t_ns, uint32_t rss, int64_t added_kib, bool limit_reached);

/* lower_bound.c: what the tree had at the least, without smaps_rollup */
void lower_bound_met(const struct sampler *s, struct member *m);
void lower_bound_learn(struct sampler *s);
void lower_bound_tick(struct sampler *s, bool swapped);

/* reap.c: ends, own and enforced */
bool reap_some(struct sampler *s);
void kill_begin(struct sampler *s, uint32_t reason);
void kill_sweep(struct sampler *s);

/* leftover.c: what is still there when the sampler goes */
bool leftover_is_ending(struct sampler *s);
void leftover_note(struct sampler *s, uint32_t flag);
void leftover_after_root(struct sampler *s);

#endif
