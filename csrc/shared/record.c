/*
 * The bounded recording of one track: windows with the minimum, maximum and last value of each column, and a ring of
 * single readings around the largest one.
 *
 * At first every reading is its own window. When the windows are full, each pair is merged into one and the width
 * doubles. So a day at 1 kHz takes the same memory as a minute, and no minimum or maximum is lost.
 */
#include <string.h>

#include "shared/internal.h"

struct window {
    uint64_t t_ns;
    uint32_t n;
    uint32_t values[];
};

struct ring_row {
    uint64_t t_ns;
    uint32_t value;
    uint32_t zero;
};

enum { MIN, MAX, LAST, KINDS };

static struct window *window_at(void *base, const struct cm_track *track, uint64_t i)
{
    return (struct window *)((char *)base + track->offset + i * track->row_bytes);
}

/* Merge a later window into an earlier one. */
static void merge(struct window *into, uint32_t ncolumns, uint32_t n, const uint32_t *values)
{
    into->n += n;
    for (uint32_t c = 0; c < ncolumns; c++) {
        uint32_t *kept = &into->values[KINDS * c];
        const uint32_t *later = &values[KINDS * c];
        if (later[MIN] < kept[MIN])
            kept[MIN] = later[MIN];
        if (later[MAX] > kept[MAX])
            kept[MAX] = later[MAX];
        kept[LAST] = later[LAST];
    }
}

static void halve(void *base, struct cm_track *track, uint64_t t_ns)
{
    uint64_t half = track->capacity / 2;
    for (uint64_t i = 0; i < half; i++) {
        struct window *into = window_at(base, track, i);
        const struct window *second = window_at(base, track, 2 * i + 1);
        memmove(into, window_at(base, track, 2 * i), track->row_bytes);
        merge(into, track->ncolumns, second->n, second->values);
    }
    uint64_t mean_ns = (t_ns - window_at(base, track, 0)->t_ns) / half;
    track->width_ns = 2 * track->width_ns > mean_ns ? 2 * track->width_ns : mean_ns;
    __atomic_store_n(&track->count, half, __ATOMIC_RELEASE);
}

static void copy_ring(void *base, struct cm_track *track)
{
    struct ring_row *ring = (struct ring_row *)((char *)base + track->ring_offset);
    uint64_t rows = track->ring_written < track->ring_capacity ? track->ring_written : track->ring_capacity;
    memcpy(ring + track->ring_capacity, ring, (size_t)rows * sizeof *ring);
    track->ring_frozen = track->ring_written;
}

static bool record_is_not_copied(const struct cm_track *track)
{
    return track->ring_record > track->ring_frozen;
}

static void ring_add(void *base, struct cm_track *track, uint64_t t_ns, uint32_t value, bool record)
{
    struct ring_row *ring = (struct ring_row *)((char *)base + track->ring_offset);
    ring[track->ring_written++ % track->ring_capacity] = (struct ring_row){.t_ns = t_ns, .value = value};
    if (record)
        track->ring_record = track->ring_written;
    else if (record_is_not_copied(track) && track->ring_written - track->ring_record >= track->ring_capacity / 2)
        copy_ring(base, track);
}

/* Record one reading of all columns. `highs` may exceed `values` where a high-water mark shows more than was read. */
void cm_record(void *base, struct cm_track *track, uint64_t t_ns, const uint32_t *values, const uint32_t *highs)
{
    uint32_t row[KINDS * CM_MAX_COLUMNS];
    bool record = false;
    for (uint32_t c = 0; c < track->ncolumns; c++) {
        row[KINDS * c + MIN] = row[KINDS * c + LAST] = values[c];
        row[KINDS * c + MAX] = highs[c];
        if (highs[c] > track->max[c] || track->readings == 0) {
            track->max[c] = highs[c];
            track->max_t_ns[c] = t_ns;
            record |= c == 0;
        }
    }
    track->readings++;
    if (track->ring_capacity != 0)
        ring_add(base, track, t_ns, highs[0], record);

    struct window *newest = track->count ? window_at(base, track, track->count - 1) : NULL;
    if (newest != NULL && t_ns - newest->t_ns < track->width_ns) {
        merge(newest, track->ncolumns, 1, row);
        return;
    }
    if (track->count == track->capacity)
        halve(base, track, t_ns);
    struct window *fresh = window_at(base, track, track->count);
    fresh->t_ns = t_ns;
    fresh->n = 1;
    memcpy(fresh->values, row, KINDS * sizeof *row * track->ncolumns);
    __atomic_store_n(&track->count, track->count + 1, __ATOMIC_RELEASE);
}

void cm_record_end(void *base, struct cm_track *track)
{
    if (track->ring_capacity != 0 && record_is_not_copied(track))
        copy_ring(base, track);
}
