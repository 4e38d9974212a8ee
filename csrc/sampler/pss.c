/*
 * When smaps_rollup is read. It stops a target that maps memory while the kernel walks its pages, so its time is kept
 * to a share of the wall clock: credit is earned as time passes and spent by reading.
 *
 * A reading is worth what it may add to the largest PSS so far. Since the last one, a process can have become more than
 * it was by as much as its RSS has grown, or where it writes to what it shares with others, which no RSS shows, by a
 * page for each of its page faults. Where nothing can be gained by that, nothing is read but now and then. While the tree
 * grows, a reading would be out of date at once: one is made when it may double the figure, and one as soon as it stands
 * still. If that one may add an eighth it is made though it takes more than there is, because it would be the figure; but
 * only once it has stood for some times as long as the reading takes, and not with a debt of as much already, unless RSS
 * is far above all that was read before. What is saved while nothing moves is there for when everything does.
 */
#include <errno.h>

#include "sampler/sampler.h"

enum {
    FIRST_CREDIT_MS = 1,
    CHANGED_MS = 100,   /* between readings at the most, while the tree moves, */
    UNCHANGED_MS = 1000,    /* and while it does not */
    MAX_SAVED_S = 5,        /* how many seconds' earnings can be kept */
    LIMIT_PAUSE_MS = 20,      /* where a limit has to be judged, */
    LIMIT_SHARE = 20,   /* in at most one part in so many of the time */
    EIGHTH = 8,
    STEADY_SHARE = 64,         /* what stays within one part in so many stands still */
    STEADY_FACTOR = 2,       /* times the reading's own time, before one that cannot be paid */
    HALF = 2,
    FIRST_NS_PER_PAGE = 30,       /* what a page takes, until one has been measured, */
    PROCESS_NS = 30000,   /* and a reading of a process of no pages; */
    ENOUGH_PAGES = 4096, /* of so many it can be told from the rest */
};

#define MS_NS 1000000u

void pss_begin(struct sampler *s)
{
    s->pss.credit_ns = s->head->pss_budget_ppm ? FIRST_CREDIT_MS * (int64_t)MS_NS : 0;
    s->pss.ns_per_page = FIRST_NS_PER_PAGE;
}

/* In KiB: the most that one process can have added since the last reading; less than 0 where it has become smaller. */
int64_t pss_added_kib(const struct sampler *s, const struct member *m)
{
    int64_t rss = m->rows[CM_STATM][CM_STATM_RSS], grown = rss - m->pss_rss, faulted = (int64_t)m->faults - m->pss_faults;
    if (!m->pss_read) /* what it was born with, it shares */
        grown = faulted < rss ? faulted : rss;
    else if (faulted > grown)
        grown = faulted < rss ? faulted : rss;
    return grown * s->page_kib;
}

static bool is_due(struct sampler *s, uint64_t t_ns, uint32_t rss, int64_t added_kib)
{
    int64_t sum_kib = (int64_t)rss * s->page_kib, record = s->pss.largest_kib;
    int64_t possible = s->pss.last_kib + added_kib < sum_kib ? s->pss.last_kib + added_kib : sum_kib;
    int64_t change = possible > s->pss.steady_kib ? possible - s->pss.steady_kib : s->pss.steady_kib - possible;
    if (change > possible / STEADY_SHARE) {
        s->pss.steady_kib = possible;
        s->pss.changed_ns = t_ns;
    }
    int64_t gain = possible - record, takes_ns = (int64_t)(rss * s->pss.ns_per_page + s->tree.nalive * PROCESS_NS);
    int64_t steady_ns = (int64_t)(t_ns - s->pss.changed_ns);
    bool can_pay = s->pss.credit_ns >= takes_ns;
    if (can_pay && gain > 0 && steady_ns > 0 && steady_ns >= takes_ns)
        return true;
    bool may_overdraw = s->pss.credit_ns > -takes_ns || rss > s->pss.largest_rss + s->pss.largest_rss / HALF;
    if (may_overdraw && gain > record / EIGHTH && steady_ns >= STEADY_FACTOR * takes_ns)
        return true;
    uint64_t since_ns = t_ns - s->pss.last_ns;
    bool has_changed = s->pss.changed_ns > s->pss.last_ns;
    return can_pay && (gain > record || since_ns >= (uint64_t)(has_changed ? CHANGED_MS : UNCHANGED_MS) * MS_NS);
}

/* Whether a process that cannot be read is there all the same: /proc hides what others may not trace (hidepid). */
static bool is_alive(struct sampler *s, struct member *m)
{
    uint32_t row[CM_MAX_COLUMNS];
    return member_read(s, m, CM_STATM, row) == 0;
}

