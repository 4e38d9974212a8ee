/*
 * status: the high-water mark of RSS (VmHWM), swapped bytes, threads; memory outside of RSS: page tables (VmPTE) and
 * pages of hugetlbfs; how much of RSS is shared memory; and pages pinned for a device or a ring (VmPin), mapped or not.
 * Six microseconds a reading, without a lock. The mark can fall between two readings, because the kernel shows the
 * larger of a stored approximate value and the present exact one. So the sampler keeps its own maximum.
 */
#include <errno.h>

#include "shared/internal.h"

/* The numbers of the columns; CM_STATUS_UNMAPPED is the difference of the last two. */
enum { LARGEST = CM_STATUS_UNMAPPED, SIZE, FIELDS };
static const char *const fields[FIELDS] = {
    [CM_STATUS_HWM] = "VmHWM",
    [CM_STATUS_SWAP] = "VmSwap",
    [CM_STATUS_THREADS] = "Threads",
    [CM_STATUS_PAGE_TABLES] = "VmPTE",
    [CM_STATUS_HUGETLB] = "HugetlbPages",
    [CM_STATUS_SHMEM] = "RssShmem",
    [CM_STATUS_PINNED] = "VmPin",
    [LARGEST] = "VmPeak",
    [SIZE] = "VmSize",
};

static int read_status(int fd, uint32_t *row)
{
    uint64_t values[FIELDS];
    int error = cm_read_fields(fd, ':', fields, values, FIELDS);
    if (error != 0)
        return error;
    if (values[CM_STATUS_HWM] == CM_NO_FIELD) /* no address space: a zombie, or the main thread has exited */
        return -ENODATA;
    for (int i = 0; i < CM_STATUS_UNMAPPED; i++)
        row[i] = values[i] != CM_NO_FIELD ? cm_in_32_bits(values[i]) : i == CM_STATUS_THREADS;
    bool is_known = values[LARGEST] != CM_NO_FIELD && values[SIZE] != CM_NO_FIELD && values[LARGEST] >= values[SIZE];
    row[CM_STATUS_UNMAPPED] = is_known ? cm_in_32_bits(values[LARGEST] - values[SIZE]) : UINT32_MAX;
    return 0;
}

const struct cm_source cm_source_status = {
    .name = "status",
    .needs = "nothing",
    .remedy = "",
    .file = "status",
    .cadence = CM_ROUND_ROBIN,
    .column = "marks",
    .ncolumns = 7,
    .columns = {{.name = "hwm", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "swap", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "threads", .unit = CM_UNIT_COUNT, .scale = 1},
                {.name = "page_tables", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "hugetlb", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "shmem", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "pinned", .unit = CM_UNIT_BYTES, .scale = 1024}},
    .read = read_status,
};
