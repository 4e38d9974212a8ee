/*
 * The kernel resources of a measurement: the sampler and through it the whole tree, descriptors, folders of control
 * groups. They are stored in one object that exists before any of them, and only C writes there what it opens. cffi
 * calls cm_release when the object is freed. So an exception that a signal handler raises in Python cannot lose a
 * process or a descriptor: between two byte codes either C has stored it or it does not exist.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/internal.h"

#define SECOND_NS 1000000000ull

enum {
    END_TIMEOUT_S = 30, /* kill a sampler that has not ended its tree by then, */
    KILL_TIMEOUT_S = 2, /* and return an error after this */
};

static bool is_ours(const struct cm_resources *r)
{
    return r->owner_pid == getpid();
}

/* A lock between the threads that use the sampler's pidfd and the one that closes it. It is held for a system call,
 * never while Python runs, so a signal handler cannot find it locked by its own thread. A forked child has no other
 * thread that could unlock it. */
static void lock(struct cm_resources *r)
{
    while (is_ours(r) && __atomic_exchange_n(&r->locked, 1, __ATOMIC_ACQUIRE))
        sched_yield();
}

static void unlock(struct cm_resources *r)
{
    __atomic_store_n(&r->locked, 0, __ATOMIC_RELEASE);
}

static int send_signal(int pidfd, int number)
{
    return syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) < 0 ? -errno : 0;
}

/* Let the sampler kill its tree, even if it has been stopped. */
static int end_sampler(int pidfd)
{
    int done = send_signal(pidfd, SIGTERM);
    send_signal(pidfd, SIGCONT);
    return done;
}

/* Wait for the end of a process. Signals do not shorten it: their handlers run in Python, after this. */
static bool ends_within(int pidfd, uint64_t ns)
{
    struct pollfd waited = {.fd = pidfd, .events = POLLIN};
    uint64_t until_ns = cm_now_ns() + ns, now_ns = until_ns - ns;
    while (now_ns <= until_ns) {
        if (poll(&waited, 1, (int)((until_ns - now_ns) / 1000000) + 1) > 0)
            return true;
        now_ns = cm_now_ns();
    }
    return false;
}

int cm_stop(struct cm_resources *r)
{
    lock(r);
    int done = r->sampler.is_open ? end_sampler(r->sampler.fd) : -ESRCH;
    unlock(r);
    return done;
}

int cm_has_ended(struct cm_resources *r)
{
    lock(r);
    bool ended = !r->sampler.is_open || ends_within(r->sampler.fd, 0);
    unlock(r);
    return ended;
}

int cm_end(struct cm_resources *r)
{
    lock(r);
    struct cm_file sampler = r->sampler;
    r->sampler.is_open = 0;
    unlock(r);
    bool ended = !sampler.is_open;
    if (!ended && is_ours(r) && cm_file_is_valid(&sampler)) {
        end_sampler(sampler.fd);
        ended = ends_within(sampler.fd, END_TIMEOUT_S * SECOND_NS);
        if (!ended && send_signal(sampler.fd, SIGKILL) == 0)
            ended = ends_within(sampler.fd, KILL_TIMEOUT_S * SECOND_NS);
        siginfo_t info; /* there is no child if SIGCHLD is ignored, or if another thread waited for any child */
        waitid(P_PIDFD, (id_t)sampler.fd, &info, WEXITED | WNOHANG);
    }
    cm_close(&sampler);
    return ended ? 0 : -ETIMEDOUT;
}

void cm_close_target_streams(struct cm_resources *r)
{
    for (int i = 0; i < CM_STREAMS; i++)
        cm_close(&r->target_streams[i]);
}

void cm_release(struct cm_resources *r)
{
    cm_end(r);
    cm_close_target_streams(r);
    for (int i = 0; i < CM_STREAMS; i++)
        cm_close(&r->readers[i]);
    for (int i = 0; i < CM_GROUP_FOLDERS; i++) {
        if (is_ours(r))
            cm_remove_group(&r->groups[i]);
        else
            cm_forget_group(&r->groups[i]);
    }
}

int cm_launch(struct cm_head *head, struct cm_spawn *spawn, struct cm_resources *r)
{
    if (spawn->nfds < 4 || spawn->nfds > CM_MAX_FDS || spawn->argv[0] == NULL)
        return -EINVAL;
    if (spawn->envp == NULL)
        spawn->envp = environ;
    /* The sampler starts with every signal blocked, so that none arrives before it is ready. The target gets the
     * calling thread's present mask. */
    struct cm_setup setup = {.signal_mask = ~(uint64_t)0};
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &head->signal_mask, sizeof head->signal_mask);
    head->host_pid = getpid();
    int pidfd = -1, pid = cm_start(spawn, &setup, &pidfd);
    return pid < 0 ? pid : cm_file_set(&r->sampler, pidfd);
}
