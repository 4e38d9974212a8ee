/*
 * Read what the kernel charged to the command's own control group: at every tick its usage, now and then its parts.
 *
 * The charge without page cache and kernel memory is what the tree holds, whether a process maps it or not: anonymous
 * memory, files in memory, pages pinned by a ring. The parts are read between two readings of the usage. What changes
 * in between is taken off.
 */
#include <string.h>

#include "sampler/sampler.h"

enum {
    PAUSE_NS = 10000000,          /* memory.stat is slow to read: pause at least this long, */
    PAUSE_AT_RECORD_NS = 1000000, /* or this long while the charge is the largest so far, */
    PARTS = 5,                    /* and take at most one of so many parts of the budget */
    APART_NS = 500000,            /* two readings that are compared are so far apart */
    FEW_BYTES = 65536,            /* unmapped files in memory below this are not looked for */
};

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Compare what is charged without page cache and kernel memory with the largest so far. Only what stands at two
 * readings counts. */
static void compare_held(struct sampler *s, uint64_t usage, const struct cm_cgroup_more *more, uint64_t t_ns)
{
    struct group_charge *group = &s->group_charge;
    const uint64_t *charge = group->parts;
    struct cm_head *head = s->head;
    uint64_t in_memory = charge[CM_CGROUP_ANON] + charge[CM_CGROUP_SHMEM], held = in_memory, pinned = 0, unmapped = 0;
    if (t_ns < group->compared_ns + APART_NS)
        return;
    if (more->kernel_is_known) {
        uint64_t again = cm_cgroup_usage(&group->cgroup);
        uint64_t certain = again > usage ? minus(usage, again - usage) : minus(again, usage - again);
        uint64_t sock = group->cgroup.version == 2 ? charge[CM_CGROUP_SOCK] : 0;
        uint64_t rest = minus(certain, charge[CM_CGROUP_FILE] + charge[CM_CGROUP_KERNEL] + sock);
        pinned = minus(rest, in_memory);
        keep_largest(&held, rest);
    }
    held += more->swap_bytes;
    if (charge[CM_CGROUP_SHMEM] > FEW_BYTES)
        unmapped = minus(charge[CM_CGROUP_SHMEM], shared_memory_largest(s));
    keep_largest(&head->group_held_bytes, smaller(held, group->held_bytes));
    keep_largest(&head->group_pinned_bytes, standing_update(&group->pinned, pinned, t_ns));
    keep_largest(&head->group_unmapped_bytes, standing_update(&group->unmapped, unmapped, t_ns));
    group->held_bytes = held;
    group->compared_ns = t_ns;
}

static void read_parts(struct sampler *s, uint64_t usage, uint64_t t_ns)
{
    struct group_charge *group = &s->group_charge;
    struct cm_head *head = s->head;
    struct cm_cgroup_more more = {0};
    uint64_t before = 0, now = 0;
    cm_cgroup_parts(&group->cgroup, group->parts, &more);
    group->parts_read_ns = t_ns;
    group->mapped_bytes = more.mapped_bytes;
    compare_held(s, usage, &more, t_ns);
    for (int i = CM_CGROUP_ANON; i <= CM_CGROUP_KERNEL; i++) {
        before += head->cgroup_parts[i];
        now += group->parts[i];
    }
    if (now < before)
        return;
    memcpy(head->cgroup_parts, group->parts, sizeof group->parts);
    head->cgroup_parts_t_ns = t_ns;
}

void group_charge_read(struct sampler *s, uint64_t t_ns, bool last)
{
    struct group_charge *group = &s->group_charge;
    uint32_t row[CM_MAX_COLUMNS];
    uint64_t usage = cm_cgroup_usage(&group->cgroup), since_ns = t_ns - group->parts_read_ns;
    bool record = usage > group->largest_usage, is_due = since_ns >= (record ? PAUSE_AT_RECORD_NS : PAUSE_NS);
    if (last || group->parts_read_ns == 0 || (is_due && t_ns >= group->due_ns)) {
        uint64_t before_ns = budget_own_cpu_ns();
        read_parts(s, usage, t_ns);
        group->due_ns = t_ns + budget_pause(s, budget_own_cpu_ns() - before_ns, PARTS);
    }
    keep_largest(&group->largest_usage, usage);
    group->parts[CM_CGROUP_USAGE] = usage;
    for (int i = 0; i < CM_MAX_COLUMNS; i++)
        row[i] = cm_in_32_bits(group->parts[i] / 1024);
    cm_record(s->base, &s->head->tracks[CM_CGROUP], t_ns, row, row);
}

/* Read the parts again. Return how much of the mapped files and shared memory the group is charged for. */
uint64_t group_charge_mapped(struct sampler *s)
{
    struct group_charge *group = &s->group_charge;
    if (!track_wanted(s, CM_CGROUP))
        return 0;
    read_parts(s, cm_cgroup_usage(&group->cgroup), cm_now_ns() - s->head->start_ns);
    return group->mapped_bytes;
}
