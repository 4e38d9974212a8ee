/*
 * smaps_rollup: proportional and unique set size; pages that the kernel may free at any time (LazyFree) and those in
 * transparent huge pages. The kernel walks the page tables for it, 8 ms for a GiB of small pages, with mmap_lock held.
 * Read at every tick it would stop a target that maps memory, so it has a budget. Its descriptor is invalid after an
 * exec, so the file is opened for every reading.
 */
#include <errno.h>

#include "shared/internal.h"

enum { PSS, CLEAN, DIRTY, SWAP_PSS, LAZY_FREE, ANON_HUGE, SHMEM_PMD, FILE_PMD, ANONYMOUS, PSS_ANON, FIELDS };
static const char *const fields[FIELDS] = {
    [PSS] = "Pss",
    [CLEAN] = "Private_Clean",
    [DIRTY] = "Private_Dirty",
    [SWAP_PSS] = "SwapPss",
    [LAZY_FREE] = "LazyFree",
    [ANON_HUGE] = "AnonHugePages",
    [SHMEM_PMD] = "ShmemPmdMapped",
    [FILE_PMD] = "FilePmdMapped",
    [ANONYMOUS] = "Anonymous",
    [PSS_ANON] = "Pss_Anon",
};

static int read_smaps_rollup(int fd, uint32_t *row)
{
    uint64_t kib[FIELDS];
    int error = cm_read_fields(fd, ':', fields, kib, FIELDS);
    if (error != 0)
        return error;
    if (kib[PSS] == CM_NO_FIELD)
        return -ENODATA;
    bool tells_sharing = kib[PSS_ANON] != CM_NO_FIELD; /* not before 5.3 */
    for (int i = 0; i < FIELDS; i++)
        kib[i] = kib[i] != CM_NO_FIELD ? kib[i] : 0;
    row[CM_SMAPS_PSS] = cm_in_32_bits(kib[PSS]);
    row[CM_SMAPS_USS] = cm_in_32_bits(kib[CLEAN] + kib[DIRTY]);
    row[CM_SMAPS_SWAP_PSS] = cm_in_32_bits(kib[SWAP_PSS]);
    row[CM_SMAPS_LAZY_FREE] = cm_in_32_bits(kib[LAZY_FREE]);
    row[CM_SMAPS_THP] = cm_in_32_bits(kib[ANON_HUGE] + kib[SHMEM_PMD] + kib[FILE_PMD]);
    /* KiB of anonymous pages that other processes hold, each by its share; UINT32_MAX if not known. */
    uint64_t shared = kib[ANONYMOUS] > kib[PSS_ANON] ? kib[ANONYMOUS] - kib[PSS_ANON] : 0;
    row[CM_SMAPS_SHARED_ANON] = tells_sharing ? cm_in_32_bits(shared) : UINT32_MAX;
    return 0;
}

const struct cm_source cm_source_smaps_rollup = {
    .name = "smaps_rollup",
    .needs = "the right to trace the process: the same user, not set-uid",
    .remedy = "sudo concmem run -- CMD",
    .file = "smaps_rollup",
    .cadence = CM_ON_BUDGET,
    .column = "PSS",
    .ncolumns = 5,
    .columns = {{.name = "pss", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "uss", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "swap_pss", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "lazy_free", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "thp", .unit = CM_UNIT_BYTES, .scale = 1024}},
    .read = read_smaps_rollup,
};
