/*
 * Put the kernel's exit records (taskstats) into the process table. The kernel sends one for each thread that ends,
 * even a very short one. Unlike ru_maxrss, its high-water mark covers only one process, and only the program that the
 * process executed last.
 *
 * The kernel sends the records of all tasks of the machine. A record belongs to the tree if its process or its parent
 * is known. The record names the parent that the process had when it ended: the one that forked it, or, if that one had
 * ended, the one that the kernel made its new parent. If the parent has not been found yet, the record stays pending
 * until the parent's own record, or the next tick, shows whether it belongs to the tree.
 */
#include <string.h>

#include "sampler/sampler.h"

enum {
    KTHREADD = 2,
    MAX_PENDING = 1024,
    PENDING_NS = 1000000000, /* a member has been alive for at most this long before it is found */
    PID_REUSE_NS = 10000000, /* a PID is not allocated again within this time: the kernel allocates all others first */
};

struct arrival {
    struct cm_exit_record record;
    uint64_t t_ns;     /* when it was read, */
    uint64_t start_ns; /* and when its task started at the earliest */
};
static struct arrival pending[MAX_PENDING];
static uint32_t npending;

void exit_records_open(struct sampler *s)
{
    const char *why = "";
    struct cm_track *track = &s->head->tracks[CM_TASKSTATS];
    s->exit_records.fd = -1;
    if (!track_wanted(s, CM_TASKSTATS))
        return;
    s->exit_records.fd = cm_taskstats_open(&why);
    if (s->exit_records.fd < 0)
        track_set_missing(track, -s->exit_records.fd, why);
}

static void store_record(struct cm_process *entry, const struct arrival *arrival)
{
    const struct cm_exit_record *record = &arrival->record;
    if (record->hwm_bytes > entry->exit_record_bytes)
        entry->exit_record_bytes = record->hwm_bytes;
    keep_largest(&entry->mapped_bytes, record->mapped_bytes);
    if (!(entry->flags & CM_PROCESS_REAPED)) {
        usage_add(&entry->usage, &record->usage);
        entry->user_ns += record->user_ns;
        entry->system_ns += record->system_ns;
    }
    /* A row made only from records of threads was marked as ended again at each of these records. */
    if (record->ends_process && (entry->start_ticks == 0 || !(entry->flags & CM_PROCESS_ENDED))) {
        entry->end_ns = arrival->t_ns;
        entry->flags |= CM_PROCESS_ENDED;
    }
    if (record->ends_process) {
        entry->flags |= CM_PROCESS_HAS_EXIT_RECORD;
        if (!(entry->flags & CM_PROCESS_REAPED))
            entry->wait_status = (int32_t)record->exit_code;
    }
    if (record->pid != record->tgid) /* other threads may have names of their own, and none executes a program */
        return;
    memcpy(entry->comm, record->comm, sizeof entry->comm);
    if (record->has_executed)
        entry->flags |= CM_PROCESS_EXECUTED;
}

/*
 * Return the row of the process that a record belongs to. The last thread of a process can be the first to send its
 * record. The records of the other threads then arrive when the process has ended already, but they started before
 * that. The record of a thread that started later belongs to another process with the same PID.
 */
static struct cm_process *row_of_record(struct sampler *s, const struct arrival *arrival)
{
    struct cm_process *entry = table_find_row(s, arrival->record.tgid, 0);
    if (entry == NULL || !(entry->flags & CM_PROCESS_ENDED) || entry->end_ns >= s->exit_records.last_read_ns)
        return entry;
    return arrival->start_ns <= entry->end_ns || arrival->t_ns - entry->end_ns < PID_REUSE_NS ? entry : NULL;
}

static void add_record(struct sampler *s, const struct arrival *arrival);

/* Add the pending records of this parent's children. */
static void add_pending_children(struct sampler *s, int parent, uint64_t since_ns)
{
    for (uint32_t i = 0; i < npending;) {
        struct arrival child = pending[i];
        if (child.record.ppid != parent || child.t_ns < since_ns) {
            i++;
            continue;
        }
        pending[i] = pending[--npending];
        add_record(s, &child);
        i = 0; /* add_record may have changed the list */
    }
}

