/*
 * concmem-sampler FD COMMAND [ARGUMENTS...]: launches the command, measures it and all that it starts, and reaps them.
 *
 * FD is the shared memory of one measurement (concmem.h), FD + 1 an eventfd that is written to when all is over. Started
 * by cm_launch with every signal blocked. One thread, no memory asked for after the start. Exits with 0 once its last
 * words are in the head, with 125 where it could not begin. It ends the whole tree when the time is up, when the host
 * tells it to (SIGTERM) and when the host is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sampler.h"

enum { FAILED = 125, KILL_PAUSE_MS = 1, FIRST_TICK_NS = 1000000 };
enum { ON_SIGNAL, ON_TICK, ON_HOST, ON_TIMEOUT, ON_EXIT_RECORD, WAITED };

extern char **environ;
static struct sampler sampler;

static int fail(struct cm_head *head, int stage, int error)
{
    head->stage = (uint32_t)stage;
    head->error = error;
    __atomic_store_n(&head->phase, CM_PHASE_FAILED, __ATOMIC_RELEASE);
    return FAILED;
}

static struct cm_head *map_head(int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0 || status.st_size < (off_t)sizeof(struct cm_head))
        return NULL;
    void *base = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct cm_head *head = base;
    if (base == MAP_FAILED || memcmp(head->magic, "concmem", 8) != 0 || head->abi != CM_ABI ||
        head->size != (uint64_t)status.st_size)
        return NULL;
    return head;
}

static void arm(int timer_fd, uint64_t first_ns, uint64_t every_ns)
{
    struct itimerspec times = {
        .it_value = {(time_t)(first_ns / 1000000000u), (long)(first_ns % 1000000000u)},
        .it_interval = {(time_t)(every_ns / 1000000000u), (long)(every_ns % 1000000000u)},
    };
    timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &times, NULL);
}

static sigset_t signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    return set;
}

/* So that a pipe that the target writes to is closed when the target closes it, not when the sampler ends. */
static void let_go_of_standard_files(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    close(null);
}

static void on_signal(struct sampler *s, int fd)
{
    struct signalfd_siginfo infos[2]; /* of each signal no more than one is ever pending */
    ssize_t got = read(fd, infos, sizeof infos);
    for (ssize_t i = 0; i < got / (ssize_t)sizeof *infos; i++)
        if (infos[i].ssi_signo == SIGTERM)
            kill_begin(s, CM_REASON_INTERRUPTED);
}

/* Among hundreds of busy processes an equal is late at every tick, and against a thousand that fork it does not get the
 * CPU for minutes, and could not end them. Whoever has a session of its own has, where the kernel groups by session
 * (autogroup), as much of the CPU as all of the target's together. Root can do more. */
static void go_first(void)
{
    syscall(SYS_setsid);
    struct sched_param lowest = {.sched_priority = 1};
    if (syscall(SYS_sched_setscheduler, 0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest) < 0)
        setpriority(PRIO_PROCESS, 0, -20);
}

/* Where it is another PID namespace's, its numbers are those of strangers: nothing may be read then. */
static bool proc_is_own(struct sampler *s)
{
    char text[24];
    const char *at = text;
    long got = syscall(SYS_readlinkat, s->proc_fd, "self", text, sizeof text - 1);
    text[got > 0 ? got : 0] = 0;
    if ((int)cm_number(&at) == s->own_pid)
        return true;
    close(s->proc_fd);
    s->proc_fd = -1;
    return false;
}

/* What can wait until the target has been loaded: on a machine of few CPUs it would only be in its way. */
static void settle(struct sampler *s)
{
    if (s->settled)
        return;
    s->settled = true;
    own_size_note(s);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    go_first();
    let_go_of_standard_files();
    if (!proc_is_own(s))
        track_lacks(&s->head->tracks[CM_CHILDREN], ESRCH,
                    "/proc is that of another PID namespace: mount one's own (unshare has --mount-proc)");
    tree_open(s);
    numbers_begin(s);
    pss_begin(s);
    s->head->statm_exact = own_statm_is_exact(s);
}

static void on_tick(struct sampler *s, int fd)
{
    struct cm_head *head = s->head;
    uint64_t expired;
    if (read(fd, &expired, sizeof expired) != (ssize_t)sizeof expired)
        return;
    settle(s);
    uint64_t now_ns = cm_now_ns(), due_ns = s->due_ns + (expired - 1) * head->interval_ns;
    s->due_ns = due_ns + head->interval_ns;
    head->dropped_rows += expired - 1;
    if (now_ns < s->not_before_ns) {
        head->dropped_rows++;
        return;
    }
    head->late_ticks += expired > 1 || now_ns - due_ns > head->interval_ns / 2;
    tick(s, now_ns);
}

/*
 * A command that is over before anything is due is waited for without a descriptor: to make all of those, and to close
 * them, would take a twentieth of its time, as the kernel likes to run this process and the target on the same CPU. The
 * host is not watched meanwhile, and exit records cannot wait.
 */
