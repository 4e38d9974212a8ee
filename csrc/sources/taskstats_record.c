/*
 * taskstats: the kernel's exit record of every task of the machine. This file parses the records.
 *
 * do_exit() sends the record while the task still has its address space, and before it notifies the parent. So a parent
 * that has waited for a process finds its record in the socket: one read of the socket after the last wait4 is
 * complete.
 *
 * A datagram holds messages. A message is a header of its family and then attributes, and some attributes hold others.
 * Nothing is read before its length has been compared with what is left.
 */
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/taskstats.h>
#include <string.h>
#include <unistd.h>

#include "sources/taskstats.h"

/*
 * Offsets of fields in struct taskstats, in bytes. New versions add fields at the end, except version 15 (Linux 6.14),
 * which added one in between. The header of the machine that compiles this may be that version, or too old to have all
 * fields.
 */
enum {
    FIRST_VERSION = 12, /* Linux 5.19: tgid, elapsed time of the process, flag of the last thread */
    ODD_VERSION = 15,
    EXIT_CODE = 4,
    FLAGS = 8,
    COMM = 80,
    PID = 128,
    PPID = 132,
    ELAPSED_US = 144,
    USER_US = 152,
    SYSTEM_US = 160,
    MINOR_FAULTS = 168,
    MAJOR_FAULTS = 176,
    HWM_KIB = 200,
    VM_HWM_KIB = 208,
    READ_BYTES = 248,
    WRITTEN_BYTES = 256,
    VOLUNTARY_SWITCHES = 272,
    INVOLUNTARY_SWITCHES = 280,
    TGID = 368,
    PROCESS_ELAPSED_US = 376,
    LEAST_BYTES = 384,
    NO_EXEC = 0x01,     /* a flag, AFORK in <linux/acct.h>: it has executed no program since it was forked */
    LAST_THREAD = 0x20, /* AGROUP */
};

static uint32_t u32(struct cm_span stats, size_t at)
{
    uint32_t value;
    memcpy(&value, stats.at + at, sizeof value);
    return value;
}

static uint64_t u64(struct cm_span stats, size_t at)
{
    uint64_t value;
    memcpy(&value, stats.at + at, sizeof value);
    return value;
}

static void skip(struct cm_span *span, size_t n)
{
    if (n > span->n) /* the last attribute need not be padded */
        n = span->n;
    span->at += n;
    span->n -= n;
}

/* Take a message off a datagram. Return its type, or 0 if no whole one is left. */
int cm_message_next(struct cm_span *datagram, struct cm_span *payload)
{
    struct nlmsghdr head;
    if (datagram->n < sizeof head)
        return 0;
    memcpy(&head, datagram->at, sizeof head);
    if (head.nlmsg_len < sizeof head || head.nlmsg_len > datagram->n)
        return 0;
    *payload = (struct cm_span){datagram->at + sizeof head, head.nlmsg_len - sizeof head};
    skip(datagram, NLMSG_ALIGN(head.nlmsg_len));
    return head.nlmsg_type;
}

static struct cm_span find(struct cm_span in, int type)
{
    struct nlattr head;
    while (in.n >= sizeof head) {
        memcpy(&head, in.at, sizeof head);
        if (head.nla_len < sizeof head || head.nla_len > in.n)
            break;
        if ((head.nla_type & NLA_TYPE_MASK) == type)
            return (struct cm_span){in.at + sizeof head, head.nla_len - sizeof head};
        skip(&in, NLA_ALIGN(head.nla_len));
    }
    return (struct cm_span){NULL, 0};
}

/* Return the content of the first attribute of this type. It is empty if there is none, or if the stated length is more
 * than what is left. */
struct cm_span cm_attribute(struct cm_span payload, int type)
{
    skip(&payload, GENL_HDRLEN);
    return find(payload, type);
}

/*
 * Return the struct taskstats of a message about one task. The last of several threads also sends a sum over all of
 * them (AGGR_TGID), but that holds only delays and no memory.
 */
struct cm_span cm_stats_of(int message_type, struct cm_span payload)
{
    if (message_type <= GENL_ID_CTRL)
        return (struct cm_span){NULL, 0};
    return find(cm_attribute(payload, TASKSTATS_TYPE_AGGR_PID), TASKSTATS_TYPE_STATS);
}

/* Read a record. Return false if its form is not supported. */
bool cm_stats_read(struct cm_span stats, struct cm_exit_record *record)
{
    uint16_t version;
    if (stats.n < LEAST_BYTES)
        return false;
    memcpy(&version, stats.at, sizeof version);
    if (version < FIRST_VERSION || version == ODD_VERSION)
        return false;
    bool last = stats.at[FLAGS] & LAST_THREAD;
    *record = (struct cm_exit_record){
        .pid = (int32_t)u32(stats, PID),
        .tgid = (int32_t)u32(stats, TGID),
        .ppid = (int32_t)u32(stats, PPID),
        .hwm_bytes = u64(stats, HWM_KIB) * 1024,
        .elapsed_ns = u64(stats, last ? PROCESS_ELAPSED_US : ELAPSED_US) * 1000,
        .user_ns = u64(stats, USER_US) * 1000,
        .system_ns = u64(stats, SYSTEM_US) * 1000,
        .mapped_bytes = u64(stats, VM_HWM_KIB) * 1024,
        .usage =
            {
                .minor_faults = u64(stats, MINOR_FAULTS),
                .major_faults = u64(stats, MAJOR_FAULTS),
                .voluntary_switches = u64(stats, VOLUNTARY_SWITCHES),
                .involuntary_switches = u64(stats, INVOLUNTARY_SWITCHES),
                .read_bytes = u64(stats, READ_BYTES),
                .written_bytes = u64(stats, WRITTEN_BYTES),
            },
        .exit_code = u32(stats, EXIT_CODE),
        .ends_process = last,
        .has_executed = !(stats.at[FLAGS] & NO_EXEC),
    };
    memcpy(record->comm, stats.at + COMM, sizeof record->comm - 1);
    return true;
}

/* Return whether the kernel fills in the memory figures of these records: one of them is never 0 in a process. */
bool cm_stats_have_memory(struct cm_span stats)
{
    return u64(stats, VM_HWM_KIB) > 0;
}

/* Take the next record off a datagram. */
bool cm_record_next(struct cm_span *datagram, struct cm_exit_record *record)
{
    struct cm_span payload;
    for (int type; (type = cm_message_next(datagram, &payload)) != 0;)
        if (cm_stats_read(cm_stats_of(type, payload), record))
            return true;
    return false;
}

/* Receive a datagram, or an empty one if none is waiting. The kernel reports ENOBUFS once, however many records it
 * dropped. */
struct cm_span cm_receive(int fd, char *buffer, uint64_t *lost)
{
    for (;;) {
        ssize_t got = read(fd, buffer, CM_DATAGRAM_BYTES);
        if (got >= 0)
            return (struct cm_span){buffer, (size_t)got};
        if (errno != ENOBUFS && errno != EINTR)
            return (struct cm_span){buffer, 0};
        *lost += errno == ENOBUFS;
    }
}

/* Return 1 and a record, or 0 if none is waiting. `lost` counts how often the kernel started to drop records. A
 * process has one such descriptor at a time. */
int cm_taskstats_next(int fd, struct cm_exit_record *record, uint64_t *lost)
{
    static char buffer[CM_DATAGRAM_BYTES];
    static struct cm_span datagram; /* what is left of the datagram in the buffer */
    while (!cm_record_next(&datagram, record)) {
        datagram = cm_receive(fd, buffer, lost);
        if (datagram.n == 0)
            return 0;
    }
    return 1;
}
