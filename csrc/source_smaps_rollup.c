/*
 * smaps_rollup: proportional and unique set size. The kernel walks the page tables for it, 8 ms for a GiB of small
 * pages, with mmap_lock held: read at every tick it would stop a target that maps memory. Hence the budget.
 * Its descriptor dies with an exec, so it is opened anew for every reading.
 */
#include <errno.h>

#include "internal.h"

static uint32_t kib(const char *text, const char *name)
{
    uint32_t value = cm_field(text, name);
    return value == UINT32_MAX ? 0 : value;
}

static int read_smaps_rollup(int fd, uint32_t *row)
{
    char text[2048];
    ssize_t got = cm_pread_text(fd, text, sizeof text);
    if (got <= 0)
        return got < 0 ? (int)got : -ESRCH;
    if (cm_field(text, "Pss") == UINT32_MAX)
        return -ENODATA;
    row[CM_SMAPS_PSS] = kib(text, "Pss");
    row[CM_SMAPS_USS] = kib(text, "Private_Clean") + kib(text, "Private_Dirty");
    row[CM_SMAPS_SWAP_PSS] = kib(text, "SwapPss");
    return 0;
}

const struct cm_source cm_source_smaps_rollup = {
    .name = "smaps_rollup",
    .file = "smaps_rollup",
    .cadence = CM_ON_BUDGET,
    .ncolumns = 3,
    .columns = {{.name = "pss", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "uss", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "swap_pss", .unit = CM_UNIT_BYTES, .scale = 1024}},
    .read = read_smaps_rollup,
};
