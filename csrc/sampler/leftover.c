/* Processes of the tree that are left: whether they still end, and how many there are when the sampler exits, killed
 * but not reaped, or left running on request. */
#include <string.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum { PF_EXITING = 4 }; /* include/linux/sched.h: in the flags of /proc/PID/stat, "on its way out" */

static bool read_stat(struct sampler *s, const struct member *m, struct cm_stat *stat)
{
    int dir_fd = m->dir_fd >= 0 ? m->dir_fd : member_open_dir(s, m);
    bool known = dir_fd >= 0 && cm_read_stat(dir_fd, "stat", stat) == 0;
    if (dir_fd >= 0 && dir_fd != m->dir_fd)
        close(dir_fd);
    return known;
}

/*
 * Return whether the end of a process (NULL: one that is not known) is progress. A process that cannot be killed can
 * start others for ever. While there is one, only processes count that were there when the killing began.
 */
bool leftover_is_progress(const struct sampler *s, const struct member *m)
{
    return !s->ending.is_refused || (m != NULL && m->is_in_first_walk && !m->is_refused);
}

/* Return whether some process is freeing its memory. For hundreds of GiB this takes seconds, and CPU time that
 * increases. */
bool leftover_is_exiting(struct sampler *s)
{
    struct cm_stat stat;
    uint64_t ticks = 0;
    for (uint32_t i = 0; i < s->tree.nalive; i++)
        if (leftover_is_progress(s, alive_at(s, i)) && read_stat(s, alive_at(s, i), &stat) && (stat.flags & PF_EXITING))
            ticks += stat.cpu_ticks;
    bool has_progress = ticks > s->ending.exiting_cpu_ticks;
    s->ending.exiting_cpu_ticks = ticks;
    return has_progress;
}

static void count_process(struct sampler *s, struct cm_process *entry, const struct cm_stat *stat, uint32_t flag)
{
    *(flag == CM_PROCESS_LEFT ? &s->head->left_running : &s->head->survivors) += 1;
    if (entry == NULL)
        return;
    entry->flags |= flag;
    memcpy(entry->comm, stat->comm, sizeof entry->comm);
}

/* A child that /proc does not show (hidepid), or that did not fit into the table. */
static uint32_t flag_for_unlisted;
static bool count_unlisted(struct sampler *s, int pid, uint64_t now_ns)
{
    static const struct cm_stat unknown;
    int32_t number;
    if (tree_find(s, pid) == NULL)
        count_process(s, table_add_row(s, pid, &unknown, now_ns, &number), &unknown, flag_for_unlisted);
    return true;
}

/*
 * Mark and count the processes that are left. A zombie counts if it is the sampler's own child and a tracer keeps it
 * from being reaped. A zombie of another parent has ended.
 */
void leftover_count(struct sampler *s, uint32_t flag)
{
    struct cm_stat stat;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        bool is_there = read_stat(s, m, &stat) && stat.state != 'X';
        bool has_ended = is_there && stat.state == 'Z' && stat.threads <= 1;
        if (is_there && !(has_ended && (flag == CM_PROCESS_LEFT || stat.ppid != s->own_pid)))
            count_process(s, member_row(s, m), &stat, flag);
    }
    flag_for_unlisted = flag;
    children_visit(s, s->tree.children_fd, cm_now_ns() - s->head->start_ns, count_unlisted);
}
