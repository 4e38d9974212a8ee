/* Read how much shared memory the members map now. Costs a reading of status for each. */
#include "sampler/sampler.h"

/* Return the shared memory of the member that maps most, in bytes. */
uint64_t shared_memory_largest(struct sampler *s)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        uint32_t row[CM_MAX_COLUMNS];
        if (!m->is_zombie && !m->shares_parent_memory && member_read(s, m, CM_STATUS, row) == 0)
            keep_largest(&largest, (uint64_t)row[CM_STATUS_SHMEM] * 1024);
    }
    return largest;
}
