/* The sampler's main loop: wait for signals, the host's end, ticks and the timeout, from the target's start until the
 * tree has ended. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum {
    KILL_PAUSE_NS = 1000000,
    RECORDS_PAUSE_NS = 50000000, /* exit records are read at least as often as this */
};
enum { ON_SIGNAL, ON_HOST, ON_EXIT_RECORD, POLLED };

static sigset_t signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    return set;
}

static void on_signal(struct sampler *s, int fd)
{
    struct signalfd_siginfo infos[2]; /* at most one of each signal is ever pending */
    ssize_t got = read(fd, infos, sizeof infos);
    for (ssize_t i = 0; i < got / (ssize_t)sizeof *infos; i++)
        if (infos[i].ssi_signo == SIGTERM)
            kill_begin(s, CM_REASON_INTERRUPTED);
}

static void on_tick(struct sampler *s)
{
    struct cm_head *head = s->head;
    late_setup(s);
    uint64_t now_ns = cm_now_ns(), late_ns = now_ns - s->ticks.due_ns;
    head->late_ticks += late_ns > head->interval_ns / 2;
    if (head->cpu_budget_ppm == 0) {
        uint64_t dropped = (now_ns - s->ticks.row_ns) / head->interval_ns;
        head->dropped_rows += dropped;
        s->ticks.row_ns += dropped * head->interval_ns;
    }
    tick(s, now_ns);
}

static bool is_finished(const struct sampler *s)
{
    return s->ending.is_finished || (s->head->root_ended && s->head->leftover != CM_LEFTOVER_WAIT);
}

/*
 * Wait for the first tick without file descriptors. To open and close them would take a twentieth of the time of a
 * short command, because the kernel tends to run this process and the target on the same CPU. Until then the end of the
 * host is not noticed.
 */
static void wait_for_first_tick(struct sampler *s)
{
    uint64_t until_ns = s->ticks.due_ns, now_ns;
    sigset_t set = signals();
    if (kill_timeout_at(s) < until_ns)
        until_ns = kill_timeout_at(s);
    while (!is_finished(s) && (now_ns = cm_now_ns()) < until_ns) {
        struct timespec left = {.tv_nsec = (long)(until_ns - now_ns)};
        int number = (int)syscall(SYS_rt_sigtimedwait, &set, NULL, &left, sizeof(uint64_t));
        if (number == SIGTERM) {
            kill_begin(s, CM_REASON_INTERRUPTED);
            return;
        }
        if (number == SIGCHLD)
            reap_some(s);
    }
}

/* Open everything that is waited for from the first tick on. Return 0 or an errno. */
static int open_polled(struct sampler *s, struct pollfd *polled)
{
    struct cm_head *head = s->head;
    sigset_t set = signals();
    for (int i = 0; i < POLLED; i++)
        polled[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    if ((polled[ON_SIGNAL].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0 ||
        (polled[ON_HOST].fd = (int)syscall(SYS_pidfd_open, head->host_pid, 0)) < 0)
        return errno;
    if (getppid() != head->host_pid) /* the host has ended, and its PID may be another process's */
        kill_begin(s, CM_REASON_HOST_GONE);
    return 0;
}

/*
 * The root has ended. Unless the rest of its tree is waited for, make the last reading. Then kill the rest, as for a
 * limit, or leave it to the next subreaper or init, as the kernel does with all orphans. Between SIGTERM and SIGKILL of
 * a timeout do neither.
 */
static void end_after_root(struct sampler *s)
{
    if (!s->head->root_ended || s->head->leftover == CM_LEFTOVER_WAIT || s->ending.is_killing ||
        s->ending.is_terminating || s->ending.is_finished)
        return;
    late_setup(s);
    tick(s, cm_now_ns());
    if (s->ending.is_killing) /* the reading was above the memory limit */
        return;
    if (s->head->leftover == CM_LEFTOVER_KILL) {
        kill_begin(s, CM_REASON_NONE);
        return;
    }
    leftover_count(s, CM_PROCESS_LEFT);
    s->ending.is_finished = true;
}

/* Return how long to wait for a signal or the host's end at most. */
static uint64_t longest_wait_ns(const struct sampler *s)
{
    uint64_t now_ns = cm_now_ns(), until_ns = s->ticks.due_ns;
    if (s->ending.is_killing)
        return KILL_PAUSE_NS;
    if (kill_timeout_at(s) < until_ns)
        until_ns = kill_timeout_at(s);
    if (s->cpu_limit.due_ns < until_ns)
        until_ns = s->cpu_limit.due_ns;
    uint64_t wait_ns = minus(until_ns, now_ns);
    return s->exit_records.fd >= 0 && wait_ns > RECORDS_PAUSE_NS ? RECORDS_PAUSE_NS : wait_ns;
}

static int wait_for_events(struct pollfd *polled, uint64_t wait_ns)
{
    struct timespec wait = {(time_t)(wait_ns / 1000000000u), (long)(wait_ns % 1000000000u)};
    return (int)syscall(SYS_ppoll, polled, POLLED, &wait, NULL, sizeof(uint64_t));
}

static void run_until_finished(struct sampler *s, struct pollfd *polled)
{
    bool may_have_more = true; /* processes may have ended before the signalfd was opened */
    while (!s->ending.is_finished) {
        /* The sooner an exit record is read, the better the end of the process is known. Without credit it waits. */
        polled[ON_EXIT_RECORD].fd = budget_allows_wake_up(s) ? s->exit_records.fd : -1;
        int ready = wait_for_events(polled, may_have_more ? 0 : longest_wait_ns(s));
        if (ready < 0 && errno != EINTR)
            kill_begin(s, CM_REASON_INTERRUPTED);
        if (polled[ON_SIGNAL].revents)
            on_signal(s, polled[ON_SIGNAL].fd);
        if (polled[ON_HOST].revents)
            kill_begin(s, CM_REASON_HOST_GONE);
        uint64_t now_ns = cm_now_ns();
        kill_at_timeout(s, now_ns);
        cpu_limit_check(s, now_ns);
        if (s->ending.is_killing) {
            late_setup(s);
            polled[ON_HOST].fd = -1;
            kill_sweep(s);
        }
        /* Before the tick, which would read every zombie once more. */
        if (polled[ON_SIGNAL].revents || may_have_more || s->ending.is_killing)
            may_have_more = reap_some(s);
        end_after_root(s);
        if (now_ns >= s->ticks.due_ns && !s->ending.is_killing && !s->ending.is_finished)
            on_tick(s);
        else if (ready == 0 || polled[ON_EXIT_RECORD].revents)
            exit_records_drain(s, now_ns - s->head->start_ns);
    }
}

int loop(struct sampler *s)
{
    wait_for_first_tick(s);
    if (s->ending.is_finished)
        return 0;
    struct pollfd polled[POLLED];
    int error = open_polled(s, polled);
    if (error != 0)
        kill_begin(s, CM_REASON_INTERRUPTED);
    run_until_finished(s, polled);
    return error;
}
