/* Read how much shared memory the members map now. Costs a reading of status for each. */
#include "sampler/sampler.h"

struct shared_memory shared_memory_mapped(struct sampler *s)
{
    struct shared_memory mapped = {0};
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        uint32_t row[CM_MAX_COLUMNS];
        if (m->is_zombie || m->shares_parent_memory || member_read(s, m, CM_STATUS, row) != 0)
            continue;
        uint64_t bytes = (uint64_t)row[CM_STATUS_SHMEM] * 1024;
        mapped.sum_bytes += bytes;
        mapped.largest_bytes = bytes > mapped.largest_bytes ? bytes : mapped.largest_bytes;
    }
    return mapped;
}
