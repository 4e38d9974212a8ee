/*
 * status: the high-water mark of RSS (VmHWM), swapped bytes, threads; and memory outside of RSS: page tables (VmPTE)
 * and pages of hugetlbfs. Six microseconds a reading, without a lock. The mark can fall between two readings, because
 * the kernel shows the larger of a stored approximate value and the present exact one. So the sampler keeps its own
 * maximum.
 */
#include <errno.h>

#include "shared/internal.h"

static const char *const fields[] = {
    [CM_STATUS_HWM] = "VmHWM",         [CM_STATUS_SWAP] = "VmSwap",          [CM_STATUS_THREADS] = "Threads",
    [CM_STATUS_PAGE_TABLES] = "VmPTE", [CM_STATUS_HUGETLB] = "HugetlbPages",
};
enum { FIELDS = sizeof fields / sizeof *fields };

static int read_status(int fd, uint32_t *row)
{
    uint64_t values[FIELDS];
    int error = cm_read_fields(fd, ':', fields, values, FIELDS);
    if (error != 0)
        return error;
    if (values[CM_STATUS_HWM] == CM_NO_FIELD) /* no address space: a zombie, or the main thread has exited */
        return -ENODATA;
    for (int i = 0; i < FIELDS; i++)
        row[i] = values[i] != CM_NO_FIELD ? cm_in_32_bits(values[i]) : i == CM_STATUS_THREADS;
    return 0;
}

const struct cm_source cm_source_status = {
    .name = "status",
    .needs = "nothing",
    .remedy = "",
    .file = "status",
    .cadence = CM_ROUND_ROBIN,
    .column = "marks",
    .ncolumns = 5,
    .columns = {{.name = "hwm", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "swap", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "threads", .unit = CM_UNIT_COUNT, .scale = 1},
                {.name = "page_tables", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "hugetlb", .unit = CM_UNIT_BYTES, .scale = 1024}},
    .read = read_status,
};
