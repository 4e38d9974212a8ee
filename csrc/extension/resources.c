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
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "shared/internal.h"

#define SECOND_NS 1000000000ull

enum {
    END_TIMEOUT_S = 30, /* kill a sampler that has not ended its tree by then, */
    KILL_TIMEOUT_S = 2, /* and return an error after this */
    START_PAUSE_NS = 30000,
    START_PAUSES = 100,
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

/*
 * The root is the sampler's child. Once the sampler has reaped it, its PID can be another process's. The sampler sets
 * `root_ended` before it reaps the root, so a descriptor that was opened before that is the root's. Otherwise the
 * descriptor is one that is readable at once.
 */
static int open_root(struct cm_resources *r, const struct cm_head *head)
{
    if (head->root_pid == 0)
        return -EAGAIN;
    int fd = cm_root_ended(head) ? -1 : (int)syscall(SYS_pidfd_open, head->root_pid, 0);
    if (fd < 0 && !cm_root_ended(head))
        return -errno;
    if (cm_root_ended(head)) {
        if (fd >= 0)
            close(fd);
        fd = eventfd(1, EFD_CLOEXEC);
    }
    return cm_file_set(&r->root, fd);
}

int cm_root_fd(struct cm_resources *r, const struct cm_head *head)
{
    lock(r);
    int error = r->root.is_open ? 0 : open_root(r, head);
    int fd = error < 0 ? error : r->root.fd;
    unlock(r);
    return fd;
}

int cm_signal_root(struct cm_resources *r, const struct cm_head *head, int number)
{
    lock(r);
    int error = r->root.is_open ? 0 : open_root(r, head);
    if (error == 0)
        error = cm_root_ended(head) ? -ESRCH : send_signal(r->root.fd, number);
    unlock(r);
    return error;
}

int cm_wait_started(struct cm_resources *r, const struct cm_head *head)
{
    struct timespec pause = {.tv_nsec = START_PAUSE_NS};
    for (int i = 0; i < START_PAUSES; i++) {
        if (cm_phase(head) != CM_PHASE_NEW || cm_has_ended(r))
            return 1;
        nanosleep(&pause, NULL);
    }
    return 0;
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
    lock(r);
    cm_close(&r->root);
    unlock(r);
    cm_close_target_streams(r);
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
