/* Reap processes that have ended, and kill the tree. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum {
    GIVE_UP_NS = 1500000000, /* stop waiting after so long without progress */
    CHECK_NS = 250000000,    /* pause between two checks whether some process is still exiting */
};

/* The largest size that this program can have had when it started the root, and so the largest that the root's
 * ru_maxrss can take over from it. */
#ifdef CM_FREESTANDING
#define FLOOR_AT_MOST_BYTES (512u << 10)
#else
#define FLOOR_AT_MOST_BYTES UINT64_MAX
#endif

static uint64_t timeval_ns(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_usec * 1000u;
}

static void store_end(struct sampler *s, int pid, int status, const struct rusage *usage, const struct cm_stat *stat)
{
    struct cm_head *head = s->head;
    uint64_t t_ns = cm_now_ns() - head->start_ns;
    uint64_t maxrss_bytes = (uint64_t)usage->ru_maxrss * 1024;
    head->user_ns += timeval_ns(usage->ru_utime);
    head->system_ns += timeval_ns(usage->ru_stime);
    head->minor_faults += (uint64_t)usage->ru_minflt;
    head->major_faults += (uint64_t)usage->ru_majflt;
    if (maxrss_bytes > head->maxrss_largest_bytes)
        head->maxrss_largest_bytes = maxrss_bytes;
    if (pid == head->root_pid) {
        head->wait_status = status;
        head->exit_ns = t_ns;
        head->root_ended = 1;
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
        if (stat != NULL) {
            entry->child_faults = stat->child_faults;
            entry->flags |= stat->ignores_sigchld ? CM_PROCESS_IGNORES_SIGCHLD : 0;
            memcpy(entry->comm, stat->comm, sizeof entry->comm);
        }
    } else if (m == NULL && stat == NULL) {
        head->processes_dropped++;
    }
    s->tree.may_have_orphans = true;
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
        if (reap(s, info.si_pid, &status, &usage))
            store_end(s, info.si_pid, status, &usage, known ? &stat : NULL);
    }
    return true;
}

/* Send SIGKILL through the descriptor of /proc/PID, which is bound to the process and not to its PID. Return false
 * if the process is gone. */
static bool kill_member(struct sampler *s, struct member *m)
{
    int fd = m->dir_fd >= 0 ? m->dir_fd : member_open_dir(s, m);
    if (fd < 0)
        return fd != -ESRCH;
    int error = syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0 ? errno : 0;
    DEBUG(m->pid, "SIGKILL", error);
    if (fd != m->dir_fd)
        close(fd);
    return error != ESRCH;
}

void kill_begin(struct sampler *s, uint32_t reason)
{
    if (s->ending.is_killing)
        return;
    DEBUG(0, "the tree is killed", 0);
    s->ending.is_killing = true;
    s->ending.progress_ns = cm_now_ns();
    s->head->reason = reason;
    tree_sources_thaw(s);
}

/*
 * Kill all known processes, from the root down, and then read the children of each. With SIGKILL pending a fork fails,
 * so no more children can follow. Children that are found are killed in the same walk. Return how many were killed.
 */
static uint64_t kill_walk(struct sampler *s)
{
    uint64_t killed = 0, now_ns = cm_now_ns() - s->head->start_ns;
    children_read(s, s->tree.children_fd, now_ns);
    for (uint32_t i = 0; i < s->tree.nalive;) {
        struct member *m = alive_at(s, i);
        if (!m->is_killed && !kill_member(s, m)) {
            tree_remove(s, m);
            continue; /* another member has moved to this place */
        }
        killed += !m->is_killed;
        m->is_killed = true;
        children_read_of(s, m, now_ns);
        i++;
    }
    return killed;
}

static bool kill_child(struct sampler *s, int pid, uint64_t unused)
{
    (void)s, (void)unused;
    return kill(pid, SIGKILL) == 0;
}

/*
 * Kill every process of the tree as soon as it is found, again and again until none is left. A list that was made first
 * and worked off afterwards would never catch up with a tree that keeps forking. A process that loses its parent
 * becomes the sampler's child, also one that cannot be found otherwise. The PID of a child is not allocated again until
 * the sampler has reaped it, so no other process can be hit.
 *
 * A killed process does not always end: not in a frozen control group of version 1, not while the kernel waits for a
 * device, and not before a foreign tracer has waited for it. A process of another user cannot be killed at all. A
 * repeated signal is not progress. After a while without progress, the remaining processes are counted as survivors.
 */
void kill_sweep(struct sampler *s)
{
    uint64_t killed = kill_walk(s), now_ns = cm_now_ns();
    children_visit(s, s->tree.children_fd, 0, kill_child);
    if (!s->head->root_ended) /* also if /proc is another PID namespace's and lists no children */
        kill(s->head->root_pid, SIGKILL);
    bool is_check_due = now_ns - s->ending.checked_ns >= CHECK_NS;
    if (is_check_due)
        s->ending.checked_ns = now_ns;
    if (killed > 0 || (is_check_due && leftover_is_exiting(s)))
        s->ending.progress_ns = now_ns;
    if (now_ns < s->ending.progress_ns + GIVE_UP_NS)
        return;
    DEBUG(0, "no progress: the processes that are left are given up", 0);
    leftover_count(s, CM_PROCESS_SURVIVED);
    if (s->head->survivors == 0) /* it could not be listed */
        s->head->survivors = 1;
    s->ending.is_finished = true;
}
