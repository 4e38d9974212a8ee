/*
 * Decide when the next tick is.
 *
 * With a fixed interval, ticks are due on its grid. Otherwise the sampler has a budget: a share of one CPU. Credit
 * grows with the time and is spent by everything that this process does, as the kernel counts its CPU time. A tick
 * begins only if there is credit for one like the last ones, so a run costs at most its first credit and the share. A
 * debt, such as for a thousand new processes or for PSS, is paid back in several pauses.
 *
 * The first credit is for a fine timeline of short commands. Later, while the tree's memory stays the same, ticks take
 * half of what is earned until there is as much credit again. It is spent when memory changes.
 */
#include <time.h>

#include "sampler/sampler.h"

enum {
    CREDIT_NS = 20000000,      /* at the start, and what can be saved */
    TICK_SHARE = 4,            /* with a fixed interval, a tick takes at most one part in so many of the time */
    WAKE_UP = 3,               /* a wake-up costs at most so many times as much as the tick */
    SMOOTHING = 8,             /* the cost of a tick is a mean in which the last one weighs one part in so many */
    CHANGED_SHARE = 64,        /* memory that changes by less than one part in so many stays the same */
    LATELY_NS = 20000000,      /* memory that has changed is expected to change again for so long */
    DEBT_PAUSE_NS = 100000000, /* the longest pause for what was spent beyond the ticks, such as on new processes */
    LIMIT_PAUSE_NS = 20000000, /* with a limit that is checked at ticks, the longest pause between two ticks */
    FIXED_PPM = 60000,         /* with a fixed interval, the share by which the parts of a tick pace themselves */
};
#define MILLION 1000000u

/* Return the CPU time of this process. */
uint64_t budget_own_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void budget_begin(struct sampler *s)
{
    s->budget.credit_ns = CREDIT_NS;
    s->budget.credited_ns = s->head->start_ns;
    s->budget.cpu_ns = budget_own_cpu_ns(); /* what was spent before the target starts does not disturb it */
}

/* Return how long something that took `cost_ns` of CPU time pauses, if it is one of `parts` parts of the budget. */
uint64_t budget_pause(const struct sampler *s, uint64_t cost_ns, uint64_t parts)
{
    uint64_t share_ppm = s->head->cpu_budget_ppm != 0 ? s->head->cpu_budget_ppm : FIXED_PPM;
    return cost_ns * parts * MILLION / share_ppm;
}

/* Return whether the tree's memory is changing, or has changed lately. */
static bool is_changing(struct budget *budget, uint64_t pages, uint64_t now_ns)
{
    uint64_t before = budget->pages, change = pages > before ? pages - before : before - pages;
    if (change > before / CHANGED_SHARE) {
        budget->pages = pages;
        budget->changed_ns = now_ns;
    }
    return now_ns - budget->changed_ns < LATELY_NS;
}

/* Count what was spent and earned since the last time. Return what was spent. */
static uint64_t settle(struct sampler *s, uint64_t now_ns)
{
    struct budget *budget = &s->budget;
    uint64_t cpu_ns = budget_own_cpu_ns(), spent_ns = cpu_ns - budget->cpu_ns;
    uint64_t earned_ns = (now_ns - budget->credited_ns) * s->head->cpu_budget_ppm / MILLION;
    budget->credit_ns += (int64_t)earned_ns - (int64_t)spent_ns;
    if (budget->credit_ns > CREDIT_NS)
        budget->credit_ns = CREDIT_NS;
    budget->credited_ns = now_ns;
    budget->cpu_ns = cpu_ns;
    return spent_ns;
}

/* Return whether something other than a tick may wake the sampler up. */
bool budget_allows_wake_up(struct sampler *s)
{
    if (s->head->cpu_budget_ppm == 0)
        return true;
    if (s->exit_records.fd >= 0)
        settle(s, cm_now_ns());
    return s->budget.credit_ns > (int64_t)s->budget.tick_ns;
}

static uint64_t pause_ns(struct sampler *s, bool changes)
{
    struct budget *budget = &s->budget;
    uint64_t even_ns = budget->tick_ns * MILLION / s->head->cpu_budget_ppm; /* earns one tick */
    int64_t missing_ns = (int64_t)budget->tick_ns - budget->credit_ns;
    if (missing_ns > 0) {
        uint64_t until_ns = (uint64_t)missing_ns * MILLION / s->head->cpu_budget_ppm;
        budget->first_is_spent = true;
        uint64_t longest_ns = 2 * even_ns > DEBT_PAUSE_NS ? 2 * even_ns : DEBT_PAUSE_NS; /* half of it pays the debt */
        return until_ns < even_ns ? even_ns : until_ns < longest_ns ? until_ns : longest_ns;
    }
    if (changes || !budget->first_is_spent)
        return 0;
    return budget->credit_ns < CREDIT_NS - (int64_t)budget->tick_ns ? 2 * even_ns : even_ns;
}

/* A tick begins. Since the last one, CPU time was spent on the wake-up, and perhaps on processes that ended. */
void budget_tick_begins(struct sampler *s, uint64_t now_ns)
{
    if (s->head->cpu_budget_ppm != 0)
        s->budget.before_ns = settle(s, now_ns);
}

/* A tick that began at `began_ns` has ended, and the tree has this many pages: set the time of the next one. */
void budget_schedule(struct sampler *s, uint64_t began_ns, uint64_t pages)
{
    struct ticks *ticks = &s->ticks;
    uint64_t now_ns = cm_now_ns(), interval_ns = s->head->interval_ns;
    if (s->head->cpu_budget_ppm == 0) {
        uint64_t cost_ns = now_ns - began_ns - ticks->pss_ns; /* the cost of PSS has its own budget */
        uint64_t until_ns = cost_ns > interval_ns / TICK_SHARE ? began_ns + TICK_SHARE * cost_ns : now_ns;
        ticks->row_ns += interval_ns;
        uint64_t rows = until_ns > ticks->row_ns ? (until_ns - ticks->row_ns + interval_ns - 1) / interval_ns : 0;
        ticks->due_ns = ticks->row_ns + rows * interval_ns;
        return;
    }
    uint64_t cost_ns = settle(s, now_ns) - s->ticks.pss_cpu_ns, mean_ns = s->budget.tick_ns;
    cost_ns += s->budget.before_ns < WAKE_UP * cost_ns ? s->budget.before_ns : WAKE_UP * cost_ns;
    s->budget.tick_ns = mean_ns == 0 ? cost_ns : mean_ns - mean_ns / SMOOTHING + cost_ns / SMOOTHING;
    uint64_t wait_ns = pause_ns(s, is_changing(&s->budget, pages, now_ns));
    if ((s->head->memory_limit_bytes != 0 || s->head->processes_limit != 0) && wait_ns > LIMIT_PAUSE_NS)
        wait_ns = LIMIT_PAUSE_NS;
    ticks->due_ns = now_ns + wait_ns > began_ns + interval_ns ? now_ns + wait_ns : began_ns + interval_ns;
}
