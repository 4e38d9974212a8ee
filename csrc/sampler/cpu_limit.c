/*
 * Kill the tree when it has used its CPU time.
 *
 * The time is the sum of what reaped processes used, of the CPU clock of each living process, which counts nanoseconds,
 * and of the children that it has waited for, which /proc/PID/stat has. It is read when the tree can have used the rest
 * of the limit at the earliest, that is if it kept every CPU busy since. So a tree of one thread is read a few times
 * shortly before its limit, and not at every tick.
 */
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum {
    CHECK_NS = 1000000,       /* the shortest time between two readings, */
    COST_SHARE = 4,           /* of which they take at most one part in so many */
    CLOCK_TICK_NS = 10000000, /* USER_HZ is 100 */
};

/* Not inlined: few commands need the stack for it. */
static __attribute__((noinline)) uint64_t count_cpus(void)
{
    uint64_t words[CM_CPU_WORDS] = {0}, cpus = 0;
    if (syscall(SYS_sched_getaffinity, 0, sizeof words, words) <= 0)
        return 1;
    for (int i = 0; i < CM_CPU_WORDS; i++)
        for (uint64_t left = words[i]; left != 0; left &= left - 1)
            cpus++;
    return cpus > 0 ? cpus : 1;
}

/* Return the CPU time of all threads of a process, 0 if it is gone. */
static uint64_t clock_of(int pid)
{
    struct timespec t;
    clockid_t clock = (clockid_t)(~(unsigned)pid << 3 | 2); /* as clock_getcpuclockid: bits 0 to 2 are CPUCLOCK_SCHED */
    if (clock_gettime(clock, &t) < 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Read the CPU time of all members. */
static uint64_t read_members(struct sampler *s)
{
    struct cm_stat stat;
    uint64_t sum_ns = 0;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        m->cpu_ns = member_read_stat(s, m, &stat) == 0 ? clock_of(m->pid) + stat.child_cpu_ticks * CLOCK_TICK_NS : 0;
        sum_ns += m->cpu_ns;
    }
    return sum_ns;
}

/* Return what processes counted that have been waited for since they were read: their parents may have counted it
 * again, if they were read after them. */
static uint64_t counted_twice(struct sampler *s)
{
    struct cm_stat stat;
    uint64_t sum_ns = 0;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        if (member_read_stat(s, m, &stat) != 0)
            sum_ns += m->cpu_ns;
    }
    return sum_ns;
}

void cpu_limit_begin(struct sampler *s)
{
    s->cpu_limit.due_ns = UINT64_MAX;
    if (s->head->cpu_limit_ns == 0)
        return;
    s->cpu_limit.cpus = count_cpus();
    s->cpu_limit.due_ns = s->head->start_ns + s->head->cpu_limit_ns / s->cpu_limit.cpus;
}

void cpu_limit_check(struct sampler *s, uint64_t now_ns)
{
    const struct cm_head *head = s->head;
    if (now_ns < s->cpu_limit.due_ns || s->ending.is_killing)
        return;
    uint64_t began_ns = budget_own_cpu_ns();
    uint64_t used_ns = head->user_ns + head->system_ns + read_members(s);
    if (used_ns >= head->cpu_limit_ns)
        used_ns -= counted_twice(s);
    if (used_ns >= head->cpu_limit_ns) {
        kill_begin(s, CM_REASON_CPU_LIMIT);
        return;
    }
    uint64_t wait_ns = (head->cpu_limit_ns - used_ns) / s->cpu_limit.cpus;
    uint64_t paced_ns = COST_SHARE * (budget_own_cpu_ns() - began_ns);
    if (wait_ns < paced_ns)
        wait_ns = paced_ns;
    s->cpu_limit.due_ns = now_ns + (wait_ns > CHECK_NS ? wait_ns : CHECK_NS);
}
