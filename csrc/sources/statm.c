/*
 * statm: resident pages, one microsecond a reading whatever the size of the process, without a lock. Exact on kernels
 * that sum their per-CPU counters for it (6.16 and later; the sampler tests it). Older kernels are wrong by what those
 * counters hold.
 */
#include <errno.h>

#include "shared/internal.h"

static int read_statm(int fd, uint32_t *row)
{
    char buffer[128];
    ssize_t got = cm_pread_text(fd, buffer, sizeof buffer);
    if (got <= 0)
        return got < 0 ? (int)got : -ESRCH;
    const char *at = buffer;
    /* A zombie has no memory and reads zeros; so does a process whose main thread has exited. */
    uint64_t mapped = cm_parse_number(&at);
    if (mapped == 0)
        return -ENODATA;
    uint64_t pages = cm_parse_number(&at);
    row[CM_STATM_RSS] = pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX;
    row[CM_STATM_MAPPED] = cm_in_32_bits(mapped);
    pages = cm_parse_number(&at);
    row[CM_STATM_SHARED] = pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX; /* file pages and shared memory */
    uint64_t text_pages = cm_parse_number(&at);
    cm_parse_number(&at);                     /* always 0 */
    uint64_t writable = cm_parse_number(&at); /* private and writable: heap and stacks do not change the rest */
    row[CM_STATM_LAYOUT] = (uint32_t)((mapped - writable) ^ text_pages << 20);
    return 0;
}

const struct cm_source cm_source_statm = {
    .name = "statm",
    .needs = "nothing",
    .remedy = "",
    .file = "statm",
    .cadence = CM_EVERY_TICK,
    .column = "statm",
    .ncolumns = 3,
    .columns = {{.name = "rss", .unit = CM_UNIT_BYTES, .scale = 0 /* a page */},
                {.name = "shared", .unit = CM_UNIT_BYTES, .scale = 0 /* of rss, pages of files and shared memory */},
                {.name = "vms", .unit = CM_UNIT_BYTES, .scale = 0 /* all that is mapped, resident or not */}},
    .read = read_statm,
};
