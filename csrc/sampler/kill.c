/* Kill the tree: at a limit, at a signal from the host, and when the host has ended. */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum {
    GIVE_UP_NS = 1500000000, /* stop waiting after so long without progress */
    CHECK_NS = 250000000,    /* pause between two checks whether some process is still exiting */
};

/* Send a signal through the descriptor of /proc/PID, which is bound to the process and not to its PID. Return false
 * if the process is gone. */
static bool signal_member(struct sampler *s, struct member *m, int number)
{
    int fd = m->dir_fd >= 0 ? m->dir_fd : member_open_dir(s, m);
    if (fd < 0)
        return fd != -ESRCH;
    int error = syscall(SYS_pidfd_send_signal, fd, number, NULL, 0) < 0 ? errno : 0;
    DEBUG(m->pid, number == SIGKILL ? "SIGKILL" : number == SIGTERM ? "SIGTERM" : "SIGCONT", error);
    if (fd != m->dir_fd)
        close(fd);
    m->is_refused = error == EPERM;
    return error != ESRCH;
}

static const char *reason_text(uint32_t reason)
{
    switch (reason) {
    case CM_REASON_TIMEOUT:
        return "timeout";
    case CM_REASON_MEMORY_LIMIT:
        return "memory limit";
    case CM_REASON_CPU_LIMIT:
        return "CPU limit";
    case CM_REASON_PROCESSES_LIMIT:
        return "limit on processes";
    case CM_REASON_INTERRUPTED:
        return "interrupted";
    case CM_REASON_HOST_GONE:
        return "the host has ended";
    default:
        return "the root has ended";
    }
}

/* Return whether the root has ended by itself. It may not have been reaped yet. */
static bool root_has_ended(const struct sampler *s)
{
    siginfo_t info = {0};
    int root = s->head->root_pid, options = WEXITED | WNOHANG | WNOWAIT | __WALL;
    return s->head->root_ended || (waitid(P_PID, (id_t)root, &info, options) == 0 && info.si_pid == root);
}

void kill_begin(struct sampler *s, uint32_t reason)
{
    if (s->ending.is_killing)
        return;
    s->head->root_ended_first =
        reason == CM_REASON_INTERRUPTED && s->head->reason == CM_REASON_NONE && root_has_ended(s);
    DEBUG_DETAIL(0, "the tree is killed", reason_text(reason), 0);
    s->ending.is_killing = true;
    s->ending.progress_ns = cm_now_ns();
    if (s->head->reason == CM_REASON_NONE) /* after the timeout it stays that */
        s->head->reason = reason;
    tree_sources_thaw(s);
}

/* Return when the timeout acts next. */
uint64_t kill_timeout_at(const struct sampler *s)
{
    const struct cm_head *head = s->head;
    if (head->timeout_ns == 0)
        return UINT64_MAX;
    return head->start_ns + head->timeout_ns + (s->ending.is_terminating ? head->timeout_grace_ns : 0);
}

/* Send SIGTERM to every process of the tree once, and SIGCONT, so that stopped ones can act on it. Processes that are
 * started later get none. */
static void terminate_all(struct sampler *s)
{
    uint64_t now_ns = cm_now_ns() - s->head->start_ns;
    s->ending.is_terminating = true;
    s->head->reason = CM_REASON_TIMEOUT;
    late_setup(s);
    children_read(s, s->tree.children_fd, now_ns);
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        if (signal_member(s, m, SIGTERM))
            signal_member(s, m, SIGCONT);
        children_read_of(s, m, now_ns);
    }
    if (!s->head->root_ended && tree_find(s, s->head->root_pid) == NULL) /* /proc is another PID namespace's */
        kill(s->head->root_pid, SIGTERM);
}

/* At the timeout send SIGTERM, and SIGKILL after the grace; without a grace SIGKILL at once. */
void kill_at_timeout(struct sampler *s, uint64_t now_ns)
{
    if (now_ns < kill_timeout_at(s) || s->ending.is_killing)
        return;
    if (s->head->timeout_grace_ns != 0 && !s->ending.is_terminating)
        terminate_all(s);
    else
        kill_begin(s, CM_REASON_TIMEOUT);
}

/*
 * Kill all known processes, from the root down, and then read the children of each. With SIGKILL pending a fork fails,
 * so no more children can follow. Children that are found are killed in the same walk. Return how many were killed.
 */
static uint64_t kill_walk(struct sampler *s)
{
    uint64_t killed = 0, now_ns = cm_now_ns() - s->head->start_ns;
    bool is_first = s->ending.walks++ == 0, is_refused = false;
    children_read(s, s->tree.children_fd, now_ns);
    for (uint32_t i = 0; i < s->tree.nalive;) {
        struct member *m = alive_at(s, i);
        if (!m->is_killed && !signal_member(s, m, SIGKILL)) {
            fault_ledger_depart(s, m);
            tree_remove(s, m);
            continue; /* another member has moved to this place */
        }
        m->is_in_first_walk |= is_first;
        s->ending.is_refused |= m->is_refused;
        is_refused |= m->is_refused;
        killed += !m->is_killed && leftover_is_progress(s, m);
        m->is_killed = !m->is_refused; /* the next walk tries again: it may give up its privileges */
        children_read_of(s, m, now_ns);
        i++;
    }
    s->ending.is_refused = is_refused;
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
 * becomes a child of the sampler, which finds it there even if nothing else shows it. The PID of a child is not
 * allocated again until the sampler has reaped it, so no other process can be hit.
 *
 * A killed process does not always end: not in a frozen control group of version 1, not while the kernel waits for a
 * device, and not before a foreign tracer has waited for it. A process of another user cannot be killed at all. A
 * repeated signal is not progress, and neither is the end of what such a process starts. After a while without
 * progress, the remaining processes are counted as survivors.
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
