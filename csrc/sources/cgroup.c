/*
 * cgroup: what the kernel charged to the control group that the target starts in. Unlike RSS this includes the page
 * cache and kernel memory of the tree. It excludes pages that were first charged to another group.
 *
 * The kernel's maximum is memory.peak (version 2, Linux 5.19) or memory.max_usage_in_bytes (version 1). The kernel
 * charges in batches of 64 pages per CPU, so the maximum can be that much too high for each CPU. The parts are read
 * from memory.stat, which holds only the present values: they are sampled. Version 1 reports no kernel memory by kind
 * but that of TCP.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "shared/internal.h"

/* The names in memory.stat of the columns from CM_CGROUP_ANON on; then of what is not a column. Those of version 1
 * include the groups below. */
enum { PARTS_V2 = 9, PARTS_V1 = 5 };
static const char *const parts_v2[PARTS_V2] = {"anon",       "file", "shmem",       "kernel",    "kernel_stack",
                                               "pagetables", "sock", "file_mapped", "swapcached"};
static const char *const parts_v1[PARTS_V1] = {"total_rss", "total_cache", "total_shmem", "total_mapped_file",
                                               "total_swap"};

int cm_cgroup_open(struct cm_cgroup *group, int dir_fd, int version, const char **why)
{
    bool is_v2 = version == 2;
    *group = (struct cm_cgroup){
        .version = version,
        .peak_fd = openat(dir_fd, is_v2 ? "memory.peak" : "memory.max_usage_in_bytes", O_RDONLY | O_CLOEXEC),
        .usage_fd = openat(dir_fd, is_v2 ? "memory.current" : "memory.usage_in_bytes", O_RDONLY | O_CLOEXEC),
        .stat_fd = openat(dir_fd, "memory.stat", O_RDONLY | O_CLOEXEC),
        .kernel_fd = is_v2 ? -1 : openat(dir_fd, "memory.kmem.usage_in_bytes", O_RDONLY | O_CLOEXEC),
        .swap_fd = is_v2 ? openat(dir_fd, "memory.swap.current", O_RDONLY | O_CLOEXEC) : -1,
        .sock_fd = is_v2 ? -1 : openat(dir_fd, "memory.kmem.tcp.usage_in_bytes", O_RDONLY | O_CLOEXEC),
    };
    if (group->peak_fd >= 0 && group->usage_fd >= 0 && group->stat_fd >= 0)
        return 0;
    *why = is_v2 ? "this kernel has no memory.peak (5.19 or later)" : "the group has no memory.max_usage_in_bytes";
    return -ENOENT;
}

static uint64_t read_number(int fd)
{
    char text[32];
    const char *at = text;
    return fd >= 0 && cm_pread_text(fd, text, sizeof text) > 0 ? cm_parse_number(&at) : 0;
}

uint64_t cm_cgroup_peak(const struct cm_cgroup *group)
{
    return read_number(group->peak_fd);
}

uint64_t cm_cgroup_usage(const struct cm_cgroup *group)
{
    return read_number(group->usage_fd);
}

static uint64_t known(uint64_t value)
{
    return value != CM_NO_FIELD ? value : 0;
}

