/*
 * The set of processes: the sampler's descendants, found through the `children` files.
 *
 * The sampler is subreaper, so a daemon that has lost its parents becomes its own child and stays inside. A process
 * enters when it is listed by a member and names a member as its parent; it leaves only by its own end, because the
 * kernel's list can lose living children while their siblings die.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sampler/sampler.h"

#define TICK_NS 10000000u /* of /proc/PID/stat: USER_HZ is 100 */

static struct member members[MAX_MEMBERS]; /* touched only as far as they are used; number 0 means none */
static uint32_t slots[SLOTS];
static uint32_t alive[MAX_MEMBERS];
static int32_t row_numbers[SLOTS]; /* pid -> its row of the process table + 1, also when it has long left */

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
    if (s->tree.nalive == 0) /* as of a short command: its slot, a page of its own, stays untouched */
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

/* The root's is kept apart: of a command without children no page of that large table is touched. */
static int32_t *row_number_of(struct sampler *s, int pid)
{
    return pid == s->head->root_pid ? &s->tree.root_row : &row_numbers[(uint32_t)pid % SLOTS];
}

/* The row of a process that is there, or was after `since_ns`; an older one is of somebody else, who had the same
 * number. */
struct cm_process *table_find_row(struct sampler *s, int pid, uint64_t since_ns)
{
    int32_t row_number = *row_number_of(s, pid) - 1;
    struct cm_process *entry = (struct cm_process *)(s->base + s->head->processes_offset) + row_number;
    bool other = row_number < 0 || entry->pid != pid || ((entry->flags & CM_PROCESS_ENDED) && entry->end_ns < since_ns);
    return other ? NULL : entry;
}

/* /proc counts from the boot, with the time that the machine was suspended. */
static uint64_t since_boot_ns(uint64_t monotonic_ns)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return monotonic_ns + ((uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec - cm_now_ns());
}

/* A new row of the process table, or NULL where it is full; the process is counted all the same. One that only its exit
 * record told of is given its own. */
struct cm_process *table_add_row(struct sampler *s, int pid, const struct cm_stat *stat, uint64_t now_ns, int32_t *row_number)
{
    struct cm_head *head = s->head;
    struct cm_process *found_row = table_find_row(s, pid, s->ticks.completed_ns);
    /* A zombie has its number to itself, however long ago its record came; who ended before it began is another. */
    if (found_row == NULL && stat->state == 'Z') {
        found_row = table_find_row(s, pid, 0);
        if (found_row != NULL && since_boot_ns(head->start_ns + found_row->end_ns) + TICK_NS < stat->start_ticks * TICK_NS)
            found_row = NULL;
    }
    if (found_row != NULL && found_row->start_ticks == 0 && !(found_row->flags & CM_PROCESS_REAPED)) {
        *row_number = *row_number_of(s, pid) - 1;
        found_row->start_ticks = stat->start_ticks;
        if (!(found_row->flags & CM_PROCESS_TOLD)) /* the record was of one of its threads */
            found_row->flags &= ~(uint32_t)CM_PROCESS_ENDED;
        if (found_row->since_ns > s->pid_scan.complete_ns) /* and it may be older than that */
            found_row->since_ns = s->pid_scan.complete_ns;
        return found_row;
    }
    if (head->processes == head->processes_capacity) {
        head->processes_dropped++;
        *row_number = -1;
        return NULL;
    }
    *row_number = (int32_t)head->processes++;
    struct cm_process *entry = (struct cm_process *)(s->base + head->processes_offset) + *row_number;
    memset(entry, 0, sizeof *entry); /* an earlier measurement may have used the same memory */
    entry->pid = pid;
    entry->ppid = stat->ppid;
    entry->start_ticks = stat->start_ticks;
    entry->since_ns = s->pid_scan.complete_ns;
    entry->first_ns = now_ns;
    entry->flags = pid == head->root_pid ? CM_PROCESS_ROOT : 0;
    memcpy(entry->comm, stat->comm, sizeof entry->comm);
    *row_number_of(s, pid) = *row_number + 1;
    return entry;
}

void tree_remove(struct sampler *s, struct member *m)
{
    struct cm_process *entry = member_row(s, m);
    if (entry != NULL) {
        entry->rss_bytes = (uint64_t)m->peak_rss * s->page_kib * 1024;
        entry->hwm_bytes = (uint64_t)m->peak_hwm * 1024;
        entry->marked_ns = m->status_ns;
        entry->inexact = m->inexact_windows;
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

static struct member *allocate(struct sampler *s, int pid)
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
    if (dir_fd < 0)
        return false;
    /* Between the list and here it can have ended and its number gone to a stranger: a stranger's parent is not one
     * of us. A parent that has just ended has handed it to another member, or to the sampler. */
    if (cm_read_stat(dir_fd, "stat", &stat) < 0 || (stat.ppid != s->own_pid && tree_find(s, stat.ppid) == NULL)) {
        close(dir_fd);
        return false;
    }
    struct member *m = allocate(s, pid);
    if (m == NULL) {
        s->head->processes_dropped++;
        close(dir_fd);
        return false;
    }
    m->dir_fd = m->read_fd = dir_fd;
    s->descriptors.open++;
    m->start_ticks = stat.start_ticks;
    table_add_row(s, pid, &stat, now_ns, &m->table_row);
    m->parent = stat.ppid;
    m->faults = stat.faults;
    s->pss.changed_ns = now_ns;
    lower_bound_add(s, m);
    m->rows[CM_STATUS][CM_STATUS_THREADS] = (uint32_t)stat.threads;
    if (s->ending.is_killing) { /* of whom nothing more will be read */
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
    /* The sampler gets a child when somebody of the tree has ended; only a parent that was never met ends unnoticed. */
    if (s->tree.may_have_orphans || s->head->ticks % UNCHANGED_TICKS == 1)
        children_read(s, s->tree.children_fd, now_ns);
    s->tree.may_have_orphans = false;
    /* Those that are met on the way are appended, and so asked for their own children in the same sweep; but a line of
     * processes that fork and exit faster than they are met is not followed for ever. */
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
