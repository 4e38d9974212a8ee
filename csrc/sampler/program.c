/*
 * Notice that a process has executed another program. Its high-water mark then starts anew, and what it held before is
 * in no mark that is read later.
 */
#include "sampler/sampler.h"

/* Return whether an address is random. Without randomization (setarch -R) the stack of every program begins a few pages
 * below the end of the address space. */
static bool is_random(uint64_t stack)
{
    enum { HIGH_BIT = 46, LOW_BIT = 24 }; /* the smallest address space has 47 bits */
    uint64_t mask = (UINT64_C(1) << (HIGH_BIT + 1)) - (UINT64_C(1) << LOW_BIT);
    return (stack & mask) != mask;
}

/*
 * Its stat was read. An exec moves the stack to another random address. With the same address as before, the mark that
 * was read last is that of this program. A process that has the stack of its parent was forked, and has executed
 * nothing.
 */
void program_note(struct sampler *s, struct member *m, const struct cm_stat *stat)
{
    struct cm_process *entry = member_row(s, m);
    if (entry == NULL || stat->stack == 0) /* not allowed, or it has given up its memory */
        return;
    if (stat->stack != m->stack) {
        const struct member *parent = m->stack == 0 ? tree_find(s, stat->ppid) : NULL;
        bool is_fork = parent != NULL && parent->stack == stat->stack;
        m->stack = stat->stack;
        entry->program_since_ns = is_fork ? entry->since_ns : cm_now_ns() - s->head->start_ns;
    }
    entry->program_until_ns = is_random(stat->stack) ? m->status_ns : 0;
}
