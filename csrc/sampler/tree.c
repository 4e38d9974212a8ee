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

static struct member members[MEMBERS]; /* touched only as far as they are used; number 0 means none */
static uint32_t slots[SLOTS];
static uint32_t alive[MEMBERS];
static int32_t rows[SLOTS]; /* pid -> its row of the process table + 1, also when it has long left */

static uint32_t *slot_of(struct sampler *s, int pid)
{
    return &s->slots[((uint32_t)pid * 2654435761u) % SLOTS];
}

void tree_begin(struct sampler *s)
{
    s->members = members;
    s->slots = slots;
    s->alive = alive;
    s->nused = 1;
}

void tree_open(struct sampler *s)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        s->max_descriptors = limit.rlim_cur < (1 << 20) ? (int)limit.rlim_cur - 64 : 1 << 20;
    }
    char name[64] = "self/task/";
    strcpy(cm_format(name + strlen(name), (uint64_t)s->own_pid), "/children");
    s->own_children_fd = openat(s->proc_fd, name, O_RDONLY | O_CLOEXEC);
}

struct member *tree_find(struct sampler *s, int pid)
{
    if (s->nalive == 0) /* as of a short command: its slot, a page of its own, stays untouched */
        return NULL;
    for (uint32_t i = *slot_of(s, pid); i != 0; i = s->members[i].next)
        if (s->members[i].pid == pid)
            return &s->members[i];
    return NULL;
}

struct cm_process *member_entry(struct sampler *s, const struct member *m)
{
    return m->entry < 0 ? NULL : (struct cm_process *)(s->base + s->head->processes_offset) + m->entry;
}

/* The root's is kept apart: of a command without children no page of that large table is touched. */
static int32_t *row_of(struct sampler *s, int pid)
{
    return pid == s->head->root_pid ? &s->root_row : &rows[(uint32_t)pid % SLOTS];
}

/* The row of a process that is there, or was after `since_ns`; an older one is of somebody else, who had the same
 * number. */
