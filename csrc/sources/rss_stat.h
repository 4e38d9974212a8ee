/* The eBPF program of rss_stat, as rss_stat.c loads it. */
#ifndef CONCMEM_SOURCE_RSS_STAT_H
#define CONCMEM_SOURCE_RSS_STAT_H

#include "shared/internal.h"

/* The tracepoint: its number, and the offsets of its fields. */
struct rss_event {
    uint64_t id;
    int mm_id, curr, member, size;
};

struct rss_program {
    struct rss_event event;
    int groups_fd; /* one entry: the tree's control group */
    int sizes_fd;  /* address space and kind of pages -> bytes */
    int values_fd; /* what the sampler reads, CM_RSS_STAT_* */
};

int rss_program_load(const struct rss_program *p);

#endif
