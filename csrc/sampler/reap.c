/* Reap processes that have ended, and store how they ended. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sampler/sampler.h"

/* The largest size that this program can have had when it started the root, and so the largest that the root's
 * ru_maxrss can take over from it. */
#ifdef CM_FREESTANDING
#define FLOOR_AT_MOST_BYTES (512u << 10)
#else
#define FLOOR_AT_MOST_BYTES UINT64_MAX
#endif

enum { BLOCK_BYTES = 512 }; /* of ru_inblock and ru_oublock */

static uint64_t timeval_ns(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_usec * 1000u;
}

static struct cm_usage usage_of(const struct rusage *usage)
{
    return (struct cm_usage){
        .minor_faults = (uint64_t)usage->ru_minflt,
        .major_faults = (uint64_t)usage->ru_majflt,
        .voluntary_switches = (uint64_t)usage->ru_nvcsw,
        .involuntary_switches = (uint64_t)usage->ru_nivcsw,
        .read_bytes = (uint64_t)usage->ru_inblock * BLOCK_BYTES,
        .written_bytes = (uint64_t)usage->ru_oublock * BLOCK_BYTES,
    };
}

static void store_end(struct sampler *s, int pid, int status, const struct rusage *usage, const struct cm_stat *stat)
{
    struct cm_head *head = s->head;
    uint64_t t_ns = cm_now_ns() - head->start_ns;
    uint64_t maxrss_bytes = (uint64_t)usage->ru_maxrss * 1024;
    head->user_ns += timeval_ns(usage->ru_utime);
    head->system_ns += timeval_ns(usage->ru_stime);
    struct cm_usage counted = usage_of(usage);
    usage_add(&head->usage, &counted);
    fault_ledger_reap(s, tree_find(s, pid), (uint64_t)usage->ru_minflt, (uint64_t)usage->ru_majflt);
    if (maxrss_bytes > head->maxrss_largest_bytes)
        head->maxrss_largest_bytes = maxrss_bytes;
    if (pid == head->root_pid) {
        head->wait_status = status;
        head->exit_ns = t_ns;
        if (head->floor_bytes == 0 && maxrss_bytes <= FLOOR_AT_MOST_BYTES)
            self_store_size(s);
    }
    DEBUG(pid, "reaped", 0);
    struct member *m = tree_find(s, pid);
    static const struct cm_stat hidden = {.child_faults = 1}; /* /proc does not show it: assume that it had children */
    if (stat == NULL && pid == head->root_pid)
        stat = &hidden;
    int32_t number;
    struct cm_process *entry = NULL;
    if (m != NULL)
        entry = member_row(s, m);
    else if (stat != NULL)
        entry = table_add_row(s, pid, stat, t_ns, &number);
    if (entry != NULL) {
        if (!(entry->flags & CM_PROCESS_ENDED))
            entry->end_ns = t_ns;
        entry->flags |= CM_PROCESS_ENDED | CM_PROCESS_REAPED;
        entry->wait_status = status;
        entry->maxrss_bytes = maxrss_bytes;
        entry->user_ns = timeval_ns(usage->ru_utime);
        entry->system_ns = timeval_ns(usage->ru_stime);
        entry->usage = counted;
        if (stat != NULL) {
            entry->child_faults = stat->child_faults;
            entry->flags |= stat->ignores_sigchld ? CM_PROCESS_IGNORES_SIGCHLD : 0;
            memcpy(entry->comm, stat->comm, sizeof entry->comm);
        }
    } else if (m == NULL && stat == NULL) {
        head->processes_dropped++;
    }
    if (leftover_is_progress(s, m))
        s->ending.progress_ns = cm_now_ns();
    if (m != NULL)
        tree_remove(s, m);
}

/*
 * Reap one process. The kernel then drops its cached entries of /proc/PID. If the last thread of the process is just
 * dropping its own /proc/PID/task/TID, the kernel loops until that is done (shrink_dcache_parent). That thread may need
 * this CPU, so SCHED_FIFO is left during the call.
 */
static bool reap(struct sampler *s, int pid, int *status, struct rusage *usage)
{
    const struct member *m = tree_find(s, pid);
    bool may_loop = m != NULL && m->threads_read;
    if (may_loop)
        fifo_leave(s);
    bool done = wait4(pid, status, __WALL, usage) == pid;
    if (may_loop)
        fifo_enter(s);
    return done;
}

/* Store that the root has ended, and how, before it is reaped: until then its PID cannot be another process's, which
 * the host relies on when it sends a signal. */
static void store_root_end(struct cm_head *head, const siginfo_t *info)
{
    int status = info->si_status;
    head->wait_status = info->si_code == CLD_EXITED   ? status << 8
                        : info->si_code == CLD_DUMPED ? status | 0x80
                                                      : status;
    __atomic_store_n(&head->root_ended, 1, __ATOMIC_RELEASE);
}

/*
 * Reap children that have ended: the root, and orphans of the tree, which are handed to their subreaper, each with its
 * own rusage. Return true if more may be left: a tree that ends processes as fast as they can be reaped must not keep
 * the sampler from its other work.
 */
bool reap_some(struct sampler *s)
{
    uint64_t until_ns = cm_now_ns() + MAX_BURST_NS;
    for (int n = 0; n % CLOCK_CHECK != 0 || n == 0 || cm_now_ns() < until_ns; n++) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0) {
            if (errno == EINTR)
                continue;
            s->ending.is_finished = errno == ECHILD;
            return false;
        }
        if (info.si_pid == 0)
            return false;
        /* A zombie still shows its name, and whether it waited for children. If it did not, its ru_maxrss is its
         * own. When many processes end at once, read this only for known processes. */
        struct cm_stat stat;
        bool known = false;
        if ((!s->ending.is_killing && n < CLOCK_CHECK) || tree_find(s, info.si_pid) != NULL) {
            char name[40];
            strcpy(cm_format_number(name, (uint64_t)info.si_pid), "/stat");
            known = cm_read_stat(s->proc_fd, name, &stat) == 0;
        }
        struct rusage usage;
        int status;
        if (info.si_pid == s->head->root_pid)
            store_root_end(s->head, &info);
        if (reap(s, info.si_pid, &status, &usage))
            store_end(s, info.si_pid, status, &usage, known ? &stat : NULL);
    }
    return true;
}