/* A reading that had to wait for the target's lock tells little of what the next one takes. */
static void update_ns_per_page(struct sampler *s, uint64_t page_ns)
{
    s->pss.ns_per_page = page_ns < s->pss.ns_per_page ? page_ns : s->pss.ns_per_page + (page_ns - s->pss.ns_per_page) / EIGHTH;
}

/* By how much RSS has changed in the course of a reading: what moved from one process to another can count twice. */
static uint64_t changed_pages(struct sampler *s)
{
    uint64_t pages = 0;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        uint32_t row[CM_MAX_COLUMNS];
        if (m->is_zombie || m->shares_parent_memory || member_read(s, m, CM_STATM, row) != 0)
            continue;
        uint32_t now = row[CM_STATM_RSS], before = m->pss_rss;
        pages += now > before ? now - before : before - now;
    }
    return pages;
}

/* False where nobody could be read, or one not in time. */
static bool read_tree(struct sampler *s, uint64_t t_ns)
{
    uint64_t sums[CM_MAX_COLUMNS] = {0};
    bool any = false, is_complete = true;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        uint32_t *row = m->rows[CM_SMAPS_ROLLUP];
        if (m->is_zombie || m->shares_parent_memory)
            continue;
        row[CM_SMAPS_SHARED_ANON] = UINT32_MAX;
        uint64_t before_ns = cm_now_ns();
        int error = member_read(s, m, CM_SMAPS_ROLLUP, row);
        if (!note_lock_wait(s, before_ns, m->rows[CM_STATM][CM_STATM_RSS] * s->pss.ns_per_page + PROCESS_NS))
            return false; /* what was read of the others is out of date */
        bool is_there = error != -ESRCH || is_alive(s, m);
        if (error != 0 && error != -ENODATA && is_there)
            s->head->refused++;
        is_complete &= error == 0 || !is_there;
        for (uint32_t c = 0; error == 0 && c < cm_sources[CM_SMAPS_ROLLUP]->ncolumns; c++)
            sums[c] += row[c];
        any |= error == 0;
        m->pss_rss = m->rows[CM_STATM][CM_STATM_RSS];
        m->pss_faults = m->faults;
        m->pss_read = true;
    }
    if (!any)
        return false;
    if (is_complete)
        lower_bound_use_pss(s);
    uint32_t values[CM_MAX_COLUMNS];
    for (int c = 0; c < CM_MAX_COLUMNS; c++)
        values[c] = sums[c] < UINT32_MAX ? (uint32_t)sums[c] : UINT32_MAX;
    cm_record(s->base, &s->head->tracks[CM_SMAPS_ROLLUP], t_ns, values, values);
    s->pss.last_kib = values[CM_SMAPS_PSS];
    if (s->pss.last_kib <= s->pss.largest_kib)
        return true;
    s->pss.largest_kib = s->pss.last_kib;
    s->head->pss_over_bytes = s->tree.nalive > 1 ? changed_pages(s) * s->page_kib * 1024 : 0;
    return true;
}

/* `rss` is the tree's, in pages, at this tick; `added_kib` is the sum of pss_added_kib. */
void pss_tick(struct sampler *s, uint64_t t_ns, uint32_t rss, int64_t added_kib, bool limit_reached)
{
    uint64_t earned_ns = t_ns - s->pss.credited_ns;
    int64_t most_ns = (int64_t)s->head->pss_budget_ppm * 1000 * MAX_SAVED_S;
    s->pss.credit_ns += (int64_t)(earned_ns * s->head->pss_budget_ppm / 1000000u);
    if (s->pss.credit_ns > most_ns && s->pss.credit_ns > FIRST_CREDIT_MS * (int64_t)MS_NS)
        s->pss.credit_ns = most_ns;
    s->pss.credited_ns = t_ns;

    uint64_t since_ns = t_ns - s->pss.last_ns;
    bool must = limit_reached && since_ns >= LIMIT_PAUSE_MS * MS_NS && since_ns >= LIMIT_SHARE * s->pss.cost_ns;
    if (s->head->pss_budget_ppm == 0 || !(is_due(s, t_ns, rss, added_kib) || must) || !may_wait_for_locks(s))
        return;
    uint64_t before_ns = cm_now_ns();
    bool done = read_tree(s, t_ns);
    uint64_t cost_ns = cm_now_ns() - before_ns;
    s->head->pss_readings += done;
    s->pss.credit_ns -= (int64_t)cost_ns;
    s->pss.cost_ns = cost_ns;
    if (done && rss >= ENOUGH_PAGES)
        update_ns_per_page(s, cost_ns / rss);
    s->head->pss_ns += cost_ns;
    s->pss.last_ns = t_ns;
    s->pss.steady_kib = s->pss.last_kib;
    if (rss > s->pss.largest_rss)
        s->pss.largest_rss = rss;
}
