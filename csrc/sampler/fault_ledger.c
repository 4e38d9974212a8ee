/*
 * Bound what the tree holds from above by its page faults.
 *
 * A page gets into a process by a page fault, or by a fork, which only shares it. The kernel counts the faults of each
 * process (mm_account_fault, also for mlock, MAP_POPULATE and reads into untouched memory). When a process is waited
 * for, its count is added to that of its parent (wait_task_zombie), so the faults of processes that no reading found
 * are known as well. The times of two readings of all members enclose a window. In it the tree cannot have held more
 * than
 *
 *   anonymous memory: all faults so far, or the sum at the first reading and the faults of the window; the smaller one.
 *     A fault maps one page, or a huge page: the machine's counter of those is read, too.
 *   pages of files and shared memory: the sum over all processes, or the union of what they map; the smaller one. Plus
 *     what can have been mapped and unmapped again within the window: 16 pages a fault (do_fault_around), or what the
 *     high-water mark leaves room for.
 *
 * The bound is the largest of all windows. Memory that gets into a process in another way (userfaultfd, rings that the
 * kernel maps, writes of other processes) makes it grow by more than its faults. Then there is no bound. Nor is there
 * one when the faults of children get lost: their parent lets the kernel reap them.
 */
#include "sampler/sampler.h"

enum {
    CREDIT_NS = 10000000, /* at first, readings may take this long, */
    BUSY_PARTS = 2,       /* then one of so many parts of the budget while the tree has page faults, */
    QUIET_PARTS = 15,     /* and while it has few: */
    QUIET_FAULTS = 64,
    QUIET_PAUSE_NS = 4000000,
    ORPHAN_TICKS = UNCHANGED_TICKS + 1,
};

/* Before the target starts: the machine's counters have been read. */
void fault_ledger_begin(struct sampler *s)
{
    s->fault_ledger.huge_faults = s->machine.huge_faults;
}

/*
 * Take off what processes without children had brought into memory when they ended. A process that was forked by one of
 * them, and has not been found yet, may still have it. It becomes a child of the sampler, or of another subreaper of
 * the tree, and is found within a few ticks. A process that shares another one's memory (CLONE_VM) leaves there what it
 * has brought in: the other one has grown without faults of its own. After either, nothing counts as freed.
 */
