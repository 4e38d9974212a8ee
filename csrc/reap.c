/* The ends of processes: those that come by themselves, and those that are brought about. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sampler.h"

enum { GIVE_UP_NS = 2000000000 };

static uint64_t timeval_ns(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_usec * 1000u;
}

static void note_end(struct sampler *s, int pid, int status, const struct rusage *usage, const struct cm_stat *stat)
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
    }
    struct member *m = tree_find(s, pid);
    int32_t at;
    struct cm_process *entry = m != NULL ? member_entry(s, m) : stat ? tree_entry(s, pid, stat, t_ns, &at) : NULL;
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
            memcpy(entry->comm, stat->comm, sizeof entry->comm);
        }
    }
    if (m != NULL)
        tree_remove(s, m);
}

/* Reaps whoever has ended: children, and orphans of the tree, which come to their subreaper with their own record. */
void reap_all(struct sampler *s)
{
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0) {
            if (errno == EINTR)
                continue;
            s->no_children_left = errno == ECHILD;
            return;
        }
        if (info.si_pid == 0)
            return;
        /* While it is a zombie it still tells its name, and whether it has waited for children of its own: without
         * any, its ru_maxrss is nobody else's. */
        struct cm_stat stat;
        int dir_fd = cm_open_process(s->proc_fd, info.si_pid);
        bool known = dir_fd >= 0 && cm_read_stat(dir_fd, &stat) == 0;
        if (dir_fd >= 0)
            close(dir_fd);
        struct rusage usage;
        int status;
        if (wait4(info.si_pid, &status, __WALL, &usage) == info.si_pid)
            note_end(s, info.si_pid, status, &usage, known ? &stat : NULL);
    }
}

/* Through the descriptor of its folder, which is bound to the process and not to its number: false once it is gone. */
bool kill_member(struct sampler *s, struct member *m)
{
    int fd = m->dir_fd >= 0 ? m->dir_fd : member_folder(s, m);
    if (fd < 0)
        return fd != -ESRCH;
    int error = syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0 ? errno : 0;
    m->refused_kill = error == EPERM;
    if (fd != m->dir_fd)
        close(fd);
    return error != ESRCH;
}

void kill_begin(struct sampler *s, uint32_t reason)
{
    if (s->killing)
        return;
    s->killing = true;
    s->kill_ns = cm_now_ns();
    s->head->reason = reason;
}

/*
 * Kills everyone known, and everyone found on the way at the moment of finding: a list made first and worked off
 * afterwards would never catch up with a tree that keeps forking. Called again and again until no child is left.
 */
void kill_sweep(struct sampler *s)
{
    uint64_t refused = 0;
    for (uint32_t i = 0; i < s->nalive;) {
        struct member *m = &s->members[s->alive[i]];
        if (!kill_member(s, m)) {
            tree_remove(s, m);
            continue;
        }
        refused += m->refused_kill;
        i++;
    }
    tree_discover(s, cm_now_ns() - s->head->start_ns);
    if (refused == s->nalive && refused > 0 && cm_now_ns() - s->kill_ns > GIVE_UP_NS) {
        s->head->survivors = refused; /* other users' processes, which are not ours to kill */
        s->no_children_left = true;
    }
}
