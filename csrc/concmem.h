/*
 * The whole interface between Python and C: the layout of the shared memory, and the functions of the extension.
 *
 * One memfd holds a measurement. It starts with `struct cm_head`: the request, written by Python, and the answer,
 * written by the sampler alone. The process table follows, then the text of arguments, then the windows and rings of
 * each track. The head holds all offsets, and the names and units of the columns. So a stored recording can be read
 * without the code that made it. This file is also the cffi declaration.
 *
 * Every function returns 0 or a count, or -errno. None keeps a pointer. Functions store what they open in objects that
 * existed before the call, so it is closed with them whatever happens in between.
 */
#ifndef CONCMEM_H
#define CONCMEM_H

#include <stdint.h>
#include <sys/types.h>

#define CM_ABI 9
#define CM_MAX_TRACKS 10
#define CM_MAX_COLUMNS 8
#define CM_MAX_FDS 72
#define CM_PASSED_FDS 64 /* descriptors that the target gets besides its standard files; 8 are left for the sampler */
#define CM_EXTRA_GROUPS 1024
#define CM_RLIMITS 16
#define CM_CPU_WORDS 128 /* of 64 CPUs each */
#define CM_STREAMS 3
#define CM_GROUP_FOLDERS 2
#define CM_LARGEST 5

#define CM_UNIT_BYTES 1
#define CM_UNIT_COUNT 2

#define CM_PHASE_NEW 0
#define CM_PHASE_RUNNING 1
#define CM_PHASE_DONE 2
#define CM_PHASE_FAILED 3

#define CM_STAGE_NONE 0
#define CM_STAGE_SETUP 1
#define CM_STAGE_CHDIR 2
#define CM_STAGE_EXEC 3
#define CM_STAGE_GROUP 4 /* the target's group, which has a limit */
#define CM_STAGE_FDS 5
#define CM_STAGE_SESSION 6
#define CM_STAGE_PROCESS_GROUP 7
#define CM_STAGE_CPUS 8
#define CM_STAGE_EXTRA_GROUPS 9
#define CM_STAGE_GID 10
#define CM_STAGE_UID 11
#define CM_STAGE_RLIMIT 16 /* plus the number of the resource */

#define CM_REASON_NONE 0
#define CM_REASON_TIMEOUT 1
#define CM_REASON_MEMORY_LIMIT 2
#define CM_REASON_INTERRUPTED 3
#define CM_REASON_HOST_GONE 4
#define CM_REASON_CPU_LIMIT 5
#define CM_REASON_PROCESSES_LIMIT 6

/* What happens to the remaining processes when the root has ended. */
#define CM_LEFTOVER_WAIT 0
#define CM_LEFTOVER_LEAVE 1
#define CM_LEFTOVER_KILL 2

/* What the target sets before its exec. */
#define CM_SET_UMASK 1
#define CM_SET_SESSION 2
#define CM_SET_PROCESS_GROUP 4
#define CM_SET_CPUS 8
#define CM_SET_EXTRA_GROUPS 16
#define CM_SET_GID 32
#define CM_SET_UID 64

/* Why page faults do not bound the tree's memory. */
#define CM_FAULTS_KNOWN 0
#define CM_FAULTS_UNEXPLAINED 1 /* memory was added without page faults */
#define CM_FAULTS_LOST 2        /* a process lets the kernel reap its children */
#define CM_FAULTS_UNREADABLE 3

/* The control groups that the target starts in, for sources that recognise the tree by one. */
#define CM_GROUP_NONE 0
#define CM_GROUP_MEMORY 1   /* it has the memory controller */
#define CM_GROUP_SELECTOR 2 /* it is of version 2, and holds only the tree */

#define CM_PROCESS_ROOT 1
#define CM_PROCESS_ENDED 2
#define CM_PROCESS_REAPED 4
#define CM_PROCESS_IGNORES_SIGCHLD 8
#define CM_PROCESS_HAS_EXIT_RECORD 16
#define CM_PROCESS_ARGUMENTS_CUT 32 /* only some of its arguments were kept */
#define CM_PROCESS_SURVIVED 64      /* it could not be killed */
#define CM_PROCESS_LEFT 128         /* it was left running, as the request says */
#define CM_PROCESS_EXECUTED 256     /* by its exit record: it has executed a program since it was forked */

