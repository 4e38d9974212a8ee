/*
 * feed_recorder ROWS SHAPE
 *
 * Feeds ROWS rows, one a millisecond with some jitter, to the recorder of csrc/shared/record.c. Then compares every
 * window with the same rows made a second time: number of readings, minimum, maximum and last value of every column.
 * SHAPE: "walk" (a random walk of three columns with one row far above all others), "grow" (every row is a new
 * maximum), "flat" (no row after the first is). Prints one line of JSON. Exit code 1 if the recorder wrote outside of
 * its own memory or a window is wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/internal.h"

enum { CANARY = 0xA5, MARGIN = 1 << 16, COLUMNS = 3, FIRST_NS = 1000000 };

struct stream {
    const char *shape;
    uint64_t rows, row, state, t_ns;
    uint32_t values[COLUMNS];
};

static void stream_open(struct stream *s, const char *shape, uint64_t rows)
{
    *s = (struct stream){.shape = shape, .rows = rows, .state = 88172645463325252u, .t_ns = FIRST_NS};
    for (int c = 0; c < COLUMNS; c++)
        s->values[c] = 50000;
}

/* Return the row of the walk with the maximum: late, so that many rows are merged before it and some after it. */
static uint64_t record_row(const struct stream *s)
{
    return s->rows / 7 * 5;
}

static void stream_next(struct stream *s, uint32_t *values)
{
    s->state ^= s->state << 13;
    s->state ^= s->state >> 7;
    s->state ^= s->state << 17;
    s->t_ns += 1000000 - 32768 + (s->state & 0xffff);
    for (int c = 0; c < COLUMNS; c++) {
        int step = (int)(s->state >> (16 + 10 * c) & 1023) - 511;
        if (s->shape[0] == 'w')
            s->values[c] = (uint32_t)((int)s->values[c] + step < 1000 ? 1000 : (int)s->values[c] + step) % 4000000;
        else if (s->shape[0] == 'g')
            s->values[c] = (uint32_t)s->row + 1;
        values[c] = s->values[c];
    }
    if (s->shape[0] == 'w' && s->row == record_row(s))
        values[0] = 123456789;
    s->row++;
}

