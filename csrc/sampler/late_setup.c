/* Set up the sampler's own process, once the target has been loaded: priority, standard files, descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

/* Replace the standard files by /dev/null, and close the descriptors that were passed to the target. Otherwise a pipe
 * that the target writes to would be closed when the sampler ends, not when the target closes it. */
static void close_target_files(const struct sampler *s)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    close(null);
    for (uint32_t i = 0; s->target_setup != NULL && i < s->target_setup->npassed_fds; i++)
        close(s->head->first_passed_fd + (int)i);
}

/*
 * Raise the sampler's priority. With equal priority the sampler is late at every tick among hundreds of busy processes.
 * Among a thousand processes that fork it gets no CPU for minutes, and could not kill them. A session of its own gets,
 * where the kernel groups tasks by session (autogroup), as much CPU as all of the target's processes together. Root can
 * use SCHED_FIFO.
 */
static void raise_priority(struct sampler *s)
{
    syscall(SYS_setsid);
    setpriority(PRIO_PROCESS, 0, -20); /* for the time between fifo_leave and fifo_enter */
    s->late_setup.is_fifo = true;
    fifo_enter(s);
}

void fifo_enter(struct sampler *s)
{
    struct sched_param lowest = {.sched_priority = 1};
    int policy = SCHED_FIFO | SCHED_RESET_ON_FORK;
    s->late_setup.is_fifo = s->late_setup.is_fifo && syscall(SYS_sched_setscheduler, 0, policy, &lowest) == 0;
}

/*
 * Leave SCHED_FIFO until `fifo_enter`. In some system calls the kernel waits in a loop for another task. On the CPU
 * where a SCHED_FIFO process loops, that task gets no CPU time. Both stop for 0.95 s, until the kernel's limit for such
 * processes (sched_rt_runtime_us) ends the wait.
 */
void fifo_leave(struct sampler *s)
{
    struct sched_param none = {0};
    if (s->late_setup.is_fifo)
        syscall(SYS_sched_setscheduler, 0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none);
}

/* Return whether /proc is that of the sampler's PID namespace. The PIDs of another namespace are those of unrelated
 * processes: then nothing may be read, and /proc is closed. */
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

/* Do the setup once. Before the first tick it would only delay the target on a machine with few CPUs. */
void late_setup(struct sampler *s)
{
    if (s->late_setup.done)
        return;
    s->late_setup.done = true;
    vdso_use();
    self_store_size(s);
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    raise_priority(s);
    close_target_files(s);
    if (!proc_is_of_own_namespace(s))
        track_set_missing(&s->head->tracks[CM_CHILDREN], ESRCH,
                          "/proc belongs to another PID namespace: mount the right one (unshare --mount-proc)");
    tree_open(s);
    pid_scan_begin(s);
    pss_begin(s);
    merged_pages_open(s);
    s->head->statm_exact = self_statm_is_exact(s);
}