/* A value in a window is a 32-bit multiple of `scale` (a page, a KiB, one), so that 16 TiB fit and rows stay small. */
struct cm_column {
    char name[16];
    uint32_t unit;
    uint32_t scale;
};

/* What is known of a source before it is used. */
struct cm_source_info {
    const char *name;
    const char *needs;      /* what it requires, in a few words */
    const char *remedy;     /* the command that makes it usable, or "" */
    const char *column;     /* the title of its column in doctor's table of known programs, or "" */
    uint32_t group;         /* the control group by which it recognises the tree: CM_GROUP_... */
    uint32_t is_read_alone; /* cm_read and cm_read_loop read it */
    uint32_t ncolumns;
    struct cm_column columns[CM_MAX_COLUMNS];
};

/*
 * A window: u64 t_ns (first reading), u32 n (readings), then for each column u32 min, max, last; padded to 8 bytes. A
 * ring row: u64 t_ns, u32 value of the first column, u32 zero. `ring_offset` is the running ring. A second ring of the
 * same size follows: the copy taken around the largest value.
 */
struct cm_track {
    char source[16];
    char why_not[256];  /* why it is missing, although it was requested */
    int32_t error;      /* its errno */
    uint8_t on_request; /* read only if it is requested */
    uint8_t wanted;
    uint64_t offset;
    uint64_t ring_offset;
    uint32_t capacity;
    uint32_t row_bytes;
    uint32_t ring_capacity;
    uint32_t ncolumns;
    uint64_t count;
    uint64_t readings;
    uint64_t width_ns;
    uint64_t ring_written;
    uint64_t ring_record;
    uint64_t ring_frozen;
    uint64_t max[CM_MAX_COLUMNS];
    uint64_t max_t_ns[CM_MAX_COLUMNS];
    struct cm_column columns[CM_MAX_COLUMNS];
};

/* What the kernel counts of a process and of the children that it waited for. */
struct cm_usage {
    uint64_t minor_faults;
    uint64_t major_faults;
    uint64_t voluntary_switches;
    uint64_t involuntary_switches;
    uint64_t read_bytes;    /* from storage, */
    uint64_t written_bytes; /* and to it */
};

struct cm_process {
    int32_t pid;
    int32_t ppid;
    uint64_t start_ticks;
    uint64_t since_ns; /* it did not exist before this */
    uint64_t first_ns;
    uint64_t end_ns;
    uint64_t rss_bytes;
    uint64_t hwm_bytes;
    uint64_t maxrss_bytes;
    uint64_t exit_record_bytes; /* high-water mark in its exit record */
    uint64_t program_since_ns;  /* from then on, */
    uint64_t program_until_ns;  /* until then, it executed no other program, and its mark was read; 0 if not known */
    uint64_t user_ns;
    uint64_t system_ns;
    uint64_t child_faults;
    uint64_t duplicate_bytes; /* of its RSS, what further mappings of the same pages can have added */
    uint64_t hugetlb_bytes;
    uint64_t swap_bytes;
    uint64_t mapped_bytes; /* largest size of its address space (VMS), */
    uint64_t unique_bytes; /* and of its USS, in the readings */
    struct cm_usage usage;
    uint32_t inexact_windows; /* windows in which a spike can be missing */
    uint32_t text_offset;
    uint32_t text_bytes;
    uint32_t flags;
    int32_t wait_status;
    char comm[16];
};

/* What the target's process sets before its exec, as requested. It lies in the shared memory after everything else, so
 * that a command without such a request does not touch its pages. */
struct cm_target_setup {
    uint32_t flags;   /* CM_SET_... */
    uint32_t rlimits; /* a bit for each resource that has a limit */
    uint64_t soft_limits[CM_RLIMITS];
    uint64_t hard_limits[CM_RLIMITS];
    uint32_t umask;
    int32_t process_group;
    uint32_t uid;
    uint32_t gid;
    uint32_t nextra_groups;
    uint32_t npassed_fds;
    int32_t passed_fds[CM_PASSED_FDS]; /* their numbers in the target */
    uint32_t extra_groups[CM_EXTRA_GROUPS];
    uint64_t cpus[CM_CPU_WORDS];
};