static void take_off_freed(struct sampler *s, const struct fault_window *w)
{
    struct fault_ledger *ledger = &s->fault_ledger;
    ledger->freed_now += w->freed;
    if (ledger->has_orphans || w->foreign > w->huge * fault_huge_pages(s)) {
        ledger->has_orphans = true;
        ledger->pages += ledger->taken_off;
        ledger->taken_off = 0;
        return;
    }
    if (s->head->ticks < ledger->freed_tick + ORPHAN_TICKS)
        return;
    ledger->taken_off += ledger->freed_before < ledger->pages ? ledger->freed_before : ledger->pages;
    ledger->pages = minus(ledger->pages, ledger->freed_before);
    ledger->freed_before = ledger->freed_now;
    ledger->freed_now = 0;
    ledger->freed_tick = s->head->ticks;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/*
 * Find how many bytes of files and shared memory the tree can have mapped in the window that its group was not charged
 * for. Such a page was mapped at the first reading, is mapped now, or was mapped only in between. `shared_bytes` is
 * what the tree can have mapped in the window, in all.
 */
static void find_elsewhere(struct sampler *s, const struct fault_window *w, uint64_t shared_bytes)
{
    struct fault_ledger *ledger = &s->fault_ledger;
    const struct file_ranges *files = &s->file_ranges;
    uint64_t page_bytes = s->page_kib * 1024, union_pages = files->pages + w->unknown;
    uint64_t pages = files->is_full ? w->shared : smaller(w->shared, union_pages);
    uint64_t charged_bytes = smaller(w->charged_bytes, group_charge_mapped(s));
    uint64_t now_bytes = minus(pages * page_bytes, charged_bytes);
    uint64_t gone_bytes = smaller(ledger->elsewhere_bytes, (w->unmapped + ledger->departed_shared) * page_bytes);
    uint64_t bytes = now_bytes + gone_bytes + w->passing * page_bytes;
    uint64_t in_all_bytes = minus(shared_bytes, smaller(ledger->charged_bytes, charged_bytes));
    keep_largest(&s->head->group_elsewhere_bytes, smaller(bytes, in_all_bytes));
    ledger->charged_bytes = charged_bytes;
    ledger->elsewhere_bytes = now_bytes;
    ledger->departed_shared = 0;
}

/* Compare the window with the largest so far, and begin the next one. */
static void end_window(struct sampler *s, const struct fault_window *w)
{
    struct fault_ledger *ledger = &s->fault_ledger;
    const struct file_ranges *files = &s->file_ranges;
    uint64_t added = w->faults + w->huge * fault_huge_pages(s);
    ledger->pages += added; /* what was freed in this window was there at its begin */
    uint64_t anon = ledger->anon + added < ledger->pages ? ledger->anon + added : ledger->pages;
    uint64_t shared = ledger->shared + w->new_shared + w->passing;
    uint64_t unknown = w->unknown > ledger->unknown ? w->unknown : ledger->unknown;
    uint64_t of_union = files->pages + unknown + w->passing_others;
    bool by_union = !files->is_full && of_union + w->marks_others * MARK_PAGES < shared + w->marks * MARK_PAGES;
    uint32_t marks = by_union ? w->marks_others : w->marks;
    shared = by_union ? of_union : shared;
    find_elsewhere(s, w, shared * s->page_kib * 1024);
    if (anon + shared > ledger->largest)
        ledger->largest = anon + shared;
    if (shared > ledger->largest_files)
        ledger->largest_files = shared;
    if (marks > s->head->fault_bound_marks)
        s->head->fault_bound_marks = marks;
    if (w->grown > w->allowed + w->huge * fault_huge_pages(s) && s->head->statm_exact)
        fault_set_problem(s, CM_FAULTS_UNEXPLAINED, 0);
    s->head->fault_bound_bytes = ledger->largest * s->page_kib * 1024;
    s->head->file_bound_bytes = ledger->largest_files * s->page_kib * 1024;
    ledger->anon = w->anon;
    ledger->shared = w->shared;
    ledger->unknown = w->unknown;
    take_off_freed(s, w);
}

/* Add the faults of reaped processes, and what the whole machine counts. */
static void finish_window(struct sampler *s, struct fault_window *w)
{
    struct fault_ledger *ledger = &s->fault_ledger;
    w->faults += ledger->late_faults;
    w->passing += fault_pages_of_files(s, ledger->late_faults, ledger->late_major);
    w->passing_others += fault_pages_of_files(s, ledger->late_faults, ledger->late_major);
    w->allowed += fault_pages_of_files(s, ledger->late_faults, ledger->late_major);
    ledger->late_faults = ledger->late_major = 0;
    if (w->faults > 0)
        machine_read(s);
    w->huge = s->machine.huge_faults - ledger->huge_faults;
    ledger->huge_pages_are_used = w->huge > 0;
    end_window(s, w);
}

void fault_ledger_tick(struct sampler *s, uint64_t t_ns)
{
    struct fault_ledger *ledger = &s->fault_ledger;
    struct fault_window w = {0};
    if (t_ns < ledger->due_ns)
        return;
    uint64_t before_ns = budget_own_cpu_ns();
    /* Huge pages given out while the members are read belong to this window, and to the next one as well: a member may
     * have been read before it got one. An earlier value of the counter is no smaller if none are given out. */
    if (ledger->huge_pages_are_used)
        machine_read(s);
    uint64_t huge_faults = s->machine.huge_faults;
    w.charged_bytes = group_charge_mapped(s);
    for (uint32_t i = s->tree.nalive; i-- > 0;) /* children before their parents, mostly */
        fault_window_read(s, alive_at(s, i), &w);
    finish_window(s, &w);
    ledger->huge_faults = huge_faults;
    uint64_t cost_ns = budget_own_cpu_ns() - before_ns;
    ledger->spent_ns += cost_ns;
    bool is_quiet = w.faults <= QUIET_FAULTS;
    uint64_t pause_ns = budget_pause(s, cost_ns, is_quiet ? QUIET_PARTS : BUSY_PARTS);
    if (ledger->spent_ns <= CREDIT_NS)
        pause_ns = 0;
    if (is_quiet && pause_ns < QUIET_PAUSE_NS)
        pause_ns = QUIET_PAUSE_NS;
    ledger->due_ns = t_ns + pause_ns;
}

/* All processes have been reaped. Of a command without a tick nothing else is known. */
void fault_ledger_end(struct sampler *s)
{
    struct fault_window w = {0};
    if (s->head->ticks == 0)
        return;
    if (s->fault_ledger.late_faults == 0) /* else `finish_window` reads it */
        machine_read(s);
    finish_window(s, &w);
}
