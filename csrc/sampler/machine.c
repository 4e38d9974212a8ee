/*
 * Read the counters of the whole machine that bear on the tree, from /proc/vmstat: 18 us a reading. Other processes
 * raise them as well. Shared memory and files in memory are known from sysinfo(2), in less than a microsecond.
 */
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum { SWAPPED_OUT, COMPRESSED, HUGE_FAULTS, HUGE_COLLAPSES, HUGE_FILES, FIELDS };
static const char *const names[FIELDS] = {
    [SWAPPED_OUT] = "pswpout",         [COMPRESSED] = "zswpout",
    [HUGE_FAULTS] = "thp_fault_alloc", [HUGE_COLLAPSES] = "thp_collapse_alloc",
    [HUGE_FILES] = "thp_file_mapped", /* and shared memory */
};

static uint64_t value(const uint64_t *values, int field)
{
    return values[field] != CM_NO_FIELD ? values[field] : 0;
}

/* Before the target starts. */
void machine_open(struct sampler *s)
{
    s->machine.fd = openat(s->proc_fd, "vmstat", O_RDONLY | O_CLOEXEC);
    machine_read(s);
    s->machine.swapped_out_at_start = s->machine.swapped_out;
}

void machine_read(struct sampler *s)
{
    struct machine *machine = &s->machine;
    uint64_t values[FIELDS];
    if (machine->fd < 0 || cm_read_fields(machine->fd, ' ', names, values, FIELDS) != 0)
        return;
    machine->swapped_out = value(values, SWAPPED_OUT) + value(values, COMPRESSED);
    machine->huge_faults = value(values, HUGE_FAULTS) + value(values, HUGE_COLLAPSES) + value(values, HUGE_FILES);
}

/* Return the shared memory of the machine, files in memory included, in bytes. */
uint64_t machine_shared_bytes(void)
{
    struct sysinfo info;
    return syscall(SYS_sysinfo, &info) == 0 ? (uint64_t)info.sharedram * info.mem_unit : 0;
}
