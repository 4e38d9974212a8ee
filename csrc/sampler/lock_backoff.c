/*
 * Limit the time spent waiting for memory-map locks. Reading cmdline or smaps_rollup, and writing clear_refs, takes the
 * process's mmap_lock. A process that forks holds that lock, and among a thousand such processes it gets CPU time only
 * once in seconds. A sampler that waited for each of them could neither read nor kill any process. So after a long wait
 * no file that needs the lock is read for a while, and none while the tree is being killed.
 */
#include "sampler/sampler.h"

enum {
    LONG_WAIT_NS = 5000000,
    BACKOFF_FACTOR = 20, /* pause after a wait, in multiples of the wait */
};

bool may_wait_for_locks(const struct sampler *s)
{
    return !s->ending.is_killing && cm_now_ns() >= s->lock_backoff.until_ns;
}

/* Record how long a read took. `expected_ns` is its time without a wait. Return false after a long wait. */
bool note_lock_wait(struct sampler *s, uint64_t since_ns, uint64_t expected_ns)
{
    uint64_t now_ns = cm_now_ns(), took_ns = now_ns - since_ns;
    if (took_ns <= LONG_WAIT_NS + 4 * expected_ns)
        return true;
    s->lock_backoff.until_ns = now_ns + BACKOFF_FACTOR * took_ns;
    return false;
}
