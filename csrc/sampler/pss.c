/*
 * Decide when to read smaps_rollup, and read it. A reading blocks a target that maps memory while the kernel walks its
 * pages. So its time is limited to a share of the wall clock: credit grows as time passes, and readings spend it.
 *
 * A reading is worth what it may add to the largest PSS so far. Since the last reading, the PSS of a process can have
 * grown by as much as its RSS. It can also have grown by one page for each page fault, where it wrote to shared pages:
 * RSS does not show that. If nothing can be gained, readings are rare. While the tree grows, a reading is soon out of
 * date, so it is made only if it may double the figure. Another one is made as soon as the tree has stopped growing. If
 * it may add an eighth to the figure, it is made even without enough credit. But then the tree must have been steady
 * for twice the time that the reading takes. Also, the debt must be below the cost of one reading, or RSS must be far
 * above the RSS at all earlier readings. Credit saved while nothing changes is available when memory changes.
 */
#include <errno.h>

#include "sampler/sampler.h"

enum {
    FIRST_CREDIT_MS = 10,
    CHANGED_MS = 100,    /* longest pause between readings while the tree changes, */
    UNCHANGED_MS = 1000, /* and while it does not */
    MAX_SAVED_S = 5,     /* with a fixed interval, credit is capped at that of so many seconds */
    LIMIT_PAUSE_MS = 20, /* shortest pause between readings that decide about the memory limit, */
    LIMIT_SHARE = 20,    /* which take at most 1/20 of the time */
    EIGHTH = 8,
    STEADY_SHARE = 64, /* a tree that changes by at most 1/64 counts as steady */
    STEADY_FACTOR = 2, /* before a reading without credit, the tree must be steady for twice the time of a reading */
    HALF = 2,
    FIRST_NS_PER_PAGE = 30, /* cost of one page, until it has been measured */
    PROCESS_NS = 30000,     /* cost of a process without pages */
    ENOUGH_PAGES = 4096,    /* the cost per page is measured on trees of at least so many pages */
};

#define MS_NS 1000000u

/* The budget of PSS is at most half of the sampler's budget. */
void pss_begin(struct sampler *s)
{
    uint64_t half_ppm = s->head->cpu_budget_ppm / HALF;
    if (half_ppm != 0 && s->head->pss_budget_ppm > half_ppm)
        s->head->pss_budget_ppm = half_ppm;
    s->pss.credit_ns = s->head->pss_budget_ppm ? FIRST_CREDIT_MS * (int64_t)MS_NS : 0;
    s->pss.ns_per_page = FIRST_NS_PER_PAGE;
}

/* Return by how much one process can have grown in PSS since the last reading, in KiB; negative if it has become
 * smaller. */
int64_t pss_added_kib(const struct sampler *s, const struct member *m)
{
    int64_t rss = m->rows[CM_STATM][CM_STATM_RSS], grown = rss - m->pss_rss;
    int64_t faulted = (int64_t)m->faults - m->pss_faults;
    if (!m->pss_read) /* pages that a new process holds without a fault of its own are shared */
        grown = faulted < rss ? faulted : rss;
    else if (faulted > grown)
        grown = faulted < rss ? faulted : rss;
    return grown * s->page_kib;
}

/* Return how long a reading of the tree takes. */
static int64_t reading_ns(const struct sampler *s, uint32_t rss)
{
    return (int64_t)(rss * s->pss.ns_per_page + s->tree.nalive * PROCESS_NS);
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
    int64_t gain = possible - record, takes_ns = reading_ns(s, rss);
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

/* Return whether a process still exists after its smaps_rollup could not be read. With hidepid, /proc hides the
 * processes that the caller may not trace. */
static bool is_alive(struct sampler *s, struct member *m)
{
    uint32_t row[CM_MAX_COLUMNS];
    return member_read(s, m, CM_STATM, row) == 0;
}

/* Update the cost per page. A reading that waited for the target's lock says little about the cost of the next one. */
static void update_ns_per_page(struct sampler *s, uint64_t page_ns)
{
    uint64_t known_ns = s->pss.ns_per_page;
    s->pss.ns_per_page = page_ns < known_ns ? page_ns : known_ns + (page_ns - known_ns) / EIGHTH;
}

/* Return by how much RSS has changed since the tick began. Pages that moved from one process to another can be counted
 * twice. */
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

/* Return the pages of hugetlbfs of the member that maps most, if read at this tick. PSS does not include them. */
static uint64_t largest_hugetlb_kib(const struct sampler *s)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        const struct member *m = alive_at(s, i);
        uint64_t kib = m->rows[CM_STATUS][CM_STATUS_HUGETLB];
        if (m->status_tick == s->head->ticks && kib > largest)
            largest = kib;
    }
    return largest;
}