static bool margins_are_whole(const unsigned char *memory, uint64_t from, uint64_t to)
{
    for (uint64_t i = 1; i <= MARGIN; i++)
        if (memory[from - i] != CANARY || memory[to + i - 1] != CANARY)
            return false;
    return true;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    uint64_t rows = strtoull(argv[1], NULL, 10);
    struct cm_head head;
    memset(&head, 0, sizeof head);
    cm_layout(&head);

    /* A track with a ring, as the layout makes it, but with three columns. */
    struct cm_track track = head.tracks[CM_STATM];
    track.ncolumns = COLUMNS;
    track.row_bytes = head.tracks[CM_STATUS].row_bytes;
    track.capacity = head.tracks[CM_STATUS].capacity;
    uint64_t windows_bytes = (uint64_t)track.capacity * track.row_bytes;
    uint64_t ring_bytes = (uint64_t)2 * track.ring_capacity * 16;
    track.offset = MARGIN;
    track.ring_offset = (MARGIN + windows_bytes + MARGIN + 63) & ~63u;
    uint64_t all = track.ring_offset + ring_bytes + MARGIN;
    unsigned char *memory = malloc(all);
    if (memory == NULL)
        return 2;
    memset(memory, CANARY, all);

    struct stream stream;
    uint32_t values[COLUMNS], truth_max[COLUMNS] = {0};
    uint64_t truth_t_ns[COLUMNS] = {0};
    stream_open(&stream, argv[2], rows);
    uint64_t began_ns = cm_now_ns();
    for (uint64_t i = 0; i < rows; i++) {
        stream_next(&stream, values);
        cm_record(memory, &track, stream.t_ns, values, values);
        for (int c = 0; c < COLUMNS; c++)
            if (values[c] > truth_max[c]) {
                truth_max[c] = values[c];
                truth_t_ns[c] = stream.t_ns;
            }
    }
    cm_record_end(memory, &track);
    uint64_t fed_ns = cm_now_ns() - began_ns;

    uint64_t wrong = 0, covered = 0;
    stream_open(&stream, argv[2], rows);
    for (uint64_t w = 0; w < track.count; w++) {
        const unsigned char *at = memory + track.offset + w * track.row_bytes;
        uint64_t t_ns;
        uint32_t n, shown[3 * COLUMNS];
        memcpy(&t_ns, at, 8);
        memcpy(&n, at + 8, 4);
        memcpy(shown, at + 12, sizeof shown);
        uint32_t truth[3 * COLUMNS];
        for (uint32_t i = 0; i < n && covered < rows; i++, covered++) {
            stream_next(&stream, values);
            if (i == 0 && stream.t_ns != t_ns)
                wrong++;
            for (int c = 0; c < COLUMNS; c++) {
                if (i == 0 || values[c] < truth[3 * c])
                    truth[3 * c] = values[c];
                if (i == 0 || values[c] > truth[3 * c + 1])
                    truth[3 * c + 1] = values[c];
                truth[3 * c + 2] = values[c];
            }
        }
        if (n == 0 || memcmp(truth, shown, sizeof shown) != 0)
            wrong++;
    }
    for (int c = 0; c < COLUMNS; c++)
        if (track.max[c] != truth_max[c] || track.max_t_ns[c] != truth_t_ns[c])
            wrong++;

    /* The frozen ring: how many of its rows come before and after the maximum, and the largest gap between two. */
    const unsigned char *frozen = memory + track.ring_offset + ring_bytes / 2;
    uint64_t before = 0, after = 0, has_record = 0, kept = track.ring_frozen;
    uint64_t ring_rows = kept < track.ring_capacity ? kept : track.ring_capacity, gap_ns = 0, previous_ns = 0;
    for (uint64_t i = kept - ring_rows; i < kept; i++) {
        uint64_t t_ns;
        uint32_t value;
        memcpy(&t_ns, frozen + i % track.ring_capacity * 16, 8);
        memcpy(&value, frozen + i % track.ring_capacity * 16 + 8, 4);
        has_record += value == truth_max[0] && t_ns == truth_t_ns[0];
        before += t_ns < truth_t_ns[0];
        after += t_ns > truth_t_ns[0];
        if (previous_ns != 0 && t_ns - previous_ns > gap_ns)
            gap_ns = t_ns - previous_ns;
        previous_ns = t_ns;
    }

    bool whole = margins_are_whole(memory, track.offset, track.offset + windows_bytes) &&
                 margins_are_whole(memory, track.ring_offset, track.ring_offset + ring_bytes);
    printf("{\"bytes\": %llu, \"windows\": %llu, \"covered\": %llu, \"readings\": %llu, \"wrong\": %llu, "
           "\"max\": %llu, \"max_t_ns\": %llu, \"truth_t_ns\": %llu, \"ring_before\": %llu, "
           "\"ring_after\": %llu, \"ring_has_record\": %llu, \"ring_gap_ns\": %llu, \"ring_capacity\": %u, "
           "\"whole\": %s, \"ns_per_row\": %.2f}\n",
           (unsigned long long)(windows_bytes + ring_bytes), (unsigned long long)track.count,
           (unsigned long long)covered, (unsigned long long)track.readings, (unsigned long long)wrong,
           (unsigned long long)track.max[0], (unsigned long long)track.max_t_ns[0],
           (unsigned long long)truth_t_ns[0], (unsigned long long)before,
           (unsigned long long)after, (unsigned long long)has_record, (unsigned long long)gap_ns,
           track.ring_capacity, whole ? "true" : "false", (double)fed_ns / (double)rows);
    free(memory);
    return wrong == 0 && whole ? 0 : 1;
}
