/* What the sampler does for itself, and puts off until the target has been loaded. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

/* So that a pipe that the target writes to is closed when the target closes it, not when the sampler ends. */
static void close_standard_files(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    close(null);
}

/* Among hundreds of busy processes an equal is late at every tick, and against a thousand that fork it does not get the
 * CPU for minutes, and could not end them. Whoever has a session of its own has, where the kernel groups by session
 * (autogroup), as much of the CPU as all of the target's together. Root can do more. */
static void raise_priority(struct sampler *s)
{
    syscall(SYS_setsid);
    setpriority(PRIO_PROCESS, 0, -20); /* for when it gives way */
    s->late_setup.is_fifo = true;
    fifo_enter(s);
}

void fifo_enter(struct sampler *s)
{
    struct sched_param lowest = {.sched_priority = 1};
    s->late_setup.is_fifo = s->late_setup.is_fifo && syscall(SYS_sched_setscheduler, 0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest) == 0;
}

/*
 * Until `fifo_enter`. In some calls the kernel waits in a loop for another task to finish, and on the CPU where a
 * SCHED_FIFO process loops, that task does not get a turn: both stand for 0.95 s, when the kernel's limit for such
 * processes (sched_rt_runtime_us) ends it.
 */
void fifo_leave(struct sampler *s)
{
    struct sched_param none = {0};
    if (s->late_setup.is_fifo)
        syscall(SYS_sched_setscheduler, 0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none);
}

/* Where it is another PID namespace's, its numbers are those of strangers: nothing may be read then. */
static bool proc_is_of_own_namespace(struct sampler *s)
{
    char text[24];
    const char *at = text;
    long got = syscall(SYS_readlinkat, s->proc_fd, "self", text, sizeof text - 1);
    text[got > 0 ? got : 0] = 0;
    if ((int)cm_parse_number(&at) == s->own_pid)
        return true;
    close(s->proc_fd);
    s->proc_fd = -1;
    return false;
}

/* On a machine of few CPUs it would only be in the target's way before. */
void late_setup(struct sampler *s)
{
    if (s->late_setup.done)
        return;
    s->late_setup.done = true;
    self_store_size(s);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    raise_priority(s);
    close_standard_files();
    if (!proc_is_of_own_namespace(s))
        track_set_missing(&s->head->tracks[CM_CHILDREN], ESRCH,
                    "/proc is that of another PID namespace: mount one's own (unshare has --mount-proc)");
    tree_open(s);
    pid_scan_begin(s);
    pss_begin(s);
    s->head->statm_exact = self_statm_is_exact(s);
}
