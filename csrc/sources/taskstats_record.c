/*
 * taskstats: what the kernel tells of every task of the machine at its end. Here: how its records are read.
 *
 * do_exit() sends the record while the task still has its address space, and before it tells the parent. So whoever has
 * waited for a process finds its record in the socket: one round of reading after the last wait4 is complete.
 *
 * A datagram holds messages, a message a header of its family and then attributes, and some attributes hold others:
 * nothing in it is read before its length has been held against what is left.
 */
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/taskstats.h>
#include <string.h>
#include <unistd.h>

#include "sources/taskstats.h"

/*
 * Where the fields of struct taskstats lie, in bytes. It grows at its end only, but for version 15 (Linux 6.14), which
 * grew in between; the header on the machine that compiles this may be that one, or too old to know all of them.
 */
enum {
    FIRST_VERSION = 12, /* Linux 5.19: tgid, elapsed time of the process, which thread was the last */
    ODD_VERSION = 15,
    EXIT_CODE = 4,
    FLAGS = 8,
    COMM = 80,
    PID = 128,
    PPID = 132,
    ELAPSED_US = 144,
    USER_US = 152,
    SYSTEM_US = 160,
    HWM_KIB = 200,
    VM_HWM_KIB = 208,
    TGID = 368,
    PROCESS_ELAPSED_US = 376,
    LEAST_BYTES = 384,
    LAST_THREAD = 0x20, /* a flag: AGROUP in <linux/acct.h> */
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
    if (n > span->n) /* what comes last need not be padded */
        n = span->n;
    span->at += n;
    span->n -= n;
}

/* Takes a message off a datagram: its type, or 0 where no whole one is left. */
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

/* What the first attribute of this type holds: nothing where there is none, or where one claims more than is there. */
struct cm_span cm_attribute(struct cm_span payload, int type)
{
    skip(&payload, GENL_HDRLEN);
    return find(payload, type);
}

/*
 * The struct taskstats of a message about one task. The last thread of several brings a sum over all of them along
 * (AGGR_TGID), but only of delays: nothing of it concerns memory.
 */
struct cm_span cm_stats_of(int message_type, struct cm_span payload)
{
    if (message_type <= GENL_ID_CTRL)
        return (struct cm_span){NULL, 0};
    return find(cm_attribute(payload, TASKSTATS_TYPE_AGGR_PID), TASKSTATS_TYPE_STATS);
}

/* False where the record has not the form that is read here. */
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
        .exit_code = u32(stats, EXIT_CODE),
        .ends_process = last,
    };
    memcpy(record->comm, stats.at + COMM, sizeof record->comm - 1);
    return true;
}

/* Whether the kernel keeps memory figures for these records, told by one that is never 0 in a process. */
bool cm_stats_have_memory(struct cm_span stats)
{
    return u64(stats, VM_HWM_KIB) > 0;
}

/* The next record of a datagram, which is taken off it. */
bool cm_record_next(struct cm_span *datagram, struct cm_exit_record *record)
{
    struct cm_span payload;
    for (int type; (type = cm_message_next(datagram, &payload)) != 0;)
        if (cm_stats_read(cm_stats_of(type, payload), record))
            return true;
    return false;
}

/* A datagram, or an empty one where none is there. ENOBUFS is said once, however many the kernel dropped. */
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

/* 1 and a record, or 0 where none is there now. `lost` counts how often the kernel began to drop some. A process has
 * one such descriptor at a time. */
int cm_taskstats_next(int fd, struct cm_exit_record *record, uint64_t *lost)
{
    static char buffer[CM_DATAGRAM_BYTES];
    static struct cm_span datagram; /* what is left of the one in the buffer */
    while (!cm_record_next(&datagram, record)) {
        datagram = cm_receive(fd, buffer, lost);
        if (datagram.n == 0)
            return 0;
    }
    return 1;
}