struct cm_process *tree_known(struct sampler *s, int pid, uint64_t since_ns)
{
    int32_t at = *row_of(s, pid) - 1;
    struct cm_process *entry = (struct cm_process *)(s->base + s->head->processes_offset) + at;
    bool other = at < 0 || entry->pid != pid || ((entry->flags & CM_PROCESS_ENDED) && entry->end_ns < since_ns);
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
struct cm_process *tree_entry(struct sampler *s, int pid, const struct cm_stat *stat, uint64_t now_ns, int32_t *at)
{
    struct cm_head *head = s->head;
    struct cm_process *known = tree_known(s, pid, s->known_ns);
    /* A zombie has its number to itself, however long ago its record came; who ended before it began is another. */
    if (known == NULL && stat->state == 'Z') {
        known = tree_known(s, pid, 0);
        if (known != NULL && since_boot_ns(head->start_ns + known->end_ns) + TICK_NS < stat->start_ticks * TICK_NS)
            known = NULL;
    }
    if (known != NULL && known->start_ticks == 0 && !(known->flags & CM_PROCESS_REAPED)) {
        *at = *row_of(s, pid) - 1;
        known->start_ticks = stat->start_ticks;
        if (!(known->flags & CM_PROCESS_TOLD)) /* the record was of one of its threads */
            known->flags &= ~(uint32_t)CM_PROCESS_ENDED;
        if (known->since_ns > s->caught_up_ns) /* and it may be older than that */
            known->since_ns = s->caught_up_ns;
        return known;
    }
    if (head->processes == head->processes_capacity) {
        head->processes_dropped++;
        *at = -1;
        return NULL;
    }
    *at = (int32_t)head->processes++;
    struct cm_process *entry = (struct cm_process *)(s->base + head->processes_offset) + *at;
    memset(entry, 0, sizeof *entry); /* an earlier measurement may have used the same memory */
    entry->pid = pid;
    entry->ppid = stat->ppid;
    entry->start_ticks = stat->start_ticks;
    entry->since_ns = s->caught_up_ns;
    entry->first_ns = now_ns;
    entry->flags = pid == head->root_pid ? CM_PROCESS_ROOT : 0;
    memcpy(entry->comm, stat->comm, sizeof entry->comm);
    *row_of(s, pid) = *at + 1;
    return entry;
}

void tree_remove(struct sampler *s, struct member *m)
{
    struct cm_process *entry = member_entry(s, m);
    if (entry != NULL) {
        entry->rss_bytes = (uint64_t)m->peak_rss * s->page_kib * 1024;
        entry->hwm_bytes = (uint64_t)m->peak_hwm * 1024;
        entry->marked_ns = m->marked_ns;
        entry->inexact = m->inexact;
        if (!(entry->flags & CM_PROCESS_ENDED))
            entry->end_ns = cm_now_ns() - s->head->start_ns;
        entry->flags |= CM_PROCESS_ENDED;
    }
    uint32_t i = (uint32_t)(m - s->members);
    uint32_t *link = slot_of(s, m->pid);
    while (*link != i)
        link = &s->members[*link].next;
    *link = m->next;

    s->alive[m->at] = s->alive[--s->nalive];
    s->members[s->alive[m->at]].at = m->at;
    member_close(s, m);
    m->next = s->free;
    s->free = i;
}

static struct member *allocate(struct sampler *s, int pid)
{
    uint32_t i = s->free;
    if (i != 0)
        s->free = s->members[i].next;
    else if (s->nused < MEMBERS)
        i = s->nused++;
    else
        return NULL;
    struct member *m = &s->members[i];
    memset(m, 0, sizeof *m);
    m->pid = pid;
    m->dir_fd = m->read_fd = m->children_fd = -1;
    for (int source = 0; source < CM_SOURCES; source++)
        m->fds[source] = -1;
    uint32_t *slot = slot_of(s, pid);
    m->next = *slot;
    *slot = i;
    m->at = s->nalive;
    s->alive[s->nalive++] = i;
    return m;
}

bool tree_meet(struct sampler *s, int pid, uint64_t now_ns)
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
    s->descriptors++;
    m->start_ticks = stat.start_ticks;
    tree_entry(s, pid, &stat, now_ns, &m->entry);
    m->parent = stat.ppid;
    m->faults = stat.faults;
    s->pss_moved_ns = now_ns;
    lower_bound_met(s, m);
    m->rows[CM_STATUS][CM_STATUS_THREADS] = (uint32_t)stat.threads;
    if (s->killing) { /* of whom nothing more will be read */
        if (s->descriptors >= s->max_descriptors)
            member_close(s, m);
        return true;
    }
    member_check_shared_memory(s, m);
    member_keep(s, m);
    member_look(s, m, now_ns);
    member_read_rss(s, m, now_ns);
    exit_records_met(s, pid, now_ns);
    return true;
}

void tree_discover(struct sampler *s, uint64_t now_ns)
{
    /* The sampler gets a child when somebody of the tree has ended; only a parent that was never met ends unnoticed. */
    if (s->child_ended || s->head->ticks % QUIET_TICKS == 1)
        children_read(s, s->own_children_fd, now_ns);
    s->child_ended = false;
    /* Those that are met on the way are appended, and so asked for their own children in the same sweep; but a line of
     * processes that fork and exit faster than they are met is not followed for ever. */
    uint64_t until_ns = cm_now_ns() + A_TURN_NS;
    for (uint32_t i = 0; i < s->nalive && (i % A_LOOK != 0 || cm_now_ns() < until_ns); i++) {
        struct member *m = &s->members[s->alive[i]];
        if (m->zombie)
            continue;
        children_ask(s, m, now_ns);
    }
    pid_scan_look(s, now_ns);
    if (s->several_threads)
        threads_walk(s, now_ns);
}
