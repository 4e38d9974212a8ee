/* What of the tree is still there when the sampler goes: killed and not to be reaped, or left running on request. */
#include <string.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum { PF_EXITING = 4 }; /* include/linux/sched.h: the first field of /proc/PID/stat that says "on its way out" */

static bool read_stat(struct sampler *s, const struct member *m, struct cm_stat *stat)
{
    int dir_fd = m->dir_fd >= 0 ? m->dir_fd : member_folder(s, m);
    bool known = dir_fd >= 0 && cm_read_stat(dir_fd, "stat", stat) == 0;
    if (dir_fd >= 0 && dir_fd != m->dir_fd)
        close(dir_fd);
    return known;
}

/* Whether some process takes itself apart: to give back hundreds of GiB takes seconds, and CPU time as it goes on. */
bool leftover_is_ending(struct sampler *s)
{
    struct cm_stat stat;
    uint64_t ticks = 0;
    for (uint32_t i = 0; i < s->nalive; i++)
        if (read_stat(s, &s->members[s->alive[i]], &stat) && (stat.flags & PF_EXITING))
            ticks += stat.cpu_ticks;
    bool goes_on = ticks > s->ending_ticks;
    s->ending_ticks = ticks;
    return goes_on;
}

static void note(struct sampler *s, struct cm_process *entry, const struct cm_stat *stat, uint32_t flag)
{
    *(flag == CM_PROCESS_LEFT ? &s->head->left_running : &s->head->survivors) += 1;
    if (entry == NULL)
        return;
    entry->flags |= flag;
    memcpy(entry->comm, stat->comm, sizeof entry->comm);
}

/* A child that /proc does not show (hidepid), or that found no room. */
static uint32_t unmet_flag;
static bool note_unmet(struct sampler *s, int pid, uint64_t now_ns)
{
    static const struct cm_stat unknown;
    int32_t at;
    if (tree_find(s, pid) == NULL)
        note(s, tree_entry(s, pid, &unknown, now_ns, &at), &unknown, unmet_flag);
    return true;
}

/* Marks and counts those that are there. A zombie is, if it is the sampler's own child, which would have reaped it but
 * for a tracer; that of another parent has ended. */
void leftover_note(struct sampler *s, uint32_t flag)
{
    struct cm_stat stat;
    for (uint32_t i = 0; i < s->nalive; i++) {
        struct member *m = &s->members[s->alive[i]];
        bool is_there = read_stat(s, m, &stat) && stat.state != 'X';
        bool has_ended = is_there && stat.state == 'Z' && stat.threads <= 1;
        if (is_there && !(has_ended && (flag == CM_PROCESS_LEFT || stat.ppid != s->own_pid)))
            note(s, member_entry(s, m), &stat, flag);
    }
    unmet_flag = flag;
    children_visit(s, s->own_children_fd, cm_now_ns() - s->head->start_ns, note_unmet);
}

/*
 * The root has ended. Where the rest of its tree is not to be waited for, this is the last reading of all; then the rest
 * is killed, as by a limit, or the sampler goes and leaves it to the next reaper, as the kernel does with all orphans.
 */
void leftover_after_root(struct sampler *s)
{
    if (!s->head->root_ended || s->head->leftover == CM_LEFTOVER_WAIT || s->killing || s->no_children_left)
        return;
    late_setup(s);
    tick(s, cm_now_ns());
    if (s->killing) /* it was above the limit */
        return;
    if (s->head->leftover == CM_LEFTOVER_KILL) {
        kill_begin(s, CM_REASON_NONE);
        return;
    }
    leftover_note(s, CM_PROCESS_LEFT);
    s->no_children_left = true;
}
