/*
 * rss_stat: the sum of RSS over the tree and its maximum between any two readings, kept in the kernel by an eBPF
 * program (rss_stat_program.c) on the tracepoint kmem:rss_stat. A reading is an atomic exchange in mapped memory.
 *
 * The tracepoint reports the new size of one kind of pages of one address space at each change. The program is attached
 * through a perf event, which must name a CPU. The program is attached to the tracepoint itself all the same, and runs
 * on every CPU. The event is never enabled: only the program is needed.
 *
 * No map outlives its last user: the event holds the program, and the program its maps. So only the event's descriptor
 * and the mapping are kept, and a sampler that is killed leaves nothing behind. RLIMIT_MEMLOCK does not matter: kernels
 * that have the atomic operations of the program (5.12) charge maps to the control group.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/mount.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sources/rss_stat.h"

enum {
    ADDRESS_SPACES = 65536 / 3, /* alive at once; each has up to three kinds of pages */
    MAPPABLE = 1 << 10,         /* BPF_F_MMAPABLE, which headers before 5.5 lack */
    VALUES_BYTES = 64,
};

#define EVENT "events/kmem/rss_stat"

static const char NO_TRACEPOINT[] =
    "this kernel has no tracepoint kmem:rss_stat: rss_stat needs Linux 5.12 or later with tracing";
static const char BAD_FORMAT[] =
    "the tracepoint kmem:rss_stat of this kernel has a format that concmem does not support";
static const char NO_RIGHTS[] = "it needs root, or CAP_BPF, CAP_PERFMON and a readable tracefs (else CAP_SYS_ADMIN), "
                                "in a kernel that is not locked down";
static const char NO_MAPS[] =
    "the kernel cannot make eBPF maps: rss_stat needs Linux 5.12 or later with CONFIG_BPF_SYSCALL";
static const char NO_GROUP[] = "the tree's control group is not one of cgroup v2";
static const char NO_PROGRAM[] =
    "the kernel refuses the eBPF program: rss_stat needs Linux 5.12 or later with CONFIG_CGROUPS";
static const char NO_ATTACH[] =
    "the kernel does not attach eBPF programs to tracepoints: rss_stat needs CONFIG_BPF_EVENTS";

static int set_reason(const char *sentence, const char **why)
{
    *why = errno == EPERM || errno == EACCES ? NO_RIGHTS : sentence;
    return -errno;
}

/*
 * Open the folder of the tracepoint. If tracefs is not mounted, make a detached mount of it: that mount is in no mount
 * table and ends with its descriptors. (/sys/kernel/debug/tracing would also do. But if it is not mounted yet, opening
 * it mounts it for the whole machine.)
 */