/* The last reading of the tree. `writes` is odd while it is being written. */
struct cm_reading {
    uint64_t writes;
    uint64_t t_ns; /* 0: nothing was read yet */
    uint64_t rss_bytes;
    uint64_t pss_bytes, pss_t_ns; /* the last reading of PSS, and its time; 0: none */
    uint32_t alive;
    uint32_t nlargest;
    int32_t largest_pid[CM_LARGEST]; /* the processes with the largest RSS, the largest first */
    int32_t largest_row[CM_LARGEST]; /* their rows of the process table, or -1 */
    uint64_t largest_rss_bytes[CM_LARGEST];
};

struct cm_head {
    char magic[8];
    uint32_t abi;
    uint32_t ntracks;
    uint64_t size;

    /* the request */
    uint64_t interval_ns;    /* or, with a budget, the shortest interval */
    uint64_t cpu_budget_ppm; /* of one CPU, what the sampler may spend; 0: the interval is fixed */
    uint64_t pss_budget_ppm;
    uint64_t timeout_ns;
    uint64_t timeout_grace_ns; /* between SIGTERM and SIGKILL, or 0 */
    uint64_t cpu_limit_ns;
    uint64_t processes_limit;
    uint64_t memory_limit_bytes;
    uint64_t cgroup_limit_bytes; /* of the target's group, or 0; the sampler sets it if it makes the group */
    uint64_t signal_mask;
    int32_t host_pid;
    int32_t memory_group_fd; /* folders of control groups that the target starts in, or -1 */
    int32_t selector_group_fd;
    uint32_t memory_group_version;
    uint32_t leftover;
    /* The sampler is alone in a delegated group, and makes the target's group below it. */
    uint32_t is_delegated;
    int32_t debug_fd; /* where to print what the sampler does, or 0 */
    uint32_t has_target_setup;
    int32_t first_passed_fd; /* in the sampler; the others follow */

    /* the answer */
    uint32_t phase;
    uint32_t stage;
    int32_t error;
    uint32_t reason;
    uint32_t root_ended_first; /* the host ended the tree when the root had already ended by itself */
    int32_t root_pid;
    int32_t wait_status;
    uint32_t statm_exact;
    uint64_t start_ns;
    uint64_t exit_ns;
    uint64_t end_ns;

    uint64_t ticks;
    uint64_t late_ticks;
    uint64_t dropped_rows;
    uint64_t longest_gap_ns;
    uint64_t pss_readings;
    uint64_t pss_ns;
    uint64_t pss_over_bytes; /* by how much the largest reading of PSS may be too high */
    uint64_t pss_held_bytes; /* the largest sum of PSS, memory that is swapped out, and huge pages */
    /* Largest amount that the tree held at least, given what its processes may share. */
    uint64_t lower_bound_bytes;
    /* What the tree needed at most, by its page faults, and the part of files and shared memory in it. */
    uint64_t fault_bound_bytes, file_bound_bytes;
    uint32_t fault_bound_problem; /* CM_FAULTS_... */
    uint32_t fault_bound_marks;   /* high-water marks that the bound relies on, each with its error */
    /* Without a group: the largest sum of files in memory that the tree had open; how much of it is above what all
     * processes map, and above what one of them maps. */
    uint64_t shmem_unmapped_bytes, shmem_extra_bytes, memory_files_bytes;
    uint64_t swapped_out_bytes; /* by the whole machine */
    uint64_t refused_readings;
    uint64_t sampler_cpu_ns;
    uint64_t sampler_rss_bytes;
    uint64_t floor_bytes;
    uint64_t survivors;                         /* processes that could not be killed */
    uint64_t left_running;                      /* processes left running, as the request says */
    uint64_t last_unseen, last_unseen_since_ns; /* the part of `unseen` since the last tick, and its time */
    uint64_t unseen;
    uint64_t inexact_windows;
    uint64_t exit_records_lost;

