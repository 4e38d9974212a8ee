/*
 * Find processes by their PIDs. The kernel allocates PIDs and TIDs in ascending order, and /proc/loadavg shows the last
 * one. So every process that was started between two ticks has a PID in between. Each such PID is checked, whichever
 * process forked it. PIDs that are free again are counted: each may have been that of a process that ran unseen, and
 * the upper bound of the tree's memory allows for these processes. Of very many new PIDs only the last are checked.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum {
    INTERVAL_SHARE = 20,    /* a scan at a tick takes at most 1/20 of the interval */
    MAX_PIDS = 256,         /* check at most this many of the last PIDs: a program may start thousands of threads */
    FIRST_REUSED_PID = 300, /* the lowest PID that is allocated after the wrap-around (RESERVED_PIDS) */
};

static int last_allocated(const struct sampler *s)
{
    char text[128];
    ssize_t got = s->pid_scan.loadavg_fd < 0 ? -1 : cm_pread_text(s->pid_scan.loadavg_fd, text, sizeof text);
    const char *field = got > 0 ? strrchr(text, ' ') : NULL;
    return field == NULL ? 0 : (int)cm_parse_number(&field);
}

/* Start with the root: earlier PIDs do not matter. */
void pid_scan_begin(struct sampler *s)
{
    char text[32];
    const char *at = text;
    s->pid_scan.loadavg_fd = openat(s->proc_fd, "loadavg", O_RDONLY | O_CLOEXEC);
    ssize_t got = cm_read_file_at(s->proc_fd, "sys/kernel/pid_max", text, sizeof text);
    s->pid_scan.pid_max = got > 0 ? (int)cm_parse_number(&at) : 0;
    s->pid_scan.last_pid = s->head->root_pid;
}

/* Check one PID. Return true if it is free and was not that of a process in the table. */
static bool is_unseen(struct sampler *s, int pid, uint64_t now_ns)
{
    if (tree_find(s, pid) != NULL || table_find_row(s, pid, s->ticks.completed_ns) != NULL)
        return false;
    /* For a thread that is not a main thread this fails, but not with ESRCH. */
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return errno == ESRCH;
    close(pidfd);
    s->pid_scan.is_checking = true;
    tree_add(s, pid, now_ns);
    s->pid_scan.is_checking = false;
    return false;
}

/* Check the PIDs that were allocated since the last scan. Return whether all of them were checked. */
static bool scan(struct sampler *s, uint64_t now_ns, uint64_t until_ns)
{
    int last = last_allocated(s), next = s->pid_scan.last_pid + 1;
    bool all = true;
    s->pid_scan.unseen = 0;
    if (last == 0)
        return false;
    if (last == s->pid_scan.last_pid) {
        s->pid_scan.complete_ns = now_ns;
        return true;
    }
    if (last < next) { /* allocation has wrapped around */
        s->pid_scan.unseen += s->pid_scan.pid_max > next ? (uint32_t)(s->pid_scan.pid_max - next) : 0;
        next = last < FIRST_REUSED_PID ? last : FIRST_REUSED_PID;
        all = false;
    }
    if (last - next >= MAX_PIDS) {
        s->pid_scan.unseen += (uint32_t)(last - next - MAX_PIDS + 1);
        next = last - MAX_PIDS + 1;
        all = false;
    }
    s->pid_scan.new_pid_tick = s->head->ticks;
    for (; next <= last && cm_now_ns() < until_ns; next++)
        s->pid_scan.unseen += is_unseen(s, next, now_ns);
    s->pid_scan.last_pid = next - 1;
    if (next <= last)
        return false;
    s->pid_scan.complete_ns = now_ns;
    return all;
}

/* Return whether every PID that was allocated before this tick has been checked. */
bool pid_scan_tick(struct sampler *s, uint64_t now_ns)
{
    return scan(s, now_ns, cm_now_ns() + s->head->interval_ns / INTERVAL_SHARE);
}

/* Check the PIDs allocated after the last tick. Skip this if no other process was seen and the root waited for no
 * child, which its child_faults show. */
void pid_scan_end(struct sampler *s, uint64_t now_ns)
{
    struct cm_head *head = s->head;
    const struct cm_process *root = (struct cm_process *)(s->base + head->processes_offset);
    bool had_no_child = head->processes == 1 && root->child_faults == 0 && !(root->flags & CM_PROCESS_IGNORES_SIGCHLD);
    if (!s->late_setup.done || had_no_child)
        return;
    scan(s, now_ns, UINT64_MAX);
    head->unseen += s->pid_scan.unseen;
    head->last_unseen = s->pid_scan.unseen;
    head->last_unseen_since_ns = s->ticks.completed_ns;
}
