/*
 * The least that the tree needed, told at every tick by statm alone.
 *
 * Anonymous pages are born private, and a fork is all that makes them somebody else's too. So whoever is met for the
 * first time may share all that it has by then; what it has above that it got itself. Where it falls below, all that it
 * has is anon to be shared, and it counts anew from there: so after an exec, too. Nobody was there before the root. A
 * reading of smaps_rollup tells how much is shared indeed: of a page that k processes map, each holds 1/k for itself.
 * From then on it can only become smaller, but for processes that are met later.
 *
 * The pages of files, and memory that is shared on purpose, are added of one process only: of that with the most.
 * Once something has been swapped out this is over: what comes back may be shared by those who find it.
 */
#include "sampler/sampler.h"

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t anonymous(const uint32_t *row)
{
    return row[CM_STATM_RSS] - smaller(row[CM_STATM_RSS], row[CM_STATM_SHARED]);
}

void lower_bound_add(const struct sampler *s, struct member *m)
{
    bool root = m->pid == s->head->root_pid && !s->head->root_ended;
    m->shared_anon = root ? 0 : UINT32_MAX;
}

/* All have been read, one after the other. Meanwhile what is shared can only have become smaller. */
void lower_bound_use_pss(struct sampler *s)
{
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        uint32_t shared_kib = m->rows[CM_SMAPS_ROLLUP][CM_SMAPS_SHARED_ANON];
        if (!m->is_zombie && !m->shares_parent_memory && shared_kib != UINT32_MAX)
            m->shared_anon = (shared_kib + s->page_kib - 1) / s->page_kib;
    }
}

/* In pages. Members are read one after the other: what bound_pages at two readings was there between them, with all else that
 * did. With `twice` false only the first is looked at. */
static uint64_t bound_pages(struct sampler *s, bool twice)
{
    uint64_t own = 0;
    uint32_t shared = 0;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        uint32_t row[CM_MAX_COLUMNS];
        if (m->is_zombie || m->shares_parent_memory || (twice && member_read(s, m, CM_STATM, row) != 0))
            continue;
        const uint32_t *first = m->rows[CM_STATM], *second = twice ? row : first;
        uint32_t anon = smaller(anonymous(first), anonymous(second));
        uint32_t mapped = smaller(first[CM_STATM_SHARED], second[CM_STATM_SHARED]);
        m->shared_anon = smaller(m->shared_anon, anon);
        own += anon - m->shared_anon;
        shared = mapped > shared ? mapped : shared;
    }
    return own + shared;
}

void lower_bound_tick(struct sampler *s, bool swapped)
{
    s->lower_bound.is_stopped |= swapped;
    if (s->lower_bound.is_stopped || bound_pages(s, false) <= s->lower_bound.pages)
        return;
    uint64_t pages = s->tree.nalive > 1 ? bound_pages(s, true) : bound_pages(s, false);
    if (pages > s->lower_bound.pages)
        s->lower_bound.pages = pages;
    s->head->least_bytes = s->lower_bound.pages * s->page_kib * 1024;
}
