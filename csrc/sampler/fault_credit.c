/*
 * Pass the page faults of processes that end on to those that have waited for them, so that none counts twice.
 *
 * The kernel adds the faults of a process to its parent's count of children's faults when the parent waits for it.
 * Those that were read before are known already.
 */
#include "sampler/sampler.h"

enum { FEW_FAULTS = 4 };

static const char *problem_text(uint32_t problem)
{
    switch (problem) {
    case CM_FAULTS_UNEXPLAINED:
        return "memory was added without page faults";
    case CM_FAULTS_LOST:
        return "a process lets the kernel reap its children";
    default:
        return "page faults cannot be read";
    }
}

/* Give the bound up, for this reason. */
void fault_set_problem(struct sampler *s, uint32_t problem, int pid)
{
    if (s->head->fault_bound_problem == CM_FAULTS_KNOWN) {
        DEBUG_DETAIL(pid, "no bound by page faults from now on", problem_text(problem), 0);
        s->head->fault_bound_problem = problem;
    }
}

/* Let the children go that a member has waited for. */
void fault_ledger_depart_children(struct sampler *s, const struct member *m)
{
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *child = alive_at(s, i);
        if (child->parent == m->pid && leader_exited_state(s, child) == PROCESS_GONE)
            fault_ledger_depart(s, child);
    }
}

/* A member has left. What it alone has brought into memory is free: no other process can have it without a fork. */
static void settle(struct sampler *s, struct member *m)
{
    if (!m->ledger.has_forked)
        s->fault_ledger.freed_now += m->ledger.own;
    s->fault_ledger.departed_shared += m->ledger.shared;
    m->ledger.is_settled = true;
}

/* A member is gone. If its parent has waited for it, the parent's count of children's faults has just risen by those
 * that are known already. */
void fault_ledger_depart(struct sampler *s, struct member *m)
{
    if (m->ledger.is_settled)
        return;
    settle(s, m);
    fault_ledger_depart_children(s, m);
    struct member *parent = tree_find(s, m->parent);
    uint64_t known = m->ledger.own + m->ledger.children;
    if (parent != NULL) {
        parent->ledger.credited += known;
        parent->ledger.departed += known + m->ledger.departed;
    }
}

/* The sampler has reaped a process, with these faults of itself and of the children that it waited for. */
void fault_ledger_reap(struct sampler *s, struct member *m, uint64_t minor, uint64_t major)
{
    struct fault_ledger *ledger = &s->fault_ledger;
    uint64_t known = 0, known_major = 0;
    if (m != NULL) {
        if (minor + major > m->ledger.own + m->ledger.children + FEW_FAULTS)
            fault_ledger_depart_children(s, m);
        known = m->ledger.own + m->ledger.children + m->ledger.departed;
        known_major = m->ledger.major;
        settle(s, m);
    }
    ledger->late_faults += minus(minor + major, known);
    ledger->late_major += minus(major, known_major);
}
