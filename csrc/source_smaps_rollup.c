/*
 * smaps_rollup: proportional and unique set size; pages that the kernel may take back for free (LazyFree) and those in
 * transparent huge pages. The kernel walks the page tables for it, 8 ms for a GiB of small
 * pages, with mmap_lock held: read at every tick it would stop a target that maps memory. Hence the budget.
 * Its descriptor dies with an exec, so it is opened anew for every reading.
 */
#include <errno.h>

#include "internal.h"

static int read_smaps_rollup(int fd, uint32_t *row)
{
    char text[2048];
    ssize_t got = cm_pread_text(fd, text, sizeof text);
    if (got <= 0)
        return got < 0 ? (int)got : -ESRCH;
    if (cm_field(text, "Pss") == UINT32_MAX)
        return -ENODATA;
    row[CM_SMAPS_PSS] = cm_field_or(text, "Pss", 0);
    row[CM_SMAPS_USS] = cm_field_or(text, "Private_Clean", 0) + cm_field_or(text, "Private_Dirty", 0);
    row[CM_SMAPS_SWAP_PSS] = cm_field_or(text, "SwapPss", 0);
    row[CM_SMAPS_LAZY_FREE] = cm_field_or(text, "LazyFree", 0);
    row[CM_SMAPS_THP] = cm_field_or(text, "AnonHugePages", 0) + cm_field_or(text, "ShmemPmdMapped", 0) +
                        cm_field_or(text, "FilePmdMapped", 0);
    /* KiB of anonymous pages that are other processes', each by its share; UINT32_MAX before 5.3, which cannot tell. */
    uint32_t anonymous = cm_field(text, "Anonymous"), pss = cm_field(text, "Pss_Anon");
    row[CM_SMAPS_SHARED_ANON] = pss == UINT32_MAX ? UINT32_MAX : anonymous > pss ? anonymous - pss : 0;
    return 0;
}

const struct cm_source cm_source_smaps_rollup = {
    .name = "smaps_rollup",
    .needs = "the right to trace the process: the same user, not set-uid",
    .remedy = "sudo concmem run -- CMD",
    .file = "smaps_rollup",
    .cadence = CM_ON_BUDGET,
    .ncolumns = 5,
    .columns = {{.name = "pss", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "uss", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "swap_pss", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "lazy_free", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "thp", .unit = CM_UNIT_BYTES, .scale = 1024}},
    .read = read_smaps_rollup,
};