/* Add a record of the tree to the table. */
static void add_record(struct sampler *s, const struct arrival *arrival)
{
    const struct cm_exit_record *record = &arrival->record;
    struct cm_process *entry = row_of_record(s, arrival);
    uint64_t since_ns = arrival->start_ns, first_ns = minus(arrival->t_ns, record->elapsed_ns);
    DEBUG(record->tgid, entry == NULL ? "exit record of an unknown process" : "exit record", 0);
    if (entry == NULL) {
        struct cm_stat stat = {.ppid = record->ppid};
        int32_t number;
        memcpy(stat.comm, record->comm, sizeof stat.comm);
        uint64_t rows = s->head->processes;
        entry = table_add_row(s, record->tgid, &stat, first_ns, &number);
        bool had_row = rows == s->head->processes; /* the row was there: made from the record of another thread */
        if (entry == NULL)
            return;
        if (!had_row || since_ns < entry->since_ns)
            entry->since_ns = since_ns;
        entry->end_ns = arrival->t_ns;
        entry->flags |= CM_PROCESS_ENDED;
        add_pending_children(s, record->tgid, since_ns);
    } else if (record->ends_process && !(entry->flags & CM_PROCESS_HAS_EXIT_RECORD)) {
        /* A row made from a thread's record starts with that thread. Records of children that ended after it could not
         * be matched, because the row of their parent was already marked as ended. */
        if (entry->since_ns > since_ns)
            entry->since_ns = since_ns;
        if (entry->first_ns > first_ns)
            entry->first_ns = first_ns;
        add_pending_children(s, record->tgid, since_ns);
    }
    store_record(entry, arrival);
}

static bool is_of_tree(struct sampler *s, const struct arrival *arrival)
{
    int parent = arrival->record.ppid;
    return parent == s->own_pid || row_of_record(s, arrival) != NULL ||
           table_find_row(s, parent, s->exit_records.last_read_ns) != NULL;
}

/* A process has been added: add the pending records of its children. */
void exit_records_settle(struct sampler *s, int pid, uint64_t t_ns)
{
    if (npending > 0)
        add_pending_children(s, pid, t_ns > PENDING_NS ? t_ns - PENDING_NS : 0);
}

/* Drop pending records, most of which belong to processes outside of the tree. One that is dropped while its parent
 * can still be found is counted as lost. */
static void drop_old_pending(struct sampler *s, uint64_t t_ns)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < npending; i++)
        if (pending[i].t_ns + PENDING_NS > t_ns || pending[i].t_ns >= s->ticks.completed_ns)
            pending[kept++] = pending[i];
    if (kept == MAX_PENDING) {
        memmove(pending, pending + 1, --kept * sizeof *pending);
        s->head->exit_records_lost++;
    }
    npending = kept;
}

void exit_records_drain(struct sampler *s, uint64_t t_ns)
{
    struct arrival arrival = {.t_ns = t_ns};
    const struct cm_exit_record *record = &arrival.record;
    if (s->exit_records.fd < 0)
        return;
    while (cm_taskstats_next(s->exit_records.fd, &arrival.record, &s->head->exit_records_lost) > 0) {
        if (record->ppid == KTHREADD) /* a kernel thread */
            continue;
        /* The task has ended since the records were last read. */
        arrival.start_ns = minus(s->exit_records.last_read_ns, record->elapsed_ns);
        if (is_of_tree(s, &arrival)) {
            add_record(s, &arrival);
            continue;
        }
        if (npending == MAX_PENDING)
            drop_old_pending(s, t_ns);
        pending[npending++] = arrival;
    }
    s->exit_records.last_read_ns = t_ns; /* a process that ended before now is not the parent in a later record */
}

void exit_records_close(struct sampler *s)
{
    if (s->exit_records.fd >= 0)
        cm_taskstats_close(s->exit_records.fd);
}
