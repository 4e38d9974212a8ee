/*
 * The set of processes: the sampler's descendants, found in the `children` files of /proc.
 *
 * The sampler is a subreaper, so a daemon whose parents have exited becomes its own child and stays in the tree. A
 * process is added if a member lists it and its parent is a member. It is removed only when it has ended: the kernel's
 * list can miss living children while their siblings exit.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sampler/sampler.h"

#define TICK_NS 10000000u /* of /proc/PID/stat: USER_HZ is 100 */

static struct member members[MAX_MEMBERS]; /* only the pages in use are touched; index 0 means none */
static uint32_t slots[SLOTS];
static uint32_t alive[MAX_MEMBERS];
static int32_t row_numbers[SLOTS]; /* PID -> its row of the process table + 1, also after its end */

static uint32_t *slot_of(struct sampler *s, int pid)
{
    return &s->tree.slots[((uint32_t)pid * 2654435761u) % SLOTS];
}

void tree_init(struct sampler *s)
{
    s->tree.members = members;
    s->tree.slots = slots;
    s->tree.alive = alive;
    s->tree.nused = 1;
}

void tree_open(struct sampler *s)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        s->descriptors.max = limit.rlim_cur < (1 << 20) ? (int)limit.rlim_cur - 64 : 1 << 20;
    }
    char name[64] = "self/task/";
    strcpy(cm_format_number(name + strlen(name), (uint64_t)s->own_pid), "/children");
    s->tree.children_fd = openat(s->proc_fd, name, O_RDONLY | O_CLOEXEC);
}

struct member *tree_find(struct sampler *s, int pid)
{
    if (s->tree.nalive == 0) /* so that a short command does not touch the page of its slot */
        return NULL;
    for (uint32_t i = *slot_of(s, pid); i != 0; i = s->tree.members[i].next)
        if (s->tree.members[i].pid == pid)
            return &s->tree.members[i];
    return NULL;
}

struct cm_process *member_row(struct sampler *s, const struct member *m)
{
    return m->table_row < 0 ? NULL : (struct cm_process *)(s->base + s->head->processes_offset) + m->table_row;
}

/* The root's row is stored apart, so that a command without children touches no page of that large table. */
static int32_t *row_number_of(struct sampler *s, int pid)
{
    return pid == s->head->root_pid ? &s->tree.root_row : &row_numbers[(uint32_t)pid % SLOTS];
}

/* Return the row of a process that is alive, or ended after `since_ns`. An older row is that of another process with
 * the same PID. */
struct cm_process *table_find_row(struct sampler *s, int pid, uint64_t since_ns)
{
    int32_t number = *row_number_of(s, pid) - 1;
    struct cm_process *entry = (struct cm_process *)(s->base + s->head->processes_offset) + number;
    bool other = number < 0 || entry->pid != pid || ((entry->flags & CM_PROCESS_ENDED) && entry->end_ns < since_ns);
    return other ? NULL : entry;
}

/* Return a time since the boot, as /proc counts it: including the time that the machine was suspended. */
static uint64_t since_boot_ns(uint64_t monotonic_ns)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return monotonic_ns + ((uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec - cm_now_ns());
}

/* Return a new row of the process table, or NULL if the table is full; the process is counted all the same. If an
 * exit record has made a row for this process, return that row. */
struct cm_process *table_add_row(struct sampler *s, int pid, const struct cm_stat *stat, uint64_t now_ns,
                                 int32_t *number)
{
    struct cm_head *head = s->head;
    struct cm_process *known = table_find_row(s, pid, s->ticks.completed_ns);
    /* The PID of a zombie is not free, however long ago its exit record came. A row that ended before the zombie
     * started is another process. */
    if (known == NULL && stat->state == 'Z') {
        known = table_find_row(s, pid, 0);
        if (known != NULL && since_boot_ns(head->start_ns + known->end_ns) + TICK_NS < stat->start_ticks * TICK_NS)
            known = NULL;
    }
    if (known != NULL && known->start_ticks == 0 && !(known->flags & CM_PROCESS_REAPED)) {
        *number = *row_number_of(s, pid) - 1;
        known->start_ticks = stat->start_ticks;
        if (!(known->flags & CM_PROCESS_HAS_EXIT_RECORD)) /* the record was that of one of its threads */
            known->flags &= ~(uint32_t)CM_PROCESS_ENDED;
        if (known->since_ns > s->pid_scan.complete_ns) /* the process may be older than the thread */
            known->since_ns = s->pid_scan.complete_ns;
        return known;
    }
    if (head->processes == head->processes_capacity) {
        head->processes_dropped++;
        *number = -1;
        return NULL;
    }
    *number = (int32_t)head->processes++;
    struct cm_process *entry = (struct cm_process *)(s->base + head->processes_offset) + *number;
    memset(entry, 0, sizeof *entry); /* an earlier measurement may have used this memory */
    entry->pid = pid;
    entry->ppid = stat->ppid;
    entry->start_ticks = stat->start_ticks;
    entry->since_ns = s->pid_scan.complete_ns;
    entry->first_ns = now_ns;
    entry->flags = pid == head->root_pid ? CM_PROCESS_ROOT : 0;
    memcpy(entry->comm, stat->comm, sizeof entry->comm);
    *row_number_of(s, pid) = *number + 1;
    return entry;
}

