/*
 * Start a process without copying the caller: clone(CLONE_VM | CLONE_VFORK), then exec.
 *
 * This takes 40 microseconds, whether the caller has 4 GiB or 10 MiB. The extension starts the sampler with it, and
 * the sampler starts the target. Between clone and exec the child runs in the caller's memory, on its own stack, with
 * all signals blocked, and only makes system calls. The caller is suspended until the child's exec or exit. So the
 * child stores an error in that memory. A pipe that the exec closes would also report it, but would cost one more sleep
 * and wake-up of the caller while the target waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/internal.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

enum { STACK_BYTES = 64 * 1024 };

struct child {
    struct cm_spawn *spawn;
    const struct cm_setup *setup;
    struct cm_group *clone_group; /* entered by the clone itself */
    int parent;                   /* the PID of the caller */
    volatile int stage, error;    /* where it failed, and its errno */
};

/* Close every descriptor from `first` on at the exec, including those that other code opened. */
static void close_from(int first)
{
    if (syscall(SYS_close_range, first, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */) == 0)
        return;
    struct rlimit limit;
    int last = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 65536 ? (int)limit.rlim_cur : 65536;
    for (int fd = first; fd < last; fd++)
        fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static bool is_one_of(int fd, const int32_t *numbers, int n)
{
    for (int i = 0; i < n; i++)
        if (numbers[i] == fd)
            return true;
    return false;
}

/* Move `fds[i]` to its number. First duplicate each descriptor that has another number, to one that is not among these
 * numbers, because its number may be the target of another descriptor. */
static int place_fds(const struct cm_spawn *spawn)
{
    int copies[CM_MAX_FDS];
    for (int i = 0; i < spawn->nfds; i++) {
        int number = spawn->numbers != NULL ? spawn->numbers[i] : i, least = spawn->nfds;
        copies[i] = number;
        if (spawn->fds[i] == number && fcntl(number, F_SETFD, 0) == 0)
            continue;
        do
            copies[i] = fcntl(spawn->fds[i], F_DUPFD_CLOEXEC, least);
        while (spawn->numbers != NULL && is_one_of(copies[i], spawn->numbers, spawn->nfds) && (least = copies[i] + 1));
        if (copies[i] < 0 && errno == EBADF && i <= STDERR_FILENO) /* the host runs without this standard file */
            copies[i] = open("/dev/null", O_RDWR);                 /* open may return descriptor i itself */
        if (copies[i] < 0)
            return errno;
    }
    for (int i = 0; i < spawn->nfds; i++) {
        int number = spawn->numbers != NULL ? spawn->numbers[i] : i;
        if (copies[i] != number && dup2(copies[i], number) < 0)
            return errno;
    }
    close_from(spawn->numbers != NULL ? STDERR_FILENO + 1 : spawn->nfds);
    for (int i = STDERR_FILENO + 1; spawn->numbers != NULL && i < spawn->nfds; i++)
        if (fcntl(spawn->numbers[i], F_SETFD, 0) < 0)
            return errno;
    return 0;
}

/* Return the errno if a required group cannot be entered. If another one cannot be, the command runs all the same, and
 * its figure is missing. */
static int enter_groups(const struct child *child)
{
    struct cm_group *groups = child->setup->groups;
    int error = 0;
    for (struct cm_group *group = groups; group != NULL && group < groups + CM_GROUPS; group++) {
        if (group->fd >= 0 && group != child->clone_group)
            group->error = cm_group_enter(group->fd, group->version);
        if (group->is_required && group->error != 0)
            error = group->error;
    }
    return error;
}

/* Run in the child. Return an errno if a step fails. */
static int set_up_and_exec(struct child *child)
{
    const struct cm_spawn *spawn = child->spawn;
    child->stage = CM_STAGE_GROUP;
    int error = enter_groups(child);
    if (error != 0)
        return error;
    child->stage = CM_STAGE_FDS;
    error = place_fds(spawn);
    if (error != 0)
        return error;
    child->stage = CM_STAGE_CHDIR;
    if (spawn->cwd != NULL && chdir(spawn->cwd) < 0)
        return errno;
    if (child->setup->target != NULL && (error = cm_target_set_up(child->setup->target, &child->stage)) != 0)
        return error;
    /* If the sampler is killed, the kernel kills the root too. It sends this signal when the parent thread exits, and
     * the sampler has only one thread. An exec keeps the setting; a change of the user clears it, and a fork of the
     * target does not inherit it. */
    child->stage = CM_STAGE_EXEC;
    if (child->setup->dies_with_parent && prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return errno;
    if (child->setup->dies_with_parent && getppid() != child->parent) /* it has ended before the setting was made */
        return ESRCH;
    /* Make the system call directly: libc would keep its internal signals out of the mask. */
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &child->setup->signal_mask, NULL, sizeof(uint64_t));
    return cm_exec(spawn->argv, spawn->envp, child->setup->may_use_shell);
}

static int run_child(void *argument)
{
    struct child *child = argument;
    child->error = set_up_and_exec(child);
    _exit(127);
}

static struct cm_group *find_v2_group(const struct cm_setup *setup)
{
    for (struct cm_group *group = setup->groups; group != NULL && group < setup->groups + CM_GROUPS; group++)
        if (group->fd >= 0 && group->version == 2)
            return group;
    return NULL;
}

/* Return the PID of the new process, or -errno with `spawn->stage` set. Also open a pidfd, unless `pidfd` is NULL. */
int cm_start(struct cm_spawn *spawn, const struct cm_setup *setup, int *pidfd)
{
    char stack[STACK_BYTES] __attribute__((aligned(16)));
    struct child child = {.spawn = spawn, .setup = setup, .clone_group = find_v2_group(setup), .parent = getpid()};
    uint64_t every_signal = ~(uint64_t)0, before;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &every_signal, &before, sizeof every_signal);
    /* No exit signal: the host gets no SIGCHLD for a child that fails before its exec. The exec sets it. */
    int flags = CLONE_VM | CLONE_VFORK | (pidfd != NULL ? CLONE_PIDFD : 0), pid = -1;
    if (child.clone_group != NULL)
        pid = cm_clone_into(child.clone_group->fd, run_child, stack, sizeof stack, &child, pidfd);
    if (pid < 0) { /* no group, or one that the clone cannot enter: the child enters it itself */
        child.clone_group = NULL;
        pid = clone(run_child, stack + sizeof stack, flags, &child, pidfd);
    }
    int error = errno;
#ifdef __SANITIZE_ADDRESS__
    /* The child never returned from the stack frames that it had here, and the sanitizer still guards their edges. */
    __asan_unpoison_memory_region(stack, sizeof stack);
#endif
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);

    spawn->stage = pid < 0 ? CM_STAGE_SETUP : child.error != 0 ? child.stage : CM_STAGE_NONE;
    if (pid < 0)
        return -error;
    if (child.error == 0)
        return pid;
    siginfo_t info;
    while (waitid(P_PID, (id_t)pid, &info, WEXITED | __WALL) < 0 && errno == EINTR)
        ;
    if (pidfd != NULL)
        close(*pidfd);
    return -child.error;
}
