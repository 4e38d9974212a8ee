/* One tick: read every process, find new ones, sum, and record. */
#include "sampler/sampler.h"

struct sums {
    uint64_t rss;      /* pages */
    uint64_t shared;   /* of them, pages of files and shared memory */
    uint64_t mapped;   /* pages of all address spaces */
    int64_t added_kib; /* by how much the tree's PSS can have grown since it was last read */
    uint64_t hwm, swap, threads, page_tables, hugetlb, shmem, pinned;
    uint32_t processes, largest; /* RSS of the largest process, pages */
};

static uint32_t clamp(uint64_t value)
{
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static uint64_t bytes(const struct sampler *s, uint64_t pages)
{
    return pages * s->page_kib * 1024;
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
        uint32_t rss = m->rows[CM_STATM][CM_STATM_RSS], shared = m->rows[CM_STATM][CM_STATM_SHARED];
        sums.shared += shared < rss ? shared : rss;
        sums.mapped += m->rows[CM_STATM][CM_STATM_MAPPED];
        sums.added_kib += pss_added_kib(s, m);
        sums.hwm += (rss_bytes > hwm_bytes ? rss_bytes : hwm_bytes) / 1024;
        sums.swap += m->rows[CM_STATUS][CM_STATUS_SWAP];
        sums.threads += m->rows[CM_STATUS][CM_STATUS_THREADS];
        sums.page_tables += m->rows[CM_STATUS][CM_STATUS_PAGE_TABLES];
        sums.hugetlb += m->rows[CM_STATUS][CM_STATUS_HUGETLB];
        sums.shmem += m->rows[CM_STATUS][CM_STATUS_SHMEM];
        sums.pinned += m->rows[CM_STATUS][CM_STATUS_PINNED];
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
    uint64_t held_bytes = rss_bytes + (sums->swap + sums->hugetlb) * 1024;
    if (held_bytes < head->held_sum_bytes)
        return;
    uint64_t shared_bytes = bytes(s, sums->shared), shmem_bytes = sums->shmem * 1024; /* the latter is a little older */
    head->held_sum_bytes = held_bytes;
    head->held_shmem_bytes = shmem_bytes < shared_bytes ? shmem_bytes : shared_bytes;
    head->held_file_bytes = shared_bytes - head->held_shmem_bytes;
    head->held_anon_bytes = rss_bytes - shared_bytes;
    head->held_hugetlb_bytes = sums->hugetlb * 1024;
    head->held_swap_bytes = sums->swap * 1024;
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

/* Return the pages that RSS counts more than once, at most. */
static uint64_t alive_duplicates(struct sampler *s)
{
    uint64_t pages = 0;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        if (!m->is_zombie && !m->shares_parent_memory)
            file_ranges_read(s, m, m->rows[CM_STATM]); /* it may have mapped more since the last time */
        pages += (uint64_t)m->duplicate_pages + m->merged_pages;
    }
    return pages;
}

/* Return the most that the tree can hold at this tick: the sum over all processes, and what is outside of RSS. */
static uint64_t held_at_most(const struct sampler *s, const struct sums *sums, uint64_t rss)
{
    uint64_t held = bytes(s, rss) + (sums->swap + sums->hugetlb) * 1024 + s->memory_files.unmapped_bytes;
    return held > s->group_charge.held_bytes ? held : s->group_charge.held_bytes;
}

/* Return whether the tree is over its memory limit, given that the sum is. The sum can count shared pages more than
 * once. Then what the tree holds at least decides, or PSS, if it can be read for all processes. */
static bool is_over_limit(struct sampler *s, const struct sums *sums, uint64_t rss)
{
    uint64_t limit = s->head->memory_limit_bytes;
    bool pss_can_tell = s->head->pss_budget_ppm != 0 && s->head->refused_readings == 0;
    if (bytes(s, s->lower_bound.now_pages) > limit && bytes(s, lower_bound_confirmed(s)) > limit)
        return true;
    if (s->group_charge.held_bytes > limit)
        return true;
    if (sums->processes == 1)
        return held_at_most(s, sums, rss) > limit + bytes(s, alive_duplicates(s));
    return !pss_can_tell || (uint64_t)s->pss.last_held_kib * 1024 > limit;
}

void tick(struct sampler *s, uint64_t now_ns)
{
    struct cm_head *head = s->head;
    uint64_t t_ns = now_ns - head->start_ns;
    uint64_t gap_ns = record_gap(s, now_ns);
    s->ticks.pss_ns = s->ticks.pss_cpu_ns = 0;
    head->ticks++;
    budget_tick_begins(s, now_ns);

    exit_records_drain(s, t_ns);
    read_members(s, t_ns);
    tree_discover(s, t_ns);
    uint32_t excess = high_water_read(s, gap_ns, t_ns);
    struct sums sums = sum_members(s);
    update_head(s, &sums, t_ns);
    tree_sources_tick(s, t_ns);
    fault_ledger_tick(s, t_ns);
    memory_files_tick(s, t_ns);
    merged_pages_tick(s);
    head->swapped_out_bytes = bytes(s, s->machine.swapped_out - s->machine.swapped_out_at_start);
    s->ticks.completed_ns = t_ns;
    head->unseen += s->pid_scan.unseen;
    if (sums.processes > 0) {
        uint32_t rss = clamp(sums.rss), shared = clamp(sums.shared), high = clamp(sums.rss + excess);
        uint32_t mapped = clamp(sums.mapped);
        uint32_t lows[CM_MAX_COLUMNS] = {rss, shared, mapped}, highs[CM_MAX_COLUMNS] = {high, shared, mapped};
        uint32_t status[CM_MAX_COLUMNS] = {clamp(sums.hwm),         clamp(sums.swap),    clamp(sums.threads),
                                           clamp(sums.page_tables), clamp(sums.hugetlb), clamp(sums.shmem),
                                           clamp(sums.pinned)};
        uint32_t children[CM_MAX_COLUMNS] = {sums.processes, s->pid_scan.unseen};
        cm_record(s->base, &head->tracks[CM_STATM], t_ns, lows, highs);
        cm_record(s->base, &head->tracks[CM_STATUS], t_ns, status, status);
        cm_record(s->base, &head->tracks[CM_CHILDREN], t_ns, children, children);

        uint64_t limit = head->memory_limit_bytes;
        bool is_limit_reached = limit != 0 && held_at_most(s, &sums, high) > limit;
        lower_bound_tick(s, sums.swap > 0);
        pss_tick(s, t_ns, rss, sums.added_kib, is_limit_reached);
        if (is_limit_reached && is_over_limit(s, &sums, high))
            kill_begin(s, CM_REASON_MEMORY_LIMIT);
        last_reading_write(s, t_ns);
    }
    if (head->processes_limit != 0 && sums.processes > head->processes_limit)
        kill_begin(s, CM_REASON_PROCESSES_LIMIT);
    budget_schedule(s, now_ns, sums.rss + excess);
}
