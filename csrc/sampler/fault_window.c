/*
 * Read the page faults and the size of every member, for one window of the ledger (fault_ledger.c).
 */
#include <errno.h>

#include "sampler/sampler.h"

enum {
    AROUND_KIB = 64,     /* fault_around_bytes: what one fault maps of a file at most */
    FEW_FAULTS = 1,      /* after more faults in a window, read status */
    UNKNOWN_PAGES = 256, /* read /proc/PID/maps again when so many pages may be of files that it did not list, */
    FEW_PAGES = 32,      /* or when a process has so many more pages of files */
    GROWTH_SLACK = 64,   /* pages that a process may grow by between the readings of its faults and of its size */
    RANGES_OLD_NS = 100000000,
};

static uint32_t around_pages(const struct sampler *s)
{
    return s->page_kib < AROUND_KIB ? AROUND_KIB / s->page_kib : 1;
}

/* Return how many pages of files so many faults can map. */
uint64_t fault_pages_of_files(const struct sampler *s, uint64_t faults, uint64_t major)
{
    /* A major fault may map a whole large folio that was read from disk. */
    return faults * around_pages(s) + major * fault_huge_pages(s);
}

/*
 * Add the pages of files that one member can have mapped and unmapped again since the first reading. If its mappings
 * have never been larger than they are now, it has unmapped nothing, and only files of the union can have passed.
 */
static void add_passing(struct sampler *s, struct member *m, const uint32_t *row, uint64_t faults, uint64_t major,
                        struct fault_window *w)
{
    uint64_t passing = fault_pages_of_files(s, faults, major);
    uint32_t status[CM_MAX_COLUMNS], old = m->ledger.shared, now = row[CM_STATM_SHARED];
    bool by_a_mark = false;
    bool is_read = faults > FEW_FAULTS && !m->shares_parent_memory && member_read(s, m, CM_STATUS, status) == 0;
    if (is_read) {
        uint64_t mark = status[CM_STATUS_HWM] / s->page_kib, anon = row[CM_STATM_RSS] - now;
        mark = mark > m->peak_rss ? mark : m->peak_rss;
        /* Pages of files took the place of anonymous ones at most, and those were brought in again by faults. */
        uint64_t by_mark = minus(mark, anon + (now > old ? now : old)) + (faults < anon ? faults : anon);
        if (by_mark + MARK_PAGES < passing) {
            passing = by_mark;
            by_a_mark = true;
        }
    }
    w->marks += by_a_mark;
    w->passing += passing;
    bool is_listed = m->ranges_read && row[CM_STATM_LAYOUT] == m->ranges_layout;
    if (is_read && status[CM_STATUS_UNMAPPED] == 0 && is_listed) {
        m->unknown_pages = 0;
        return;
    }
    w->passing_others += passing;
    w->marks_others += by_a_mark;
}

/*
 * Return how many shared pages of the member the last reading of its maps may not account for. If its layout has not
 * changed, it maps the same files. Faults tell how many pages can belong to others that replaced them.
 */
static uint64_t unknown_pages(const struct sampler *s, const struct member *m, const uint32_t *row, uint64_t faults,
                              uint64_t major)
{
    uint32_t shared = row[CM_STATM_SHARED], anon = row[CM_STATM_RSS] - shared;
    if (!m->ranges_read || row[CM_STATM_LAYOUT] != m->ranges_layout)
        return shared;
    uint64_t others = minus(faults, anon > m->ledger.anon ? anon - m->ledger.anon : 0);
    uint64_t unknown = m->unknown_pages + (others > 0 ? fault_pages_of_files(s, others, major) : 0);
    return unknown < shared ? unknown : shared;
}

/* Compare how the member has grown with what its own faults, and those of the children that it waited for, allow. */
static void compare_growth(const struct member *m, uint32_t anon, uint32_t shared, uint64_t faults,
                           struct fault_window *w)
{
    const struct ledger_entry *entry = &m->ledger;
    if (!entry->is_known)
        return;
    w->grown += minus((uint64_t)anon + shared, (uint64_t)entry->anon + entry->shared);
    w->foreign += minus(minus(anon, entry->anon), faults + GROWTH_SLACK);
}

/* Find out whether the member has a new parent, and what it has from the parent that forked it. */
static void check_parent(struct sampler *s, struct member *m, const struct cm_stat *stat, const uint32_t *row,
                         struct fault_window *w)
{
    struct member *parent = tree_find(s, m->parent);
    bool is_root = m->pid == s->head->root_pid;
    s->fault_ledger.has_orphans |= stat->ppid != m->parent || (stat->ppid == s->own_pid && !is_root);
    if (m->ledger.is_known)
        return;
    if (parent != NULL)
        parent->ledger.has_forked = true;
    if (parent != NULL && parent->ranges_read && row[CM_STATM_LAYOUT] == parent->ranges_layout) { /* a fork */
        m->ranges_read = true;
        m->ranges_layout = parent->ranges_layout;
        m->ranges_shared = row[CM_STATM_SHARED];
        m->ranges_read_ns = parent->ranges_read_ns;
        m->duplicate_pages = parent->duplicate_pages;
    }
    /* A fork gives it what its parent has, without faults. */
    w->new_shared += parent != NULL ? parent->ledger.shared : s->fault_ledger.largest_shared;
}