void tree_remove(struct sampler *s, struct member *m)
{
    struct cm_process *entry = member_row(s, m);
    DEBUG(m->pid, "removed", 0);
    if (entry != NULL) {
        entry->rss_bytes = (uint64_t)m->peak_rss * s->page_kib * 1024;
        entry->hwm_bytes = (uint64_t)m->peak_hwm * 1024;
        entry->hwm_read_ns = m->status_ns;
        entry->inexact_windows = m->inexact_windows;
        if (!(entry->flags & CM_PROCESS_ENDED))
            entry->end_ns = cm_now_ns() - s->head->start_ns;
        entry->flags |= CM_PROCESS_ENDED;
    }
    uint32_t i = (uint32_t)(m - s->tree.members);
    uint32_t *link = slot_of(s, m->pid);
    while (*link != i)
        link = &s->tree.members[*link].next;
    *link = m->next;

    s->tree.alive[m->alive_index] = s->tree.alive[--s->tree.nalive];
    s->tree.members[s->tree.alive[m->alive_index]].alive_index = m->alive_index;
    member_close(s, m);
    m->next = s->tree.first_free;
    s->tree.first_free = i;
}

static struct member *allocate_member(struct sampler *s, int pid)
{
    uint32_t i = s->tree.first_free;
    if (i != 0)
        s->tree.first_free = s->tree.members[i].next;
    else if (s->tree.nused < MAX_MEMBERS)
        i = s->tree.nused++;
    else
        return NULL;
    struct member *m = &s->tree.members[i];
    memset(m, 0, sizeof *m);
    m->pid = pid;
    m->dir_fd = m->read_fd = m->children_fd = -1;
    for (int source = 0; source < CM_SOURCES; source++)
        m->fds[source] = -1;
    uint32_t *slot = slot_of(s, pid);
    m->next = *slot;
    *slot = i;
    m->alive_index = s->tree.nalive;
    s->tree.alive[s->tree.nalive++] = i;
    return m;
}

bool tree_add(struct sampler *s, int pid, uint64_t now_ns)
{
    if (tree_find(s, pid) != NULL)
        return false;
    int dir_fd = cm_open_process(s->proc_fd, pid);
    struct cm_stat stat;
    if (dir_fd < 0) {
        DEBUG(pid, "was listed, and /proc does not show it", dir_fd);
        return false;
    }
    /* Since it was listed the process may have ended and its PID been allocated again. An unrelated process does not
     * have a member as its parent. If a parent in the tree has just ended, the kernel has handed its children to
     * another member, or to the sampler. */
    if (cm_read_stat(dir_fd, "stat", &stat) < 0 || (stat.ppid != s->own_pid && tree_find(s, stat.ppid) == NULL)) {
        DEBUG(pid, "was listed, and is not of the tree any more", 0);
        close(dir_fd);
        return false;
    }
    struct member *m = allocate_member(s, pid);
    if (m == NULL) {
        DEBUG(pid, "not added: too many processes", 0);
        s->head->processes_dropped++;
        close(dir_fd);
        return false;
    }
    DEBUG(pid, "added", 0);
    m->dir_fd = m->read_fd = dir_fd;
    s->descriptors.open++;
    m->start_ticks = stat.start_ticks;
    table_add_row(s, pid, &stat, now_ns, &m->table_row);
    m->parent = stat.ppid;
    m->faults = stat.faults;
    s->pss.changed_ns = now_ns;
    lower_bound_add(s, m);
    m->rows[CM_STATUS][CM_STATUS_THREADS] = (uint32_t)stat.threads;
    if (s->ending.is_killing) { /* nothing more of it is read */
        if (s->descriptors.open >= s->descriptors.max)
            member_close(s, m);
        return true;
    }
    member_check_shared_memory(s, m);
    member_keep_fds(s, m);
    member_read_name(s, m, now_ns);
    member_read_rss(s, m, now_ns);
    exit_records_settle(s, pid, now_ns);
    return true;
}

void tree_discover(struct sampler *s, uint64_t now_ns)
{
    /* The sampler gets new children when a process of the tree ends. Only the end of a parent that was never found
     * goes unnoticed. */
    if (s->tree.may_have_orphans || s->head->ticks % UNCHANGED_TICKS == 1)
        children_read(s, s->tree.children_fd, now_ns);
    s->tree.may_have_orphans = false;
    /* New members are appended, so their children are read in the same loop. But a chain of processes that fork and
     * exit faster than they are added is not followed for ever. */
    uint64_t until_ns = cm_now_ns() + MAX_BURST_NS;
    for (uint32_t i = 0; i < s->tree.nalive && (i % CLOCK_CHECK != 0 || cm_now_ns() < until_ns); i++) {
        struct member *m = alive_at(s, i);
        if (m->is_zombie)
            continue;
        children_read_of(s, m, now_ns);
    }
    pid_scan_tick(s, now_ns);
    if (s->threads.are_several)
        threads_walk(s, now_ns);
}
