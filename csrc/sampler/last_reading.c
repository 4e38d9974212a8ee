/* The last reading of the tree, which the host can look at while the command runs. */
#include "sampler/sampler.h"

static uint64_t rss_bytes(const struct sampler *s, const struct member *m)
{
    return (uint64_t)m->rows[CM_STATM][CM_STATM_RSS] * s->page_kib * 1024;
}

/* Insert a process among the largest ones, if it is one of them. */
static void insert(const struct sampler *s, struct cm_reading *reading, const struct member *m)
{
    uint64_t bytes = rss_bytes(s, m);
    uint32_t at = reading->nlargest;
    if (at == CM_LARGEST && bytes <= reading->largest_rss_bytes[at - 1])
        return;
    if (at < CM_LARGEST)
        reading->nlargest++;
    else
        at--;
    for (; at > 0 && reading->largest_rss_bytes[at - 1] < bytes; at--) {
        reading->largest_rss_bytes[at] = reading->largest_rss_bytes[at - 1];
        reading->largest_pid[at] = reading->largest_pid[at - 1];
        reading->largest_row[at] = reading->largest_row[at - 1];
    }
    reading->largest_rss_bytes[at] = bytes;
    reading->largest_pid[at] = m->pid;
    reading->largest_row[at] = m->table_row;
}

/* Write it after every tick. The host reads it again if `writes` has changed. */
void last_reading_write(struct sampler *s, uint64_t t_ns)
{
    struct cm_reading *reading = &s->head->reading;
    uint64_t writes = reading->writes, sum_bytes = 0;
    __atomic_store_n(&reading->writes, writes + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    reading->nlargest = 0;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        const struct member *m = alive_at(s, i);
        if (m->is_zombie || m->shares_parent_memory)
            continue;
        sum_bytes += rss_bytes(s, m);
        insert(s, reading, m);
    }
    reading->t_ns = t_ns;
    reading->rss_bytes = sum_bytes;
    reading->alive = s->head->alive;
    if (s->head->pss_readings != 0) {
        reading->pss_bytes = (uint64_t)s->pss.last_kib * 1024;
        reading->pss_t_ns = s->pss.last_ns;
    }
    __atomic_store_n(&reading->writes, writes + 2, __ATOMIC_RELEASE);
}
