/* One tick: read every process, find new ones, sum, and record. */
#include <string.h>

#include "sampler.h"

enum {
    STATUS_SHARE = 50,         /* status takes one part in so many of the time, */
    STATUS_READING_NS = 8000,  /* at about this much a process */
    TICK_SHARE = 4,            /* and a tick of a large tree no more than one part in so many of the time */
};

struct sums {
    uint64_t rss;              /* pages */
    uint64_t hwm, swap, threads;
    uint32_t processes;
};

static uint32_t clamp(uint64_t value)
{
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static void read_members(struct sampler *s, uint64_t now_ns)
{
    for (uint32_t i = 0; i < s->nalive;) {
        struct member *m = &s->members[s->alive[i]];
        if (m->borrows) {
            member_check_borrowing(m);
            if (!m->borrows)
                m->look_ns = now_ns;
        }
        if (!member_read_rss(s, m, now_ns))
            continue; /* another one has taken its place */
        if (now_ns >= m->look_ns && !m->zombie)
            member_look(s, m, now_ns);
        i++;
    }
}

/*
 * Reads `status` of as many members as its share of time allows. A mark above all that was known means that the
 * process has been that large since it was last looked at: the most by which that exceeds its present RSS.
 */
static uint32_t read_marks(struct sampler *s, uint64_t since_ns)
{
    uint64_t readings = since_ns / STATUS_SHARE / STATUS_READING_NS;
    if (readings < 1)
        readings = 1;
    uint32_t lift = 0;
    for (uint64_t n = 0; n < readings && n < s->nalive; n++) {
        struct member *m = &s->members[s->alive[s->status_cursor++ % s->nalive]];
        uint32_t row[CM_MAX_COLUMNS];
        if (m->zombie || m->borrows || member_read(s, m, CM_STATUS, row) != 0)
            continue;
        memcpy(m->rows[CM_STATUS], row, sizeof row);
        uint32_t hwm = row[CM_STATUS_HWM];
        uint32_t known = m->peak_rss * s->page_kib;
        if (m->peak_hwm > known)
            known = m->peak_hwm;
        if (hwm > known) {
            uint32_t above = hwm / s->page_kib - m->rows[CM_STATM][CM_STATM_RSS];
            m->peak_hwm = hwm;
            if (above > lift)
                lift = above;
        }
    }
    return lift;
}

static struct sums sum_members(struct sampler *s)
{
    struct sums sums = {0};
    struct cm_head *head = s->head;
    for (uint32_t i = 0; i < s->nalive; i++) {
        const struct member *m = &s->members[s->alive[i]];
        if (m->zombie || m->borrows)
            continue;
        uint64_t rss_bytes = (uint64_t)m->peak_rss * s->page_kib * 1024, hwm_bytes = (uint64_t)m->peak_hwm * 1024;
        sums.processes++;
        sums.rss += m->rows[CM_STATM][CM_STATM_RSS];
        sums.hwm += (rss_bytes > hwm_bytes ? rss_bytes : hwm_bytes) / 1024;
        sums.swap += m->rows[CM_STATUS][CM_STATUS_SWAP];
        sums.threads += m->rows[CM_STATUS][CM_STATUS_THREADS];
        if (rss_bytes > head->rss_largest_bytes)
            head->rss_largest_bytes = rss_bytes;
        if (hwm_bytes > head->hwm_largest_bytes)
            head->hwm_largest_bytes = hwm_bytes;
    }
    return sums;
}

static void note(struct sampler *s, const struct sums *sums, uint64_t t_ns)
{
    struct cm_head *head = s->head;
    uint64_t rss_bytes = sums->rss * s->page_kib * 1024;
    head->alive = sums->processes;
    if (sums->processes > head->max_alive)
        head->max_alive = sums->processes;
    if (sums->threads > head->max_threads)
        head->max_threads = clamp(sums->threads);
    if (rss_bytes > head->rss_sum_bytes) {
        head->rss_sum_bytes = rss_bytes;
        head->rss_sum_t_ns = t_ns;
    }
}

/* Time that has passed unread: before the first tick, between two, and after the last one. */
uint64_t note_gap(struct sampler *s, uint64_t now_ns)
{
    uint64_t since_ns = s->last_tick_ns ? s->last_tick_ns : s->head->start_ns;
    uint64_t gap_ns = now_ns - since_ns;
    if (gap_ns > s->head->longest_gap_ns)
        s->head->longest_gap_ns = gap_ns;
    s->last_tick_ns = now_ns;
    return gap_ns;
}

void tick(struct sampler *s, uint64_t now_ns)
{
    struct cm_head *head = s->head;
    uint64_t t_ns = now_ns - head->start_ns;
    uint64_t gap_ns = note_gap(s, now_ns);
    head->ticks++;

    read_members(s, t_ns);
    tree_discover(s, t_ns);
    uint32_t lift = read_marks(s, gap_ns);
    struct sums sums = sum_members(s);
    note(s, &sums, t_ns);
    if (sums.processes > 0) {
        uint32_t rss = clamp(sums.rss), high = clamp(sums.rss + lift);
        uint32_t status[CM_MAX_COLUMNS] = {clamp(sums.hwm), clamp(sums.swap), clamp(sums.threads)};
        cm_record(s->base, &head->tracks[CM_STATM], t_ns, &rss, &high);
        cm_record(s->base, &head->tracks[CM_STATUS], t_ns, status, status);

        uint64_t limit = head->memory_limit_bytes, most = (uint64_t)high * s->page_kib * 1024;
        bool reached = limit != 0 && most > limit;
        pss_tick(s, t_ns, rss, reached);
        if (reached && (sums.processes == 1 || (uint64_t)s->pss_last_kib * 1024 > limit))
            kill_begin(s, CM_REASON_MEMORY_LIMIT);
    }
    /* A large tree at a short interval must not keep a CPU for itself. */
    uint64_t cost_ns = cm_now_ns() - now_ns;
    s->not_before_ns = cost_ns > head->interval_ns / TICK_SHARE ? now_ns + TICK_SHARE * cost_ns : 0;
}