/* Fill in every column but the usage, in bytes, and what is not a column. */
void cm_cgroup_parts(const struct cm_cgroup *group, uint64_t *row, struct cm_cgroup_more *more)
{
    uint64_t read[PARTS_V2];
    bool is_v2 = group->version == 2;
    if (cm_read_fields(group->stat_fd, ' ', is_v2 ? parts_v2 : parts_v1, read, is_v2 ? PARTS_V2 : PARTS_V1) != 0)
        return;
    int columns = is_v2 ? CM_CGROUP_SOCK + 1 - CM_CGROUP_ANON : CM_CGROUP_SHMEM + 1 - CM_CGROUP_ANON;
    for (int i = 0; i < columns; i++)
        row[CM_CGROUP_ANON + i] = known(read[i]);
    more->mapped_bytes = known(read[columns]);
    more->kernel_is_known = !is_v2 || read[CM_CGROUP_KERNEL - CM_CGROUP_ANON] != CM_NO_FIELD; /* version 2: 5.18 */
    uint64_t swap = is_v2 ? read_number(group->swap_fd) : known(read[columns + 1]);
    uint64_t in_both = is_v2 ? known(read[columns + 1]) : 0; /* version 1 charges such pages as memory only */
    more->swap_bytes = swap > in_both ? swap - in_both : 0;
    /* Both versions count shared memory as page cache. */
    row[CM_CGROUP_FILE] -= row[CM_CGROUP_SHMEM] < row[CM_CGROUP_FILE] ? row[CM_CGROUP_SHMEM] : row[CM_CGROUP_FILE];
    if (group->version == 1) {
        row[CM_CGROUP_KERNEL] = read_number(group->kernel_fd);
        row[CM_CGROUP_SOCK] = read_number(group->sock_fd);
        more->kernel_is_known = group->kernel_fd >= 0;
    }
}

/* Count the processes of the group that the OOM killer has killed. Return false if the kernel does not count them
 * (before 4.13). */
bool cm_cgroup_oom_kills(int dir_fd, int version, uint64_t *kills)
{
    static const char *const names[] = {"oom_kill"};
    int fd = openat(dir_fd, version == 2 ? "memory.events" : "memory.oom_control", O_RDONLY | O_CLOEXEC);
    bool known = fd >= 0 && cm_read_fields(fd, ' ', names, kills, 1) == 0 && *kills != CM_NO_FIELD;
    if (fd >= 0)
        close(fd);
    return known;
}

/* Count how often the group, not one above or below it, reached its limit. Version 1 counts all such charges (failcnt),
 * version 2 only those for which nothing could be reclaimed (5.2 or later). */
uint64_t cm_cgroup_limit_hits(int dir_fd, int version)
{
    static const char *const names[] = {"oom"};
    uint64_t hits = 0;
    int fd = openat(dir_fd, version == 2 ? "memory.events.local" : "memory.failcnt", O_RDONLY | O_CLOEXEC);
    if (version == 1)
        hits = read_number(fd);
    else if (fd < 0 || cm_read_fields(fd, ' ', names, &hits, 1) != 0 || hits == CM_NO_FIELD)
        hits = 0;
    if (fd >= 0)
        close(fd);
    return hits;
}

const struct cm_source cm_source_cgroup = {
    .name = "cgroup",
    .needs = "a control group of its own with the memory controller: a delegated subtree, a user manager, or root",
    .remedy = "sudo concmem run -- CMD",
    .cadence = CM_PER_TREE,
    .on_request = true,
    .group = CM_GROUP_MEMORY,
    .column = "cgroup",
    .ncolumns = 8,
    .columns = {[CM_CGROUP_USAGE] = {.name = "usage", .unit = CM_UNIT_BYTES, .scale = 1024},
                [CM_CGROUP_ANON] = {.name = "anon", .unit = CM_UNIT_BYTES, .scale = 1024},
                [CM_CGROUP_FILE] = {.name = "file", .unit = CM_UNIT_BYTES, .scale = 1024},
                [CM_CGROUP_SHMEM] = {.name = "shmem", .unit = CM_UNIT_BYTES, .scale = 1024},
                [CM_CGROUP_KERNEL] = {.name = "kernel", .unit = CM_UNIT_BYTES, .scale = 1024},
                [CM_CGROUP_KERNEL_STACK] = {.name = "kernel_stack", .unit = CM_UNIT_BYTES, .scale = 1024},
                [CM_CGROUP_PAGE_TABLES] = {.name = "page_tables", .unit = CM_UNIT_BYTES, .scale = 1024},
                [CM_CGROUP_SOCK] = {.name = "sock", .unit = CM_UNIT_BYTES, .scale = 1024}},
};
