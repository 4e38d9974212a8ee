/* The ends of processes: those that come by themselves, and those that are brought about. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum {
    GIVE_UP_NS = 1500000000, /* after so long in which nothing came of it */
    CHECK_NS = 250000000,     /* between two is_check_due whether some process is still ending */
};

/* The most that this program can have been when it started the root, and so the most that it can show in its place. */
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
    struct member *m = tree_find(s, pid);
    static const struct cm_stat hidden = {.child_faults = 1}; /* for all that is known */
    if (stat == NULL && pid == head->root_pid)
        stat = &hidden;
    int32_t row_number;
    struct cm_process *entry = m != NULL ? member_row(s, m) : stat ? table_add_row(s, pid, stat, t_ns, &row_number) : NULL;
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
            entry->flags |= stat->ignores_sigchld ? CM_PROCESS_FORGETS : 0;
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
 * Reaps one. The kernel then drops what it keeps of /proc/PID. Where the process's last thread, on its way out, is just
 * dropping its own /proc/PID/task/TID, it loops until that is done (shrink_dcache_parent); and that thread may need this
 * very CPU.
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
 * Reaps those who have ended: children, and orphans of the tree, which come to their subreaper with their own record.
 * True where there may be more: a tree that ends processes as fast as they can be reaped must not keep the sampler
 * from its clock.
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
        /* While it is a zombie it still tells its name, and whether it has waited for children of its own: without
         * any, its ru_maxrss is nobody else's. In a storm of endings only those that are known are asked. */
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

/* Through the descriptor of its folder, which is bound to the process and not to its number: false once it is gone. */
static bool kill_member(struct sampler *s, struct member *m)
{
    int fd = m->dir_fd >= 0 ? m->dir_fd : member_open_dir(s, m);
    if (fd < 0)
        return fd != -ESRCH;
    int error = syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0 ? errno : 0;
    if (fd != m->dir_fd)
        close(fd);
    return error != ESRCH;
}

void kill_begin(struct sampler *s, uint32_t reason)
{
    if (s->ending.is_killing)
        return;
    s->ending.is_killing = true;
    s->ending.progress_ns = cm_now_ns();
    s->head->reason = reason;
    tree_sources_thaw(s);
}

/*
 * Kills all that are known, from the top down, and asks each for its children once it cannot have more of them: with
 * SIGKILL pending a fork comes to nothing. Whoever is found is killed in the same walk. How many were.
 */
static uint64_t kill_walk(struct sampler *s)
{
    uint64_t killed = 0, now_ns = cm_now_ns() - s->head->start_ns;
    children_read(s, s->tree.children_fd, now_ns);
    for (uint32_t i = 0; i < s->tree.nalive;) {
        struct member *m = alive_at(s, i);
        if (!m->is_killed && !kill_member(s, m)) {
            tree_remove(s, m);
            continue; /* another one has taken its place */
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
 * Kills everybody row_number the moment of finding them, again and again until there is nobody: a list made first and worked off
 * afterwards would never catch up with a tree that keeps forking. Whoever loses its parent by this becomes a child, and
 * so does who cannot be found otherwise. A child's number is its own until the sampler itself has reaped it, so no
 * stranger can be hit.
 *
 * What has been killed need not end: not in a frozen control group of version 1, not while the kernel waits for a device,
 * and where a foreign process traces it, that one has to wait for it first. And another user's may not be killed row_number all.
 * To send the signal once more is no progress; when there has been none for a while, they are left as they are.
 */
void kill_sweep(struct sampler *s)
{
    uint64_t killed = kill_walk(s), now_ns = cm_now_ns();
    children_visit(s, s->tree.children_fd, 0, kill_child);
    if (!s->head->root_ended) /* also where /proc is another namespace's and lists no children */
        kill(s->head->root_pid, SIGKILL);
    bool is_check_due = now_ns - s->ending.checked_ns >= CHECK_NS;
    if (is_check_due)
        s->ending.checked_ns = now_ns;
    if (killed > 0 || (is_check_due && leftover_is_exiting(s)))
        s->ending.progress_ns = now_ns;
    if (now_ns < s->ending.progress_ns + GIVE_UP_NS)
        return;
    leftover_count(s, CM_PROCESS_SURVIVED);
    if (s->head->survivors == 0) /* which cannot be named */
        s->head->survivors = 1;
    s->ending.is_finished = true;
}
