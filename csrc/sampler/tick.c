/* One tick: read every process, find new ones, sum, and record. */
#include "sampler/sampler.h"

enum { TICK_SHARE = 4 }; /* a tick takes at most one part in so many of the time */

struct sums {
    uint64_t rss;      /* pages */
    int64_t added_kib; /* by how much the tree's PSS can have grown since it was last read */
    uint64_t hwm, swap, threads, page_tables, hugetlb;
    uint32_t processes, largest; /* RSS of the largest process, pages */
};

static uint32_t clamp(uint64_t value)
{
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static void read_members(struct sampler *s, uint64_t now_ns)
{
    for (uint32_t i = 0; i < s->tree.nalive;) {
        struct member *m = alive_at(s, i);
        if (m->shares_parent_memory) {
            member_check_shared_memory(s, m);
            if (!m->shares_parent_memory)
                m->name_due_ns = now_ns;
        }
        if (!member_read_rss(s, m, now_ns))
            continue; /* another member has moved to this place */
        if (now_ns >= m->name_due_ns && !m->is_zombie)
            member_read_name(s, m, now_ns);
        i++;
    }
}

static struct sums sum_members(struct sampler *s)
{
    struct sums sums = {0};
    struct cm_head *head = s->head;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        const struct member *m = alive_at(s, i);
        if (m->is_zombie || m->shares_parent_memory)
            continue;
        uint64_t rss_bytes = (uint64_t)m->peak_rss * s->page_kib * 1024, hwm_bytes = (uint64_t)m->peak_hwm * 1024;
        sums.processes++;
        if (m->rows[CM_STATM][CM_STATM_RSS] > sums.largest)
            sums.largest = m->rows[CM_STATM][CM_STATM_RSS];
        sums.rss += m->rows[CM_STATM][CM_STATM_RSS];
        sums.added_kib += pss_added_kib(s, m);
        sums.hwm += (rss_bytes > hwm_bytes ? rss_bytes : hwm_bytes) / 1024;
        sums.swap += m->rows[CM_STATUS][CM_STATUS_SWAP];
        sums.threads += m->rows[CM_STATUS][CM_STATUS_THREADS];
        sums.page_tables += m->rows[CM_STATUS][CM_STATUS_PAGE_TABLES];
        sums.hugetlb += m->rows[CM_STATUS][CM_STATUS_HUGETLB];
        if (rss_bytes > head->rss_largest_bytes)
            head->rss_largest_bytes = rss_bytes;
        if (hwm_bytes > head->hwm_largest_bytes)
            head->hwm_largest_bytes = hwm_bytes;
    }
    return sums;
}

static void update_head(struct sampler *s, const struct sums *sums, uint64_t t_ns)
{
    struct cm_head *head = s->head;
    uint64_t rss_bytes = sums->rss * s->page_kib * 1024;
    head->alive = sums->processes;
    s->threads.are_several = sums->threads > sums->processes;
    if (sums->processes > head->max_alive)
        head->max_alive = sums->processes;
    if (sums->threads > head->max_threads)
        head->max_threads = clamp(sums->threads);
    if (rss_bytes > head->rss_sum_bytes) {
        head->rss_sum_bytes = rss_bytes;
        head->rss_sum_t_ns = t_ns;
    }
}

/* Record the time since the last reading: before the first tick, between two ticks, and after the last one. */
uint64_t record_gap(struct sampler *s, uint64_t now_ns)
{
    uint64_t since_ns = s->ticks.last_ns ? s->ticks.last_ns : s->head->start_ns;
    uint64_t gap_ns = now_ns - since_ns;
    if (gap_ns > s->head->longest_gap_ns)
        s->head->longest_gap_ns = gap_ns;
    s->ticks.last_ns = now_ns;
    return gap_ns;
}

static uint64_t bytes(const struct sampler *s, uint64_t pages)
{
    return pages * s->page_kib * 1024;
}

/* Return whether the tree is over its memory limit, given that the sum of RSS is. With several processes the sum may
 * count shared pages more than once. Then PSS decides, if it can be read for all processes. */
static bool is_over_limit(const struct sampler *s, const struct sums *sums)
{
    uint64_t limit = s->head->memory_limit_bytes;
    bool pss_can_tell = s->head->pss_budget_ppm != 0 && s->head->refused_readings == 0;
    return sums->processes == 1 || !pss_can_tell || bytes(s, sums->largest) > limit ||
           (uint64_t)s->pss.last_kib * 1024 > limit;
}

void tick(struct sampler *s, uint64_t now_ns)
{
    struct cm_head *head = s->head;
    uint64_t t_ns = now_ns - head->start_ns;
    uint64_t gap_ns = record_gap(s, now_ns), pss_before_ns = head->pss_ns;
    head->ticks++;

    exit_records_drain(s, t_ns);
    read_members(s, t_ns);
    tree_discover(s, t_ns);
    uint32_t excess = high_water_read(s, gap_ns, t_ns);
    struct sums sums = sum_members(s);
    update_head(s, &sums, t_ns);
    tree_sources_tick(s, t_ns);
    s->ticks.completed_ns = t_ns;
    head->unseen += s->pid_scan.unseen;
    if (sums.processes > 0) {
        uint32_t rss = clamp(sums.rss), high = clamp(sums.rss + excess);
        uint32_t status[CM_MAX_COLUMNS] = {clamp(sums.hwm), clamp(sums.swap), clamp(sums.threads),
                                           clamp(sums.page_tables), clamp(sums.hugetlb)};
        uint32_t children[CM_MAX_COLUMNS] = {sums.processes, s->pid_scan.unseen};
        cm_record(s->base, &head->tracks[CM_STATM], t_ns, &rss, &high);
        cm_record(s->base, &head->tracks[CM_STATUS], t_ns, status, status);
        cm_record(s->base, &head->tracks[CM_CHILDREN], t_ns, children, children);

        uint64_t limit = head->memory_limit_bytes;
        bool is_limit_reached = limit != 0 && bytes(s, high) > limit;
        lower_bound_tick(s, sums.swap > 0);
        pss_tick(s, t_ns, rss, sums.added_kib, is_limit_reached);
        if (is_limit_reached && is_over_limit(s, &sums))
            kill_begin(s, CM_REASON_MEMORY_LIMIT);
    }
    /* A large tree at a short interval must not use a whole CPU. The cost of PSS has its own budget. */
    uint64_t cost_ns = cm_now_ns() - now_ns - (head->pss_ns - pss_before_ns);
    s->ticks.not_before_ns = cost_ns > head->interval_ns / TICK_SHARE ? now_ns + TICK_SHARE * cost_ns : 0;
}
