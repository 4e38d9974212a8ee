/*
 * Read high-water marks (VmHWM), by process. A mark is the largest RSS of a process at any time, also between two
 * readings. A mark above everything read before shows a spike since the last reading.
 *
 * Without `windows`, a mark shows only spikes above all earlier ones. With `windows`, the mark is reset after each
 * reading, so that the next reading shows every spike in between.
 */
#include <string.h>

#include "sampler/sampler.h"

enum {
    STATUS_SHARE = 50,         /* status takes one part in so many of the time, */
    STATUS_READING_NS = 11000, /* at about this time per process */
    FEW_THREADS = 100,         /* stat sums over every thread */
    LONGEST_PAUSE = 4 * UNCHANGED_TICKS,
};

/* Return by how many pages the mark exceeds the present RSS. Without `windows`, only a mark above everything read
 * before counts. */
static uint32_t hwm_above_rss(const struct sampler *s, const struct member *m, uint32_t hwm, bool windows)
{
    uint32_t rss = m->rows[CM_STATM][CM_STATM_RSS], pages = hwm / s->page_kib;
    uint32_t known = m->peak_rss * s->page_kib > m->peak_hwm ? m->peak_rss * s->page_kib : m->peak_hwm;
    return (windows || hwm > known) && pages > rss ? pages - rss : 0;
}

/* A write to a shared page makes a private copy. RSS does not change, but the minor faults do. A single process
 * shares no page with another process of the tree. */
static void read_faults(struct sampler *s, struct member *m)
{
    struct cm_stat stat;
    if (s->tree.nalive > 1 && m->rows[CM_STATUS][CM_STATUS_THREADS] < FEW_THREADS && member_read_stat(s, m, &stat) == 0)
        m->faults = stat.faults;
}

static bool read_status_of(struct sampler *s, struct member *m, uint64_t t_ns)
{
    uint32_t row[CM_MAX_COLUMNS];
    if (m->is_zombie || m->shares_parent_memory || member_read(s, m, CM_STATUS, row) != 0)
        return false;
    m->status_rss = m->rows[CM_STATM][CM_STATM_RSS];
    m->status_tick = s->head->ticks;
    m->status_ns = t_ns;
    memcpy(m->rows[CM_STATUS], row, sizeof row);
    if (row[CM_STATUS_HUGETLB] > m->peak_hugetlb)
        m->peak_hugetlb = row[CM_STATUS_HUGETLB];
    if (row[CM_STATUS_SWAP] > m->peak_swap)
        m->peak_swap = row[CM_STATUS_SWAP];
    read_faults(s, m);
    m->status_faults = m->faults;
    return true;
}

/* Return whether to leave out a member whose RSS has not changed. Its mark rises by page faults only: until the ledger
 * finds some, the pauses double. */
static bool may_skip(const struct sampler *s, const struct member *m)
{
    bool is_same = m->rows[CM_STATM][CM_STATM_RSS] == m->status_rss && m->faults == m->status_faults;
    return is_same && s->head->ticks - m->status_tick < m->status_pause;
}

static void set_pause(struct member *m, bool is_same)
{
    uint32_t pause = is_same ? 2 * m->status_pause : UNCHANGED_TICKS;
    m->status_pause = pause < LONGEST_PAUSE ? pause : LONGEST_PAUSE;
}

/* Read status of as many members as its share of the time allows, in turn. */
static uint32_t read_next(struct sampler *s, uint64_t since_ns, uint64_t t_ns)
{
    uint64_t readings = since_ns / STATUS_SHARE / STATUS_READING_NS;
    if (readings < 1)
        readings = 1;
    uint32_t largest_excess = 0;
    for (uint64_t n = 0; n < readings && n < s->tree.nalive; n++) {
        struct member *m = alive_at(s, s->high_water.cursor++ % s->tree.nalive);
        uint32_t rss_before = m->status_rss, hwm_before = m->rows[CM_STATUS][CM_STATUS_HWM];
        if (may_skip(s, m) || !read_status_of(s, m, t_ns))
            continue;
        uint32_t hwm = m->rows[CM_STATUS][CM_STATUS_HWM], excess = hwm_above_rss(s, m, hwm, false);
        set_pause(m, m->status_rss == rss_before && hwm == hwm_before);
        if (hwm > m->peak_hwm)
            m->peak_hwm = hwm;
        if (excess > largest_excess)
            largest_excess = excess;
    }
    return largest_excess;
}

/* Reset the mark unless locks must not be waited for. A mark that is not reset belongs to the next window as well,
 * and nothing is lost. */
static int reset_if_allowed(struct sampler *s, struct member *m)
{
    if (!may_wait_for_locks(s))
        return 1;
    uint64_t before_ns = cm_now_ns();
    int reset = member_reset_hwm(s, m);
    note_lock_wait(s, before_ns, 0);
    return reset;
}

/* Read the mark of every member, reset it, and record the window that ends now. */
static uint32_t read_windows(struct sampler *s, uint64_t t_ns)
{
    uint32_t largest_excess = 0, largest = 0, inexact = 0;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        if (!read_status_of(s, m, t_ns))
            continue;
        int reset = reset_if_allowed(s, m);
        uint32_t hwm = m->rows[CM_STATUS][CM_STATUS_HWM];
        if (reset < 0) { /* a process of another user: its mark is not reset */
            DEBUG(m->pid, "VmHWM cannot be reset", reset);
            s->head->refused_readings++;
        }
        if (reset == 0) {
            m->inexact_windows++;
            inexact++;
        }
        uint32_t excess = hwm_above_rss(s, m, hwm, reset >= 0);
        if (hwm > m->peak_hwm)
            m->peak_hwm = hwm;
        if (excess > largest_excess)
            largest_excess = excess;
        if (hwm > largest)
            largest = hwm;
        sum += hwm;
    }
    s->head->inexact_windows += inexact;
    uint32_t row[CM_MAX_COLUMNS] = {sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX, largest, inexact};
    if (largest > 0)
        cm_record(s->base, &s->head->tracks[CM_WINDOWS], t_ns, row, row);
    return largest_excess;
}

uint32_t high_water_read(struct sampler *s, uint64_t since_ns, uint64_t t_ns)
{
    return track_wanted(s, CM_WINDOWS) ? read_windows(s, t_ns) : read_next(s, since_ns, t_ns);
}
