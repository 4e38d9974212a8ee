/*
 * Tell lasting amounts from passing ones. While a process ends, its pages are not mapped any more and are still
 * charged, and its shared memory is not freed yet. So an amount counts only when it has stood for a while.
 */
#include "sampler/sampler.h"

enum { PERIOD_NS = 30000000 };

/* Return the least amount of a period that has ended just now, else 0. */
uint64_t standing_update(struct standing *standing, uint64_t amount, uint64_t t_ns)
{
    if (amount == 0 || standing->least == 0) {
        *standing = (struct standing){.least = amount, .since_ns = t_ns};
        return 0;
    }
    if (amount < standing->least)
        standing->least = amount;
    if (t_ns - standing->since_ns < PERIOD_NS)
        return 0;
    uint64_t least = standing->least;
    *standing = (struct standing){.least = amount, .since_ns = t_ns};
    return least;
}
