/*
 * When smaps_rollup is read. It stops a target that maps memory while the kernel walks its pages, so its time is kept
 * to a share of the wall clock: credit is earned as time passes and spent by reading.
 *
 * A reading is worth what it may add to the largest PSS so far. Whatever RSS has grown by since the last reading may be
 * private, so PSS is now at most what it was then and that; most often RSS is below that, and nothing can be gained. While
 * the tree grows steeply a reading would be out of date at once, so one is made for each eighth that may be gained, and
 * one as soon as it stands still. That last one may be made on credit; where an eighth may be gained, even beyond that,
 * because it would be the figure. What is saved while nothing moves is there for the moment when everything does.
 */
#include <errno.h>

#include "sampler.h"

enum {
    FIRST_CREDIT_MS = 1,
    REGULAR_MS = 100,   /* between readings at the most, while the tree moves, */
    QUIET_MS = 1000,    /* and while it does not */
    SAVED_S = 5,        /* how many seconds' earnings can be kept */
    LIMIT_MS = 20,      /* where a limit has to be judged, */
    LIMIT_SHARE = 20,   /* in at most one part in so many of the time */
    OVERDRAFT_S = 1,    /* how many seconds' earnings a record may borrow */
    EIGHTH = 8,
    STILL = 256,        /* a change of less than one part in so many between two ticks is none */
};

#define MS_NS 1000000u

void pss_begin(struct sampler *s)
{
    s->pss_credit_ns = s->head->pss_budget_ppm ? FIRST_CREDIT_MS * (int64_t)MS_NS : 0;
}

static uint32_t apart(uint32_t a, uint32_t b)
{
    return a > b ? a - b : b - a;
}

static bool wanted(const struct sampler *s, uint64_t t_ns, uint32_t rss)
{
    int64_t overdraft_ns = (int64_t)s->head->pss_budget_ppm * 1000 * OVERDRAFT_S;
    int64_t grown = ((int64_t)rss - s->pss_read_rss) * s->page_kib;
    int64_t gain = s->pss_last_kib + grown - s->pss_record_kib;
    bool large = gain > s->pss_record_kib / EIGHTH;
    if (gain > 0 && apart(rss, s->previous_rss) <= rss / STILL)
        return large || s->pss_credit_ns > -overdraft_ns;
    if (s->pss_credit_ns <= 0)
        return false;
    bool moved = apart(rss, s->pss_read_rss) > rss / STILL;
    return large || t_ns - s->pss_read_ns >= (uint64_t)(moved ? REGULAR_MS : QUIET_MS) * MS_NS;
}

static void read_tree(struct sampler *s, uint64_t t_ns)
{
    uint64_t sums[CM_MAX_COLUMNS] = {0};
    for (uint32_t i = 0; i < s->nalive; i++) {
        struct member *m = &s->members[s->alive[i]];
        uint32_t row[CM_MAX_COLUMNS];
        if (m->zombie || m->borrows)
            continue;
        int error = member_read(s, m, CM_SMAPS_ROLLUP, row);
        if (error != 0 && error != -ESRCH && error != -ENODATA)
            s->head->refused++;
        for (uint32_t c = 0; error == 0 && c < cm_sources[CM_SMAPS_ROLLUP]->ncolumns; c++)
            sums[c] += row[c];
    }
    uint32_t values[CM_MAX_COLUMNS];
    for (int c = 0; c < CM_MAX_COLUMNS; c++)
        values[c] = sums[c] < UINT32_MAX ? (uint32_t)sums[c] : UINT32_MAX;
    cm_record(s->base, &s->head->tracks[CM_SMAPS_ROLLUP], t_ns, values, values);
    s->pss_last_kib = values[CM_SMAPS_PSS];
}

/* `rss` is the tree's, in pages, at this tick. */
void pss_tick(struct sampler *s, uint64_t t_ns, uint32_t rss, bool limit_reached)
{
    uint64_t earned_ns = t_ns - s->pss_earned_ns;
    int64_t most_ns = (int64_t)s->head->pss_budget_ppm * 1000 * SAVED_S;
    s->pss_credit_ns += (int64_t)(earned_ns * s->head->pss_budget_ppm / 1000000u);
    if (s->pss_credit_ns > most_ns && s->pss_credit_ns > FIRST_CREDIT_MS * (int64_t)MS_NS)
        s->pss_credit_ns = most_ns;
    s->pss_earned_ns = t_ns;

    uint64_t since_ns = t_ns - s->pss_read_ns;
    bool must = limit_reached && since_ns >= LIMIT_MS * MS_NS && since_ns >= LIMIT_SHARE * s->pss_cost_ns;
    if (s->head->pss_budget_ppm != 0 && (must || wanted(s, t_ns, rss))) {
        uint64_t before_ns = cm_now_ns();
        read_tree(s, t_ns);
        uint64_t cost_ns = cm_now_ns() - before_ns;
        s->pss_credit_ns -= (int64_t)cost_ns;
        s->pss_cost_ns = cost_ns;
        s->head->pss_ns += cost_ns;
        s->head->pss_readings++;
        s->pss_read_ns = t_ns;
        s->pss_read_rss = rss;
        if (s->pss_last_kib > s->pss_record_kib)
            s->pss_record_kib = s->pss_last_kib;
    }
    s->previous_rss = rss;
}
