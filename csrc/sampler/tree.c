/*
 * The set of processes: the sampler's descendants.
 *
 * A new process has a new PID, and pid_scan.c checks every PID that was allocated since the last tick. The `children`
 * files of /proc are read every few ticks while there are new PIDs on the machine, and when not all could be checked.
 *
 * The sampler is a subreaper, so a daemon whose parents have exited becomes its own child and stays in the tree. A
 * process is added if its parent is a member. It is removed only when it has ended: the kernel's lists can miss living
 * children while their siblings exit.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>

#include "sampler/sampler.h"

enum {
    NEW_PID_TICKS = 2 * UNCHANGED_TICKS, /* a process may be found so many ticks after it got its PID */
    NO_PID_TICKS = 16 * UNCHANGED_TICKS,
};

void tree_open(struct sampler *s)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        s->descriptors.max = limit.rlim_cur < (1 << 20) ? (int)limit.rlim_cur - 64 : 1 << 20;
    }
    char name[64] = "self/task/";
    strcpy(cm_format_number(name + strlen(name), (uint64_t)s->own_pid), "/children");
    s->tree.children_fd = openat(s->proc_fd, name, O_RDONLY | O_CLOEXEC);
}

static void read_lists(struct sampler *s, uint64_t now_ns)
{
    children_read(s, s->tree.children_fd, now_ns);
    /* New members are appended, so their children are read in the same loop. But a chain of processes that fork and
     * exit faster than they are added is not followed for ever. */
    uint64_t until_ns = cm_now_ns() + MAX_BURST_NS;
    for (uint32_t i = 0; i < s->tree.nalive && (i % CLOCK_CHECK != 0 || cm_now_ns() < until_ns); i++) {
        struct member *m = alive_at(s, i);
        if (m->is_zombie)
            continue;
        children_read_of(s, m, now_ns);
    }
}

void tree_discover(struct sampler *s, uint64_t now_ns)
{
    bool complete = pid_scan_tick(s, now_ns);
    bool has_new_pid = s->head->ticks - s->pid_scan.new_pid_tick <= NEW_PID_TICKS;
    if (complete && s->head->ticks % (has_new_pid ? UNCHANGED_TICKS : NO_PID_TICKS) != 1)
        return;
    read_lists(s, now_ns);
    if (s->threads.are_several)
        threads_walk(s, now_ns);
}
