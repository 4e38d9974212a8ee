/*
 * Compute at every tick the memory that the tree holds at least, from statm alone.
 *
 * Anonymous pages start private. Only a fork lets another process share them. So a process may share all the pages it
 * holds when it is first seen, and what it allocates later is its own. If its anonymous memory falls below the pages
 * that it may share, it may share all of what is left. The same holds after an exec. The root is the first process of
 * the tree: it shares nothing at first. A reading of smaps_rollup shows how much is in fact shared: of a page that k
 * processes map, each counts 1/k. From then on the shared part can only fall, except through processes that are added
 * later.
 *
 * File pages, shared memory and pages of hugetlbfs are counted for one process only, the one that maps most of them,
 * less what it maps more than once. Pages that KSM has merged do not count. After something has been swapped out only
 * the largest process counts, with what is swapped out of it: pages that are swapped in again may be shared by the
 * processes that map them.
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

/* Every member's smaps_rollup has been read, one after the other. In that time the shared part can only have fallen. */
void lower_bound_use_pss(struct sampler *s)
{
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        uint32_t shared_kib = m->rows[CM_SMAPS_ROLLUP][CM_SMAPS_SHARED_ANON];
        if (!m->is_zombie && !m->shares_parent_memory && shared_kib != UINT32_MAX)
            m->shared_anon = (shared_kib + s->page_kib - 1) / s->page_kib;
    }
}

/* Return the pages of hugetlbfs that the member maps, if they have been read at this tick. RSS lacks them. */
static uint32_t hugetlb_pages(const struct sampler *s, const struct member *m)
{
    return m->status_tick == s->head->ticks ? m->rows[CM_STATUS][CM_STATUS_HUGETLB] / s->page_kib : 0;
}

/* Return how many pages of files, shared memory and hugetlbfs the member has at least, if it maps `shared` of the first
 * two. What it maps twice is known from /proc/PID/maps; all that it has mapped since can be a second mapping. */
static uint32_t single_pages(const struct sampler *s, const struct member *m, uint32_t shared)
{
    uint32_t mapped = smaller(shared, m->ranges_shared) + hugetlb_pages(s, m);
    return mapped - smaller(mapped, m->duplicate_pages);
}

/* Return the pages of the member that holds most of them, including what is swapped out. */
static uint64_t largest_with_swap(const struct sampler *s)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        const struct member *m = alive_at(s, i);
        if (m->is_zombie || m->shares_parent_memory || m->status_tick != s->head->ticks)
            continue;
        const uint32_t *row = m->rows[CM_STATM];
        uint64_t pages = minus(anonymous(row), m->merged_pages) +
                         single_pages(s, m, smaller(row[CM_STATM_SHARED], row[CM_STATM_RSS]));
        pages += m->rows[CM_STATUS][CM_STATUS_SWAP] / s->page_kib;
        largest = pages > largest ? pages : largest;
    }
    return largest;
}

/* Return the bound in pages. Members are read one after the other, twice. Pages that a member holds at both readings
 * also existed between them, at the same moment as those of the other members. With `twice` false, use the first
 * reading only. */
static uint64_t bound_pages(struct sampler *s, bool twice)
{
    uint64_t private_pages = 0;
    uint32_t shared = 0;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        uint32_t row[CM_MAX_COLUMNS];
        if (m->is_zombie || m->shares_parent_memory || (twice && member_read(s, m, CM_STATM, row) != 0))
            continue;
        const uint32_t *first = m->rows[CM_STATM], *second = twice ? row : first;
        uint32_t anon = smaller(anonymous(first), anonymous(second));
        uint32_t mapped = single_pages(s, m, smaller(first[CM_STATM_SHARED], second[CM_STATM_SHARED]));
        m->shared_anon = smaller(m->shared_anon, anon);
        private_pages += minus(anon - m->shared_anon, m->merged_pages);
        shared = mapped > shared ? mapped : shared;
    }
    uint64_t files = s->memory_files.bytes / 1024 / s->page_kib;
    return private_pages + (files > shared ? files : shared);
}

/* Return the bound at this tick, in pages, from two readings: `now_pages` is from the first one alone. */
uint64_t lower_bound_confirmed(struct sampler *s)
{
    bool is_one_reading = s->tree.nalive <= 1 || s->lower_bound.is_stopped;
    return is_one_reading ? s->lower_bound.now_pages : bound_pages(s, true);
}

void lower_bound_tick(struct sampler *s, bool swapped)
{
    s->lower_bound.is_stopped |= swapped;
    uint64_t pages = s->lower_bound.is_stopped ? largest_with_swap(s) : bound_pages(s, false);
    s->lower_bound.now_pages = pages;
    if (pages <= s->lower_bound.pages)
        return;
    pages = lower_bound_confirmed(s);
    if (pages > s->lower_bound.pages)
        s->lower_bound.pages = pages;
    s->head->lower_bound_bytes = s->lower_bound.pages * s->page_kib * 1024;
}
