/*
 * mangle_taskstats ROUNDS SEED
 *
 * Gives datagrams of exit records, made with the kernel's own header, to the parser of csrc/sources/taskstats_record.c:
 * whole, cut short at every byte, of every version, and changed at random ROUNDS times. Each lies in memory of exactly
 * its size, so that a sanitizer detects a read of one byte beyond it.
 */
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/taskstats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sources/taskstats.h"

enum { MESSAGES = 3, FAMILY = 0x17, MOST = 4096 };

#define CHECK(what) \
    do \
        if (!(what)) { \
            printf("line %d: %s\n", __LINE__, #what); \
            fflush(stdout); \
            _Exit(1); \
        } \
    while (0)

static char buffer[MOST];
static size_t filled, ends[MESSAGES]; /* where each message ends, without padding */

static size_t open_attribute(uint16_t type)
{
    struct nlattr head = {.nla_type = type};
    memcpy(buffer + filled, &head, sizeof head);
    filled += sizeof head;
    return filled - sizeof head;
}

static void close_attribute(size_t at)
{
    uint16_t length = (uint16_t)(filled - at);
    memcpy(buffer + at, &length, sizeof length);
    filled = (size_t)NLA_ALIGN(filled);
}

static void put(const void *value, size_t n)
{
    memcpy(buffer + filled, value, n);
    filled += n;
}

static void put_stats(uint16_t aggregate, uint16_t number, const struct taskstats *stats, size_t bytes)
{
    size_t outer = open_attribute(aggregate), inner = open_attribute(number);
    put(&stats->ac_pid, sizeof stats->ac_pid);
    close_attribute(inner);
    inner = open_attribute(TASKSTATS_TYPE_STATS);
    put(stats, bytes);
    close_attribute(inner);
    close_attribute(outer);
}

/* Write what the kernel sends for task number `i` of process 1000. The last task ends the process, and adds the
 * delays of all. */
static void put_message(int i, uint16_t version, size_t bytes)
{
    bool last = i == MESSAGES - 1;
    size_t at = filled;
    struct genlmsghdr what = {.cmd = TASKSTATS_CMD_NEW, .version = TASKSTATS_GENL_VERSION};
    struct taskstats stats = {
        .version = version,
        .ac_exitcode = 0x100,
        .ac_flag = last ? 0x20 : 0,
        .ac_comm = "longer than any name is",
        .ac_pid = 1000 + (unsigned)i,
        .ac_ppid = 999,
        .ac_etime = 1000 + (unsigned)i,
        .ac_utime = 20,
        .ac_stime = 30,
        .hiwater_rss = 5000 + (unsigned)i,
        .hiwater_vm = 9000,
        .ac_tgid = 1000,
        .ac_tgetime = 7777,
    };
    filled += sizeof(struct nlmsghdr);
    put(&what, sizeof what);
    if (i == 1) /* the kernel may align the record with this */
        close_attribute(open_attribute(TASKSTATS_TYPE_NULL));
    put_stats(TASKSTATS_TYPE_AGGR_PID, TASKSTATS_TYPE_PID, &stats, bytes);
    memset(&stats, 0, sizeof stats);
    stats.version = version;
    if (last)
        put_stats(TASKSTATS_TYPE_AGGR_TGID, TASKSTATS_TYPE_TGID, &stats, bytes);
    struct nlmsghdr head = {.nlmsg_len = (uint32_t)(filled - at), .nlmsg_type = FAMILY};
    memcpy(buffer + at, &head, sizeof head);
    ends[i] = filled;
}

/* `bytes` is the size of this version's struct taskstats. */
static void make(uint16_t version, size_t bytes)
{
    filled = 0;
    for (int i = 0; i < MESSAGES; i++)
        put_message(i, version, bytes);
}

/* Return how many records are read from the first `n` bytes. The last of them is stored in `record`. */
static int count(size_t n, struct cm_exit_record *record)
{
    char *exact = malloc(n);
    memcpy(exact, buffer, n);
    struct cm_span datagram = {exact, n};
    int found = 0;
    while (cm_record_next(&datagram, record)) {
        CHECK(datagram.n < n && datagram.at + datagram.n == exact + n);
        CHECK(memchr(record->comm, 0, sizeof record->comm) != NULL);
        found++;
    }
    free(exact);
    return found;
}

static void check_whole(void)
{
    struct cm_exit_record record, expected = {
        .pid = 1002, .tgid = 1000, .ppid = 999, .hwm_bytes = 5002 * 1024, .elapsed_ns = 7777000, .user_ns = 20000,
        .system_ns = 30000, .exit_code = 0x100, .ends_process = true, .comm = "longer than any",
    };
    CHECK(count(filled, &record) == MESSAGES);
    CHECK(record.pid == expected.pid && record.tgid == expected.tgid && record.ppid == expected.ppid);
    CHECK(record.hwm_bytes == expected.hwm_bytes && record.elapsed_ns == expected.elapsed_ns);
    CHECK(record.user_ns == expected.user_ns && record.system_ns == expected.system_ns);
    CHECK(record.exit_code == expected.exit_code && record.ends_process == expected.ends_process);
    CHECK(strcmp(record.comm, expected.comm) == 0);
    CHECK(count(ends[1], &record) == 2);
    CHECK(record.pid == 1001 && !record.ends_process && record.elapsed_ns == 1001000);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    struct cm_exit_record record;
    make(TASKSTATS_VERSION, sizeof(struct taskstats));
    check_whole();
    for (size_t n = 0; n <= filled; n++) {
        int complete = 0;
        while (complete < MESSAGES && ends[complete] <= n)
            complete++;
        CHECK(count(n, &record) == complete);
    }
    for (uint16_t version = 0; version < 20; version++) {
        make(version, sizeof(struct taskstats));
        CHECK(count(filled, &record) == (version >= 12 && version != 15 ? MESSAGES : 0));
    }
    for (size_t bytes = 0; bytes <= sizeof(struct taskstats); bytes++) {
        make(12, bytes);
        CHECK(count(ends[0], &record) == (bytes >= offsetof(struct taskstats, ac_exe_dev)));
    }
    srand((unsigned)atoi(argv[2]));
    for (int i = atoi(argv[1]); i > 0; i--) {
        make(TASKSTATS_VERSION, sizeof(struct taskstats));
        for (int k = rand() % 4; k >= 0; k--) {
            /* Mostly lengths and types, in the first bytes of a message. */
            size_t from = (rand() & 1) ? 0 : ends[rand() % (MESSAGES - 1)];
            size_t at = rand() % 4 ? from + (size_t)rand() % 40 : (size_t)rand() % filled;
            buffer[at] = (char)(rand() % 3 ? rand() : buffer[at] + rand() % 9 - 4);
        }
        CHECK(count((size_t)rand() % (filled + 1), &record) <= MESSAGES);
    }
    return 0;
}
