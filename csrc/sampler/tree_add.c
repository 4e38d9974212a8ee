/* Add a process to the tree: check that it belongs there, open its files, and read it for the first time. */
#include <unistd.h>

#include "sampler/sampler.h"

bool tree_add(struct sampler *s, int pid, uint64_t now_ns)
{
    if (tree_find(s, pid) != NULL)
        return false;
    int dir_fd = cm_open_process(s->proc_fd, pid);
    struct cm_stat stat;
    if (dir_fd < 0) {
        if (!s->pid_scan.is_checking)
            DEBUG(pid, "was listed, and /proc does not show it", dir_fd);
        return false;
    }
    /* Since it was listed the process may have ended and its PID been allocated again. An unrelated process does not
     * have a member as its parent. If a parent in the tree has just ended, the kernel has handed its children to
     * another member, or to the sampler. */
    if (cm_read_stat(dir_fd, "stat", &stat) < 0 || (stat.ppid != s->own_pid && tree_find(s, stat.ppid) == NULL)) {
        if (!s->pid_scan.is_checking) /* most PIDs that a scan finds are those of other processes of the machine */
            DEBUG(pid, "was listed, and is not of the tree any more", 0);
        close(dir_fd);
        return false;
    }
    struct member *m = tree_allocate(s, pid);
    if (m == NULL) {
        DEBUG(pid, "not added: too many processes", 0);
        s->head->processes_dropped++;
        close(dir_fd);
        return false;
    }
    DEBUG(pid, "added", 0);
    children_is_shown(s, pid);
    m->dir_fd = m->read_fd = dir_fd;
    s->descriptors.open++;
    m->start_ticks = stat.start_ticks;
    table_add_row(s, pid, &stat, now_ns, &m->table_row);
    m->parent = stat.ppid;
    m->faults = stat.faults;
    program_note(s, m, &stat);
    s->pss.changed_ns = now_ns;
    lower_bound_add(s, m);
    m->rows[CM_STATUS][CM_STATUS_THREADS] = (uint32_t)stat.threads;
    if (s->ending.is_killing) { /* nothing more of it is read */
        if (s->descriptors.open >= s->descriptors.max)
            member_close(s, m);
        return true;
    }
    member_check_shared_memory(s, m);
    member_keep_files(s, m);
    member_read_name(s, m, now_ns);
    member_read_rss(s, m, now_ns);
    exit_records_settle(s, pid, now_ns);
    return true;
}