    uint32_t alive;
    uint32_t max_alive;
    uint32_t max_threads;
    uint32_t root_ended;
    uint64_t rss_sum_bytes;
    uint64_t rss_sum_t_ns;
    /* When the sum of RSS, swapped-out memory and huge pages was largest: that sum, and its parts. */
    uint64_t held_sum_bytes;
    uint64_t held_anon_bytes, held_file_bytes, held_shmem_bytes, held_hugetlb_bytes, held_swap_bytes;
    uint64_t rss_largest_bytes;
    uint64_t hwm_largest_bytes;
    uint64_t maxrss_largest_bytes;
    uint64_t user_ns;
    uint64_t system_ns;
    struct cm_usage usage;

    /* sources that the kernel keeps for the whole tree */
    uint64_t cgroup_peak_bytes;
    uint64_t cgroup_parts[CM_MAX_COLUMNS]; /* its columns when their sum was largest */
    uint64_t cgroup_parts_t_ns;
    uint64_t group_held_bytes;      /* largest charge without page cache and kernel memory */
    uint64_t group_pinned_bytes;    /* largest part of it that is neither mapped nor in a file */
    uint64_t group_unmapped_bytes;  /* largest part of it in files in memory that the largest process does not map */
    uint64_t group_elsewhere_bytes; /* most that the tree maps and that other groups were charged for */
    uint64_t oom_kills;             /* in the group, if known */
    uint64_t limit_hits;            /* how often the group reached its own limit */
    uint64_t rss_stat_peak_bytes;
    uint64_t rss_stat_inexact;
    struct cm_reading reading;
    uint32_t left_groups; /* a process was found outside of the groups that the target started in */
    uint32_t oom_kills_known;

    uint64_t processes_offset;
    uint64_t processes_capacity;
    uint64_t processes;
    uint64_t processes_dropped;
    uint64_t text_offset;
    uint64_t text_capacity;
    uint64_t text_bytes;
    uint64_t target_setup_offset;

    struct cm_track tracks[CM_MAX_TRACKS];
};

/* What cm_launch starts. `fds[i]` becomes descriptor `numbers[i]` of the new process, or i without `numbers`, whose
 * first three must be 0, 1 and 2. Every other one is closed at its exec. Without `envp` it has the caller's
 * environment. */
struct cm_spawn {
    char **argv;
    char **envp;
    const char *cwd;
    int fds[CM_MAX_FDS];
    int32_t *numbers;
    int nfds;
    int stage;
};

/* A descriptor, and the file that it was opened for. */
struct cm_file {
    int fd;
    uint32_t is_open;
    uint64_t device, inode;
};

/* The folder of a control group, or NULL, and what is open of it. The folder is removed at the end. */
struct cm_group_folder {
    struct cm_file folder, mount;
    char *path;
};

/* The kernel resources of a measurement. All zero at first, except its owner. Python opens nothing by itself. */
struct cm_resources {
    int owner_pid; /* a forked child's copy kills and removes nothing */
    uint32_t locked;
    struct cm_file sampler;                    /* a pidfd */
    struct cm_file root;                       /* a pidfd, opened on first use */
    struct cm_file target_streams[CM_STREAMS]; /* the target's standard files */
    struct cm_group_folder groups[CM_GROUP_FOLDERS];
};

/* The memory that the sampler of one measurement shares with its host. */
struct cm_memory {
    struct cm_head *head;
    uint64_t size;
    struct cm_file file;
    struct cm_file done; /* an eventfd, readable when the sampler has written its result */
    int owner_pid;
    uint32_t is_reusable; /* the sampler has ended, and little was written */
};

/* Describe source number `i`. Return 0, or -ENOENT after the last one. */
int cm_source_at(int i, struct cm_source_info *info);

/* Check whether a source can be used here. Return 0, or -errno and one sentence in `why`. `proc_fd` is a descriptor
 * of /proc. */
int cm_probe(int proc_fd, const char *source, char *why, size_t n);

/* Read a process once, in bytes or counts. Return the number of columns, or -errno. */
int cm_read(int proc_fd, const char *source, int pid, uint64_t *row, size_t n);