static int open_event(void)
{
    int fd = open("/sys/kernel/tracing/" EVENT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    int context = (int)syscall(SYS_fsopen, "tracefs", FSOPEN_CLOEXEC);
    if (context < 0)
        return -1;
    int mount = -1;
    if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
    if (mount >= 0)
        fd = openat(mount, EVENT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = errno;
    close(mount);
    close(context);
    errno = error;
    return fd;
}

/* Return the N of "field:TYPE NAME; offset:N; size:BYTES;" in the event's format, or -1. */
static int offset_of(const char *format, const char *name, uint64_t bytes)
{
    const char *field = strstr(format, name);
    const char *offset = field != NULL ? strstr(field, "offset:") : NULL;
    const char *size = offset != NULL ? strstr(offset, "size:") : NULL;
    if (size == NULL)
        return -1;
    offset += strlen("offset:");
    size += strlen("size:");
    return cm_parse_number(&size) == bytes ? (int)cm_parse_number(&offset) : -1;
}

static int read_event(struct rss_event *event, const char **why)
{
    char format[2048], id[24];
    int fd = open_event();
    if (fd < 0)
        return set_reason(NO_TRACEPOINT, why);
    ssize_t got = cm_read_file_at(fd, "format", format, sizeof format);
    if (got >= 0)
        got = cm_read_file_at(fd, "id", id, sizeof id);
    close(fd);
    if (got < 0) {
        errno = (int)-got;
        return set_reason(NO_TRACEPOINT, why);
    }
    const char *at = id;
    event->id = cm_parse_number(&at);
    event->mm_id = offset_of(format, " mm_id;", 4);
    event->curr = offset_of(format, " curr;", 4);
    event->member = offset_of(format, " member;", 4);
    event->size = offset_of(format, " size;", 8);
    /* The numbers of the kinds are those of include/linux/mm_types_task.h. The format contains them as well. */
    bool known = event->mm_id >= 0 && event->curr >= 0 && event->member >= 0 && event->size >= 0 &&
                 strstr(format, "{ 1, \"MM_ANONPAGES\" }, { 2, \"MM_SWAPENTS\" }") != NULL;
    *why = known ? NULL : BAD_FORMAT;
    return known ? 0 : -ENOTSUP;
}

static int bpf(int command, union bpf_attr *attributes)
{
    return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

static int make_map(uint32_t type, uint32_t key_bytes, uint32_t value_bytes, uint32_t entries, uint32_t flags)
{
    union bpf_attr a;
    memset(&a, 0, sizeof a);
    a.map_type = type;
    a.key_size = key_bytes;
    a.value_size = value_bytes;
    a.max_entries = entries;
    a.map_flags = flags;
    return bpf(BPF_MAP_CREATE, &a);
}

static int put_group(int groups_fd, int group_fd)
{
    union bpf_attr a;
    uint32_t first = 0;
    memset(&a, 0, sizeof a);
    a.map_fd = (uint32_t)groups_fd;
    a.key = (uintptr_t)&first;
    a.value = (uintptr_t)&group_fd;
    return bpf(BPF_MAP_UPDATE_ELEM, &a);
}

static int attach(struct cm_rss_stat *r, uint64_t event_id, int program_fd)
{
    struct perf_event_attr a;
    unsigned cpu = 0;
    memset(&a, 0, sizeof a);
    a.size = PERF_ATTR_SIZE_VER0;
    a.type = PERF_TYPE_TRACEPOINT;
    a.config = event_id;
    a.disabled = 1;
    syscall(SYS_getcpu, &cpu, NULL, NULL); /* any CPU that exists */
    r->event_fd = (int)syscall(SYS_perf_event_open, &a, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
    if (r->event_fd < 0)
        return -1;
    return (int)syscall(SYS_ioctl, r->event_fd, PERF_EVENT_IOC_SET_BPF, program_fd);
}

static int open_with(struct cm_rss_stat *r, struct rss_program *p, int group_fd, const char **why)
{
    if (p->groups_fd < 0 || p->sizes_fd < 0 || p->values_fd < 0)
        return set_reason(NO_MAPS, why);
    if (group_fd >= 0 && put_group(p->groups_fd, group_fd) < 0)
        return set_reason(NO_GROUP, why);
    void *values = mmap(NULL, VALUES_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, p->values_fd, 0);
    if (values == MAP_FAILED)
        return set_reason(NO_MAPS, why);
    r->values = values;
    int program_fd = rss_program_load(p);
    if (program_fd < 0)
        return set_reason(NO_PROGRAM, why);
    int error = attach(r, p->event.id, program_fd) < 0 ? set_reason(NO_ATTACH, why) : 0;
    close(program_fd);
    return error;
}

/*
 * Open the source. `group_fd` is the folder of a group of cgroup v2: what is executed or forked in it, or in a group
 * below it, counts. With -1 nothing counts. Return 0, or -errno and one sentence for the user.
 */
int cm_rss_stat_open(struct cm_rss_stat *r, int group_fd, const char **why)
{
    struct rss_program p;
    *r = (struct cm_rss_stat){.event_fd = -1};
    int error = read_event(&p.event, why);
    if (error != 0)
        return error;
    p.groups_fd = make_map(BPF_MAP_TYPE_CGROUP_ARRAY, 4, 4, 1, 0);
    p.sizes_fd = make_map(BPF_MAP_TYPE_HASH, 8, 8, 3 * ADDRESS_SPACES, 0);
    p.values_fd = make_map(BPF_MAP_TYPE_ARRAY, 4, VALUES_BYTES, 1, MAPPABLE);
    error = open_with(r, &p, group_fd, why);
    close(p.groups_fd);
    close(p.sizes_fd);
    close(p.values_fd);
    if (error != 0)
        cm_rss_stat_close(r);
    return error;
}

int cm_rss_stat_probe(int group_fd, const char **why)
{
    struct cm_rss_stat r;
    int error = cm_rss_stat_open(&r, group_fd, why);
    cm_rss_stat_close(&r);
    return error;
}

/* Close the source. This waits until no CPU runs the program: some 75 ms. A process that exits can leave it to the
 * exit. */
void cm_rss_stat_close(struct cm_rss_stat *r)
{
    if (r->event_fd >= 0)
        close(r->event_fd);
    if (r->values != NULL)
        munmap(r->values, VALUES_BYTES);
    *r = (struct cm_rss_stat){.event_fd = -1};
}

static int probe(int proc_fd, const char **why)
{
    (void)proc_fd;
    return cm_rss_stat_probe(-1, why);
}

const struct cm_source cm_source_rss_stat = {
    .name = "rss_stat",
    .needs = "root, or CAP_BPF, CAP_PERFMON and a readable tracefs; a group of cgroup v2; Linux 5.12",
    .remedy = "sudo concmem run --exact -- CMD",
    .cadence = CM_PER_TREE,
    .on_request = true,
    .group = CM_GROUP_SELECTOR,
    .column = "rss_stat",
    .ncolumns = 1,
    .columns = {{.name = "rss", .unit = CM_UNIT_BYTES, .scale = 1024}},
    .probe = probe,
};
