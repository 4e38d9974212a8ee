/* Kill the tree: at a limit, at a signal from the host, and when the host has ended. */
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum {
    GIVE_UP_NS = 1500000000, /* stop waiting after so long without progress */
    CHECK_NS = 250000000,    /* pause between two checks whether some process is still exiting */
};

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
    case CM_REASON_INTERRUPTED:
        return "interrupted";
    case CM_REASON_HOST_GONE:
        return "the host has ended";
    default:
        return "the root has ended";
    }
}

void kill_begin(struct sampler *s, uint32_t reason)
{
    if (s->ending.is_killing)
        return;
    DEBUG_DETAIL(0, "the tree is killed", reason_text(reason), 0);
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
    bool is_first = s->ending.walks++ == 0, is_refused = false;
    children_read(s, s->tree.children_fd, now_ns);
    for (uint32_t i = 0; i < s->tree.nalive;) {
        struct member *m = alive_at(s, i);
        if (!m->is_killed && !kill_member(s, m)) {
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
