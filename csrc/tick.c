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
    uint32_t processes, largest; /* its RSS, pages */
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
            member_check_borrowing(s, m);
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
        uint32_t rss = m->rows[CM_STATM][CM_STATM_RSS];
        if (rss == m->status_rss && s->head->ticks - m->status_tick < QUIET_TICKS)
            continue;
        if (m->zombie || m->borrows || member_read(s, m, CM_STATUS, row) != 0)
            continue;
        m->status_rss = rss;
        m->status_tick = s->head->ticks;
        memcpy(m->rows[CM_STATUS], row, sizeof row);
        uint32_t hwm = row[CM_STATUS_HWM];
        uint32_t known = m->peak_rss * s->page_kib;
        if (m->peak_hwm > known)
            known = m->peak_hwm;
        if (hwm > known) {
            uint32_t above = hwm / s->page_kib - rss;
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
        if (m->rows[CM_STATM][CM_STATM_RSS] > sums.largest)
            sums.largest = m->rows[CM_STATM][CM_STATM_RSS];
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
    s->several_threads = sums->threads > sums->processes;
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

static uint64_t bytes(const struct sampler *s, uint64_t pages)
{
    return pages * s->page_kib * 1024;
}

/* The sum of RSS has passed the limit. Of several processes it may count shared pages more than once: then PSS
 * decides, where that may be read of all of them. */
static bool over_limit(const struct sampler *s, const struct sums *sums)
{
    uint64_t limit = s->head->memory_limit_bytes;
    bool pss_can_tell = s->head->pss_budget_ppm != 0 && s->head->refused == 0;
    return sums->processes == 1 || !pss_can_tell || bytes(s, sums->largest) > limit ||
           (uint64_t)s->pss_last_kib * 1024 > limit;
}

void tick(struct sampler *s, uint64_t now_ns)
{
    struct cm_head *head = s->head;
    uint64_t t_ns = now_ns - head->start_ns;
    uint64_t gap_ns = note_gap(s, now_ns), pss_before_ns = head->pss_ns;
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

        uint64_t limit = head->memory_limit_bytes;
        bool reached = limit != 0 && bytes(s, high) > limit;
        pss_tick(s, t_ns, rss, reached);
        if (reached && over_limit(s, &sums))
            kill_begin(s, CM_REASON_MEMORY_LIMIT);
    }
    /* A large tree at a short interval must not keep a CPU for itself. What PSS takes has a budget of its own. */
    uint64_t cost_ns = cm_now_ns() - now_ns - (head->pss_ns - pss_before_ns);
    s->not_before_ns = cost_ns > head->interval_ns / TICK_SHARE ? now_ns + TICK_SHARE * cost_ns : 0;
}