/* Read the member's maps if it may map other files than at the last time. */
static void update_ranges(struct sampler *s, struct member *m, const uint32_t *row, uint64_t faults, uint64_t major)
{
    uint32_t shared = row[CM_STATM_SHARED];
    m->unknown_pages = cm_in_32_bits(unknown_pages(s, m, row, faults, major));
    bool has_changed = row[CM_STATM_LAYOUT] != m->ranges_layout || shared > m->ranges_shared + FEW_PAGES;
    bool is_old =
        s->tree.nalive > 1 && m->unknown_pages >= UNKNOWN_PAGES && cm_now_ns() - m->ranges_read_ns > RANGES_OLD_NS;
    bool is_new = !m->ledger.is_known && s->tree.nalive > 1; /* most short processes end before their maps are needed */
    if (row[CM_STATM_RSS] > 0 && !is_new && (!m->ranges_read || has_changed || is_old))
        file_ranges_read(s, m, row);
}

/* Return the member's faults since the last reading; in `children` those of the children that it has waited for,
 * without those that are known from readings of them. */
static uint64_t new_faults(struct sampler *s, const struct member *m, const struct cm_stat *stat, uint64_t *children)
{
    const struct ledger_entry *entry = &m->ledger;
    /* The kernel has reaped a child itself (SIGCHLD ignored, SA_NOCLDWAIT). */
    if (stat->ignores_sigchld || entry->credited > stat->child_faults)
        fault_set_problem(s, CM_FAULTS_LOST, m->pid);
    /* A fork copies pinned pages without faults. */
    if (s->tree.nalive > 1 && m->rows[CM_STATUS][CM_STATUS_PINNED] > 0)
        fault_set_problem(s, CM_FAULTS_UNEXPLAINED, m->pid);
    *children = minus(stat->child_faults, entry->children);
    if (*children > entry->departed) /* it has waited for a child just now, after that was read */
        fault_ledger_depart_children(s, m);
    *children = minus(*children, entry->departed);
    return minus(stat->faults, entry->own); /* the count can fall for a moment while a thread executes a program */
}

/* Read one member. Its faults are read before its size, so that a page whose fault is not counted yet is counted. */
void fault_window_read(struct sampler *s, struct member *m, struct fault_window *w)
{
    struct cm_stat stat;
    uint32_t row[CM_MAX_COLUMNS] = {0};
    struct ledger_entry *entry = &m->ledger;
    int error = member_read_stat(s, m, &stat);
    if (error == -ESRCH) /* waited for just now */
        fault_ledger_depart(s, m);
    else if (error != 0)
        fault_set_problem(s, CM_FAULTS_UNREADABLE, m->pid);
    if (error != 0)
        return;
    if (!m->is_zombie && !m->shares_parent_memory && member_read(s, m, CM_STATM, row) != 0)
        row[CM_STATM_RSS] = row[CM_STATM_SHARED] = 0;
    program_note(s, m, &stat);
    uint64_t children, faults = new_faults(s, m, &stat, &children), major = minus(stat.major_faults, entry->major);
    if (row[CM_STATM_SHARED] > row[CM_STATM_RSS])
        row[CM_STATM_SHARED] = row[CM_STATM_RSS];
    uint32_t shared = row[CM_STATM_SHARED], anon = row[CM_STATM_RSS] - shared;
    uint64_t of_children = fault_pages_of_files(s, children, major);
    check_parent(s, m, &stat, row, w);
    compare_growth(m, anon, shared, faults, w);
    w->faults += faults + children;
    w->freed += children; /* of processes that have been waited for */
    w->allowed += fault_pages_of_files(s, faults + children, major) + GROWTH_SLACK;
    w->passing += of_children;
    w->passing_others += of_children;
    update_ranges(s, m, row, faults, major);
    add_passing(s, m, row, faults, major, w);
    w->anon += anon;
    w->shared += shared;
    w->new_shared += minus(shared, entry->shared);
    uint64_t replaced = minus(entry->shared, shared) + fault_pages_of_files(s, faults, major);
    w->unmapped += replaced < entry->shared ? replaced : entry->shared;
    w->unknown += m->unknown_pages;
    if (shared > s->fault_ledger.largest_shared)
        s->fault_ledger.largest_shared = shared;
    m->faults = entry->own = stat.faults;
    entry->children = stat.child_faults;
    entry->major = stat.major_faults;
    entry->departed = 0;
    entry->anon = anon;
    entry->shared = shared;
    entry->is_known = true;
    entry->has_forked |= stat.child_faults > 0;
}
