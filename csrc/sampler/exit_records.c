/*
 * The kernel's exit records (taskstats) put into the process table: every process that ended, however short it lived,
 * with a high-water mark of its own that no parent and no exec has mixed with anybody else's.
 *
 * Records come for every task of the machine. One belongs to the tree if its process is known, or if its parent is: the
 * kernel names the parent as it was at the end, so the parent lived then, or an ancestor had taken its place. A child of
 * a parent that nobody has met yet is kept until its parent's own record, or the next tick, tells where that belongs.
 */
#include <string.h>

#include "sampler/sampler.h"

enum {
    KTHREADD = 2,
    WAITING = 1024,
    MET_NS = 1000000000,  /* whoever is met has been alive no longer than this, unmet */
    AGAIN_NS = 10000000,  /* no number is given out twice so soon: all others come in between */
};

static struct waiting {
    struct cm_exit_record record;
    uint64_t t_ns;
} waiting[WAITING];
static uint32_t nwaiting;

void exit_records_open(struct sampler *s)
{
    const char *why = "";
    struct cm_track *track = &s->head->tracks[CM_TASKSTATS];
    s->exit_records_fd = -1;
    if (!track_wanted(s, CM_TASKSTATS))
        return;
    s->exit_records_fd = cm_taskstats_open(&why);
    if (s->exit_records_fd < 0)
        track_lacks(track, -s->exit_records_fd, why);
}

static void note_record(struct cm_process *entry, const struct cm_exit_record *record, uint64_t t_ns)
{
    if (record->hwm_bytes > entry->told_bytes)
        entry->told_bytes = record->hwm_bytes;
    if (!(entry->flags & CM_PROCESS_REAPED)) {
        entry->user_ns += record->user_ns;
        entry->system_ns += record->system_ns;
    }
    /* A row that only records made seemed to end with each of its threads. */
    if (record->ends_process && (entry->start_ticks == 0 || !(entry->flags & CM_PROCESS_ENDED))) {
        entry->end_ns = t_ns;
        entry->flags |= CM_PROCESS_ENDED;
    }
    if (record->ends_process) {
        entry->flags |= CM_PROCESS_TOLD;
        if (!(entry->flags & CM_PROCESS_REAPED))
            entry->wait_status = (int32_t)record->exit_code;
    }
    if (record->pid == record->tgid) /* its other threads may have names of their own */
        memcpy(entry->comm, record->comm, sizeof entry->comm);
}

static uint64_t began_ns(const struct cm_exit_record *record, uint64_t t_ns)
{
    return record->elapsed_ns < t_ns ? t_ns - record->elapsed_ns : 0;
}

/*
 * The row of the process that a record is of. A thread can be the last of its process to stop living, and the first to
 * send its record: those of its siblings come when the process has ended already, and began before that. What began
 * later is of another process that has got the same number.
 */
static struct cm_process *row_of(struct sampler *s, const struct cm_exit_record *record, uint64_t t_ns)
{
    struct cm_process *entry = tree_known(s, record->tgid, 0);
    if (entry == NULL || !(entry->flags & CM_PROCESS_ENDED) || entry->end_ns >= s->drained_ns)
        return entry;
    return began_ns(record, t_ns) <= entry->end_ns || t_ns - entry->end_ns < AGAIN_NS ? entry : NULL;
}

static void put(struct sampler *s, const struct cm_exit_record *record, uint64_t t_ns);

/* Those who waited for this parent. */
static void put_children(struct sampler *s, int parent, uint64_t since_ns)
{
    for (uint32_t i = 0; i < nwaiting;) {
        struct waiting child = waiting[i];
        if (child.record.ppid != parent || child.t_ns < since_ns) {
            i++;
            continue;
        }
        waiting[i] = waiting[--nwaiting];
        put(s, &child.record, child.t_ns);
        i = 0; /* the list has been gone through by others meanwhile */
    }
}

/* Into the table: it belongs there. */
static void put(struct sampler *s, const struct cm_exit_record *record, uint64_t t_ns)
{
    struct cm_process *entry = row_of(s, record, t_ns);
    if (entry == NULL) {
        struct cm_stat stat = {.ppid = record->ppid};
        uint64_t first_ns = began_ns(record, t_ns);
        int32_t at;
        memcpy(stat.comm, record->comm, sizeof stat.comm);
        uint64_t rows = s->head->processes;
        entry = tree_entry(s, record->tgid, &stat, first_ns, &at);
        bool again = rows == s->head->processes; /* it was there, by the record of another of its threads */
        if (entry == NULL)
            return;
        if (!again || first_ns < entry->since_ns)
            entry->since_ns = first_ns;
        entry->end_ns = t_ns;
        entry->flags |= CM_PROCESS_ENDED;
        put_children(s, record->tgid, first_ns);
    } else if (record->ends_process && !(entry->flags & CM_PROCESS_TOLD)) {
        /* What a thread's record made of it began with that thread; and who has ended since could not be placed, as it
         * was not known as a parent any more. */
        uint64_t first_ns = began_ns(record, t_ns);
        if (entry->since_ns > first_ns)
            entry->since_ns = first_ns;
        if (entry->first_ns > first_ns)
            entry->first_ns = first_ns;
        put_children(s, record->tgid, first_ns);
    }
    note_record(entry, record, t_ns);
}

static bool belongs(struct sampler *s, const struct cm_exit_record *record, uint64_t t_ns)
{
    return record->ppid == s->own_pid || row_of(s, record, t_ns) != NULL ||
           tree_known(s, record->ppid, s->drained_ns) != NULL;
}

/* Whoever has just been met may be the parent that others wait for. */
void exit_records_met(struct sampler *s, int pid, uint64_t t_ns)
{
    if (nwaiting > 0)
        put_children(s, pid, t_ns > MET_NS ? t_ns - MET_NS : 0);
}

/* Most that wait are other people's. One whose parent can still be met or tell of its end is not let go unsaid. */
static void forget_strangers(struct sampler *s, uint64_t t_ns)
{
    uint64_t keep_ns = MET_NS > 2 * s->head->interval_ns ? MET_NS : 2 * s->head->interval_ns;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < nwaiting; i++)
        if (waiting[i].t_ns + keep_ns > t_ns)
            waiting[kept++] = waiting[i];
    if (kept == WAITING) {
        memmove(waiting, waiting + 1, --kept * sizeof *waiting);
        s->head->exit_records_lost++;
    }
    nwaiting = kept;
}

void exit_records_drain(struct sampler *s, uint64_t t_ns)
{
    struct cm_exit_record record;
    if (s->exit_records_fd < 0)
        return;
    while (cm_taskstats_next(s->exit_records_fd, &record, &s->head->exit_records_lost) > 0) {
        if (record.ppid == KTHREADD) /* a thread of the kernel */
            continue;
        if (belongs(s, &record, t_ns)) {
            put(s, &record, t_ns);
            continue;
        }
        if (nwaiting == WAITING)
            forget_strangers(s, t_ns);
        waiting[nwaiting++] = (struct waiting){record, t_ns};
    }
    s->drained_ns = t_ns; /* who had ended by now is no parent of what comes next */
}

void exit_records_close(struct sampler *s)
{
    if (s->exit_records_fd >= 0)
        cm_taskstats_close(s->exit_records_fd);
}
