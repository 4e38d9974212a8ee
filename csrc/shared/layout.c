/* The table of sources, and the layout of the shared memory. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "shared/internal.h"

#define ADDRESS(number, source) [number] = &source,
const struct cm_source *const cm_sources[CM_SOURCES] = {CM_FOR_EACH_SOURCE(ADDRESS)};
#undef ADDRESS

enum {
    WINDOWS = 65536,
    WINDOWS_BYTES = 1536 * 1024, /* the most that the windows of one track may take */
    RING = 8192,                 /* 8 s at 1 kHz: 4 before the largest value and 4 after it */
    PROCESSES = 65536,
    TEXT_BYTES = 16 << 20,
    RING_ROW_BYTES = 16,
};

/* Return the unit of a column. A scale of 0 in the table means the page size, which only the running kernel knows. */
uint32_t cm_scale(const struct cm_source *source, int column)
{
    uint32_t scale = source->columns[column].scale;
    return scale != 0 ? scale : (uint32_t)sysconf(_SC_PAGESIZE);
}

static void fill_columns(const struct cm_source *source, struct cm_column *columns)
{
    for (uint32_t c = 0; c < source->ncolumns; c++) {
        columns[c] = source->columns[c];
        columns[c].scale = cm_scale(source, (int)c);
    }
}

int cm_source_at(int i, struct cm_source_info *info)
{
    if (i < 0 || i >= CM_SOURCES)
        return -ENOENT;
    const struct cm_source *source = cm_sources[i];
    *info = (struct cm_source_info){
        .name = source->name,
        .needs = source->needs,
        .remedy = source->remedy,
        .column = source->column != NULL ? source->column : "",
        .group = source->group,
        .is_read_alone = source->read != NULL,
        .ncolumns = source->ncolumns,
    };
    fill_columns(source, info->columns);
    return 0;
}

static uint64_t aligned(uint64_t bytes)
{
    return (bytes + 4095) & ~(uint64_t)4095;
}

int64_t cm_layout(struct cm_head *head)
{
    memcpy(head->magic, "concmem", 8);
    head->abi = CM_ABI;
    head->ntracks = CM_SOURCES;
    /* Directly after the head, so that a short command touches only the first page. */
    head->processes_offset = sizeof *head;
    head->processes_capacity = PROCESSES;
    uint64_t at = aligned(head->processes_offset + sizeof(struct cm_process) * PROCESSES);
    head->text_offset = at;
    head->text_capacity = TEXT_BYTES;
    at += TEXT_BYTES;
    for (uint32_t i = 0; i < CM_SOURCES; i++) {
        const struct cm_source *source = cm_sources[i];
        struct cm_track *track = &head->tracks[i];
        strncpy(track->source, source->name, sizeof track->source - 1);
        fill_columns(source, track->columns);
        track->ncolumns = source->ncolumns;
        track->on_request = source->on_request;
        track->row_bytes = (12 + 12 * source->ncolumns + 7) & ~7u;
        if (source->cadence == CM_AT_EXIT)
            continue;
        for (track->capacity = WINDOWS; track->capacity * track->row_bytes > WINDOWS_BYTES;)
            track->capacity /= 2;
        track->offset = at;
        at += aligned((uint64_t)track->capacity * track->row_bytes);
        if (source->cadence == CM_EVERY_TICK) {
            track->ring_capacity = RING;
            track->ring_offset = at;
            at += aligned((uint64_t)2 * RING * RING_ROW_BYTES);
        }
    }
    head->target_setup_offset = at;
    at += aligned(sizeof(struct cm_target_setup));
    head->size = at;
    return (int64_t)at;
}

int cm_phase(const struct cm_head *head)
{
    return (int)__atomic_load_n(&head->phase, __ATOMIC_ACQUIRE);
}

uint64_t cm_windows(const struct cm_head *head, int track)
{
    return __atomic_load_n(&head->tracks[track].count, __ATOMIC_ACQUIRE);
}

int cm_root_ended(const struct cm_head *head)
{
    return (int)__atomic_load_n(&head->root_ended, __ATOMIC_ACQUIRE);
}
