/* The process table of the shared memory: one row for each process that was found, also after its end. */
#include <string.h>

#include "sampler/sampler.h"

#define TICK_NS 10000000u /* of /proc/PID/stat: USER_HZ is 100 */

static int32_t row_numbers[SLOTS]; /* PID -> its row of the process table + 1, also after its end */

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

/* Return the time before which a process did not exist. The scan of PIDs finds it at the first tick after its start. If
 * the lists of children found it instead, the kernel tells when it started, to ten milliseconds. */
static uint64_t earliest_start_ns(const struct sampler *s, const struct cm_stat *stat)
{
    uint64_t by_kernel_ns = minus(stat->start_ticks * TICK_NS, since_boot_ns(s->head->start_ns));
    return s->pid_scan.is_checking ? s->pid_scan.complete_ns : by_kernel_ns;
}

/* Return a new row of the process table, or NULL if the table is full; the process is counted all the same. If an
 * exit record has made a row for this process, return that row. */
struct cm_process *table_add_row(struct sampler *s, int pid, const struct cm_stat *stat, uint64_t now_ns,
                                 int32_t *number)
{
    struct cm_head *head = s->head;
    struct cm_process *known = table_find_row(s, pid, s->ticks.completed_ns);
    /* The exit record comes before the process frees its memory, which takes long if it has much, and before it is a
     * zombie, whose PID is not free either. Only a row that ended before this process started is another process. */
    if (known == NULL && stat->start_ticks != 0) {
        known = table_find_row(s, pid, 0);
        if (known != NULL && since_boot_ns(head->start_ns + known->end_ns) + TICK_NS < stat->start_ticks * TICK_NS)
            known = NULL;
    }
    if (known != NULL && known->start_ticks == 0 && !(known->flags & CM_PROCESS_REAPED)) {
        *number = *row_number_of(s, pid) - 1;
        known->start_ticks = stat->start_ticks;
        if (!(known->flags & CM_PROCESS_HAS_EXIT_RECORD)) /* the record was that of one of its threads */
            known->flags &= ~(uint32_t)CM_PROCESS_ENDED;
        if (known->since_ns > earliest_start_ns(s, stat)) /* the process may be older than the thread */
            known->since_ns = earliest_start_ns(s, stat);
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
    entry->since_ns = earliest_start_ns(s, stat);
    entry->first_ns = now_ns;
    entry->flags = pid == head->root_pid ? CM_PROCESS_ROOT : 0;
    memcpy(entry->comm, stat->comm, sizeof entry->comm);
    *row_number_of(s, pid) = *number + 1;
    return entry;
}