static void wait_until_the_first_tick(struct sampler *s)
{
    uint64_t until_ns = s->due_ns, timeout_ns = s->head->timeout_ns, now_ns;
    sigset_t set = signals();
    if (timeout_ns != 0 && s->head->start_ns + timeout_ns < until_ns)
        until_ns = s->head->start_ns + timeout_ns;
    while (s->exits_fd < 0 && !s->no_children_left && (now_ns = cm_now_ns()) < until_ns) {
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

static void run(struct sampler *s, struct pollfd *waited)
{
    bool more = true; /* who ended before this was begun */
    while (!s->no_children_left) {
        if (poll(waited, WAITED, more ? 0 : s->killing ? KILL_PAUSE_MS : -1) < 0 && errno != EINTR)
            kill_begin(s, CM_REASON_INTERRUPTED);
        if (waited[ON_SIGNAL].revents)
            on_signal(s, waited[ON_SIGNAL].fd);
        if (waited[ON_HOST].revents)
            kill_begin(s, CM_REASON_HOST_GONE);
        if (waited[ON_TIMEOUT].revents)
            kill_begin(s, CM_REASON_TIMEOUT);
        if (s->killing) {
            settle(s);
            waited[ON_TICK].fd = waited[ON_HOST].fd = waited[ON_TIMEOUT].fd = -1;
            kill_sweep(s);
        }
        /* Before the tick, which would look at every zombie once more. */
        if (waited[ON_SIGNAL].revents || more || s->killing)
            more = reap_some(s);
        if (waited[ON_EXIT_RECORD].revents)
            exits_drain(s, cm_now_ns() - s->head->start_ns);
        if (waited[ON_TICK].revents && !s->killing && !s->no_children_left)
            on_tick(s, waited[ON_TICK].fd);
    }
}

static void last_words(struct sampler *s, int over_fd)
{
    struct cm_head *head = s->head;
    struct rusage usage;
    uint64_t one = 1;
    uint64_t now_ns = cm_now_ns();
    while (s->nalive > 0)
        tree_remove(s, &s->members[s->alive[0]]);
    whole_end(s, now_ns - head->start_ns);
    for (uint32_t i = 0; i < head->ntracks; i++)
        cm_record_end(s->base, &head->tracks[i]);
    if (now_ns > s->due_ns)
        head->dropped_rows += (now_ns - s->due_ns) / head->interval_ns + 1;
    note_gap(s, now_ns);
    head->end_ns = s->last_tick_ns - head->start_ns;
    if (s->settled)
        own_size_note(s);
    getrusage(RUSAGE_SELF, &usage);
    head->sampler_cpu_ns = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
                           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
    __atomic_store_n(&head->phase, CM_PHASE_DONE, __ATOMIC_RELEASE);
    if (write(over_fd, &one, sizeof one) < 0)
        return; /* the host hears of the exit instead */
}

/* All that is waited for from the first tick on: 0 or an errno. */
static int begin(struct sampler *s, struct pollfd *waited)
{
    struct cm_head *head = s->head;
    sigset_t set = signals();
    for (int i = 0; i < WAITED; i++)
        waited[i] = (struct pollfd){.fd = -1, .events = POLLIN};
    waited[ON_EXIT_RECORD].fd = s->exits_fd;
    if ((waited[ON_SIGNAL].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0 ||
        (waited[ON_HOST].fd = (int)syscall(SYS_pidfd_open, head->host_pid, 0)) < 0 ||
        (waited[ON_TICK].fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) < 0)
        return errno;
    if (head->timeout_ns != 0 &&
        (waited[ON_TIMEOUT].fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) < 0)
        return errno;
    if (getppid() != head->host_pid) /* it has gone, and its number may be another's */
        kill_begin(s, CM_REASON_HOST_GONE);
    arm(waited[ON_TICK].fd, s->due_ns, head->interval_ns);
    if (head->timeout_ns != 0)
        arm(waited[ON_TIMEOUT].fd, head->start_ns + head->timeout_ns, 0);
    return 0;
}

int main(int argc, char **argv)
{
    struct sampler *s = &sampler;
    const char *number = argc > 2 ? argv[1] : "";
    int fd = (int)cm_number(&number);
    struct cm_head *head = argc > 2 ? map_head(fd) : NULL;
    if (head == NULL)
        return FAILED;
    s->head = head;
    s->base = (char *)head;
    s->own_pid = getpid();
    s->page_kib = (uint32_t)(sysconf(_SC_PAGESIZE) / 1024);
    tree_begin(s);
    whole_open(s);

    /* The target begins as one begun by a shell, with what it has from here: Python ignores SIGPIPE and SIGXFSZ. And
     * where SIGCHLD is ignored, nobody can be waited for. */
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
        return fail(head, CM_STAGE_SETUP, errno);
    if ((s->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return fail(head, CM_STAGE_SETUP, errno);
    if (getppid() != head->host_pid) /* it has gone already: nobody wants this any more */
        return fail(head, CM_STAGE_SETUP, ESRCH);
    head->start_ns = cm_now_ns();
    s->due_ns = head->start_ns + (head->interval_ns < FIRST_TICK_NS ? head->interval_ns : FIRST_TICK_NS);

    /* The target comes first: what this process is larger than it by then, the target's ru_maxrss would show. */
    struct cm_spawn spawn = {.argv = argv + 2, .envp = environ, .fds = {0, 1, 2}, .nfds = 3};
    struct cm_setup setup = {.signal_mask = head->signal_mask, .dies_with_parent = true, .groups = s->groups};
    int pid = cm_start(&spawn, &setup, NULL);
    if (pid < 0)
        return fail(head, spawn.stage, -pid);
    head->root_pid = pid;
    whole_entered(s);
    head->alive = head->max_alive = head->max_threads = 1;
    __atomic_store_n(&head->phase, CM_PHASE_RUNNING, __ATOMIC_RELEASE);

    wait_until_the_first_tick(s);
    if (!s->no_children_left) {
        struct pollfd waited[WAITED];
        int error = begin(s, waited);
        if (error != 0)
            kill_begin(s, CM_REASON_INTERRUPTED);
        run(s, waited);
        if (error != 0)
            return fail(head, CM_STAGE_SETUP, error);
    }
    last_words(s, fd + 1);
    exits_close(s);
    return 0;
}
