/*
 * Files that read or change a process's memory map (cmdline, smaps_rollup, clear_refs) wait for its mmap_lock. A process
 * that forks holds that lock, and among a thousand that fork it gets the CPU once in seconds: a sampler that waits for
 * each of them could neither read nor end anybody. So after a long wait there is none for a while, and none at all while
 * the tree is being ended.
 */
#include "sampler/sampler.h"

enum {
    LONG_WAIT_NS = 5000000,
    BACKOFF_FACTOR = 20, /* as long as the wait was, there is no other */
};

bool may_wait_for_locks(const struct sampler *s)
{
    return !s->ending.is_killing && cm_now_ns() >= s->lock_backoff.until_ns;
}

/* Something was read that takes `expected_ns` where nobody is in its way: false where it was in vain to hope for that. */
bool note_lock_wait(struct sampler *s, uint64_t since_ns, uint64_t expected_ns)
{
    uint64_t now_ns = cm_now_ns(), took_ns = now_ns - since_ns;
    if (took_ns <= LONG_WAIT_NS + 4 * expected_ns)
        return true;
    s->lock_backoff.until_ns = now_ns + BACKOFF_FACTOR * took_ns;
    return false;
}
