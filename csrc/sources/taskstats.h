/* What the two taskstats files share: netlink messages in a buffer. */
#ifndef CONCMEM_TASKSTATS_H
#define CONCMEM_TASKSTATS_H

#include "shared/internal.h"

enum { CM_DATAGRAM_BYTES = 4096 }; /* a task's message has 0.6 KiB today; that of the last of several threads 1.2 KiB */

struct cm_span {
    const char *at;
    size_t n;
};

/* taskstats_record.c */
int cm_message_next(struct cm_span *datagram, struct cm_span *payload);
struct cm_span cm_attribute(struct cm_span payload, int type);
struct cm_span cm_stats_of(int message_type, struct cm_span payload);
bool cm_stats_read(struct cm_span stats, struct cm_exit_record *record);
bool cm_stats_have_memory(struct cm_span stats);
bool cm_record_next(struct cm_span *datagram, struct cm_exit_record *record);
struct cm_span cm_receive(int fd, char *buffer, uint64_t *lost);

#endif