/* Read a process `times` times through one descriptor, as the sampler does. Return the sum of the first column's
 * values in bytes, or -errno. For benchmarks. */
int64_t cm_read_loop(int proc_fd, const char *source, int pid, uint64_t times);

/* Fill in magic, columns, offsets and capacities. Return the number of bytes that the memory must have. */
int64_t cm_layout(struct cm_head *head);

/* Start the sampler for `head` by a clone that shares memory with its caller, never by fork. Return 0, and the
 * sampler is among the resources; or -errno, and `spawn->stage` shows what failed. Safe in any thread. */
int cm_launch(struct cm_head *head, struct cm_spawn *spawn, struct cm_resources *resources);

/* Tell the sampler to kill the whole tree. Return 0 or -errno. Safe in any thread while another one closes the
 * pidfd. */
int cm_stop(struct cm_resources *resources);

/* Return a descriptor that becomes readable at the end of the root, or -errno. It is opened once. -EAGAIN: the root has
 * not been started yet. */
int cm_root_fd(struct cm_resources *resources, const struct cm_head *head);

/* Send a signal to the root. Return 0, or -errno: -ESRCH if it has ended. */
int cm_signal_root(struct cm_resources *resources, const struct cm_head *head, int number);

/* Wait until the root has been started, the start has failed, or the sampler has ended, for at most 10 ms. Return
 * whether one of them is so. */
int cm_wait_started(struct cm_resources *resources, const struct cm_head *head);

/* Return whether the sampler has ended. */
int cm_has_ended(struct cm_resources *resources);

/* Kill the tree if it is running, wait for the sampler's end, reap it and close its pidfd. Return 0, or -ETIMEDOUT
 * if even the sampler cannot be killed. In a forked child, only close the pidfd. */
int cm_end(struct cm_resources *resources);

/* Close the target's standard files in this process, so that a pipe ends when the target closes it. */
void cm_close_target_streams(struct cm_resources *resources);

/* Call cm_end, then close and remove everything that is left. Safe at any time, any number of times. */
void cm_release(struct cm_resources *resources);

/* Open one or two descriptors, which close at exec. Return 0 or -errno. cm_open creates no file. */
int cm_open(struct cm_file *file, const char *path, int flags);
int cm_open_process_fd(struct cm_file *file, int pid);
int cm_open_pipe(struct cm_file *reader, struct cm_file *writer);
int cm_open_cgroup_mount(struct cm_file *file); /* of cgroup v2, in no mount table; ends with its descriptor (5.2) */

/* Write to a descriptor. A pipe without a reader causes no SIGPIPE, whatever its handler is. Return the number of
 * bytes, or -errno. */
int64_t cm_write(int fd, const void *data, uint64_t n);

/* Close a file once, if it is open and still the file that was opened. */
void cm_close(struct cm_file *file);

/* Store the path of a folder that is about to be made, so that it is removed with the resources. Return 0 or
 * -ENOMEM. */
int cm_name_group(struct cm_group_folder *group, const char *path);

/* Close what is open of a folder, and leave the folder in place. */
void cm_forget_group(struct cm_group_folder *group);

/* Open the memory of one measurement, of `size` bytes, and its eventfd. Return 0 or -errno. */
int cm_memory_open(struct cm_memory *memory, uint64_t size);

/* Close the memory, or keep it for the next measurement if it is reusable. */
void cm_memory_close(struct cm_memory *memory);

/* Close the memory that was kept: for a forked child, which shares it with its parent. */
void cm_memory_forget_kept(void);

/* Return the phase (CM_PHASE_...) that the sampler has reached. */
int cm_phase(const struct cm_head *head);

/* Copy the last reading. Return 1, or 0 if nothing was read yet. */
int cm_last_reading(const struct cm_head *head, struct cm_reading *reading);

/* Return whether the root has ended. Then its wait status can be read. */
int cm_root_ended(const struct cm_head *head);

/* Return the number of windows of a track that can be read. */
uint64_t cm_windows(const struct cm_head *head, int track);

#endif