/* Read every member. Return false if no process could be read, or if one took too long. */
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
            return false; /* the readings of the other members are out of date */
        bool is_there = error != -ESRCH || is_alive(s, m);
        if (error != 0 && error != -ENODATA && is_there) {
            DEBUG(m->pid, "smaps_rollup cannot be read", error);
            s->head->refused_readings++;
        }
        is_complete &= error == 0 || !is_there;
        for (uint32_t c = 0; error == 0 && c < cm_sources[CM_SMAPS_ROLLUP]->ncolumns; c++)
            sums[c] += row[c];
        any |= error == 0;
        if (error == 0 && row[CM_SMAPS_USS] > m->peak_unique)
            m->peak_unique = row[CM_SMAPS_USS];
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
    uint64_t over_kib = s->tree.nalive > 1 ? changed_pages(s) * s->page_kib : 0;
    s->pss.last_held_kib = minus(sums[CM_SMAPS_PSS] + sums[CM_SMAPS_SWAP_PSS] + largest_hugetlb_kib(s), over_kib);
    keep_largest(&s->head->pss_held_bytes, s->pss.last_held_kib * 1024);
    if (s->pss.last_kib > s->pss.largest_kib) {
        s->pss.largest_kib = s->pss.last_kib;
        s->head->pss_over_bytes = over_kib * 1024;
    }
    return true;
}

/* Decide and read. `rss` is the RSS of the tree at this tick, in pages; `added_kib` is the sum of pss_added_kib. */
void pss_tick(struct sampler *s, uint64_t t_ns, uint32_t rss, int64_t added_kib, bool limit_reached)
{
    uint64_t earned_ns = t_ns - s->pss.credited_ns;
    int64_t first_ns = FIRST_CREDIT_MS * (int64_t)MS_NS,
            saved_ns = (int64_t)s->head->pss_budget_ppm * 1000 * MAX_SAVED_S;
    int64_t most_ns = s->head->cpu_budget_ppm != 0 || saved_ns < first_ns ? first_ns : saved_ns;
    if (most_ns < reading_ns(s, rss)) /* else a large tree would never be read again */
        most_ns = reading_ns(s, rss);
    s->pss.credit_ns += (int64_t)(earned_ns * s->head->pss_budget_ppm / 1000000u);
    if (s->pss.credit_ns > most_ns)
        s->pss.credit_ns = most_ns;
    s->pss.credited_ns = t_ns;

    uint64_t since_ns = t_ns - s->pss.last_ns;
    bool has_debt = s->head->cpu_budget_ppm != 0 && s->budget.credit_ns < 0;
    bool must = limit_reached && since_ns >= LIMIT_PAUSE_MS * MS_NS && since_ns >= LIMIT_SHARE * s->pss.cost_ns;
    if (s->head->pss_budget_ppm == 0 || !((is_due(s, t_ns, rss, added_kib) && !has_debt) || must) ||
        !may_wait_for_locks(s))
        return;
    uint64_t before_ns = cm_now_ns(), cpu_before_ns = budget_own_cpu_ns();
    bool done = read_tree(s, t_ns);
    uint64_t cost_ns = cm_now_ns() - before_ns;
    s->ticks.pss_cpu_ns = budget_own_cpu_ns() - cpu_before_ns;
    s->ticks.pss_ns = cost_ns;
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
