/*
 * Start a process in a control group. Version 2 takes the group as an argument of clone3 (CLONE_INTO_CGROUP, Linux
 * 5.7): no page is charged elsewhere, and the lock of all groups is not taken. Version 1 has no such call: the child
 * moves itself before its exec, while all the memory that it touches is still its parent's.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared/internal.h"

/* As in linux/sched.h since 5.7. Older headers lack `cgroup`. */
struct arguments {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
#define INTO_CGROUP 0x200000000u

/* Move the calling process, a child between clone and exec. Return 0 or an errno. It has one thread, so `tasks` of
 * version 1 will do: it does not take the lock of all thread groups, for which the kernel waits up to 30 ms. */
int cm_group_enter(int dir_fd, int version)
{
    int fd = openat(dir_fd, version == 1 ? "tasks" : "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int error = write(fd, "0", 1) == 1 ? 0 : errno;
    close(fd);
    return error;
}

#ifdef __x86_64__

/* libc has no such call: the child must continue at `function`, on the stack that the kernel gave it. Return -1 and
 * set errno if it fails: ENOSYS if this kernel has no clone3 or no such flag. */
int cm_clone_into(int group_fd, int (*function)(void *), char *stack, size_t stack_bytes, void *argument, int *pidfd)
{
    struct arguments all = {
        .flags = CLONE_VM | CLONE_VFORK | INTO_CGROUP | (pidfd != NULL ? CLONE_PIDFD : 0),
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .stack = (uint64_t)(uintptr_t)stack,
        .stack_size = stack_bytes,
        .cgroup = (uint64_t)group_fd,
    };
    register long r12 __asm__("r12") = (long)function;
    register long r13 __asm__("r13") = (long)argument;
    long result;
    __asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\tmov %%r13, %%rdi\n\tcall *%%r12\n\thlt\n1:"
                     : "=a"(result)
                     : "0"((long)SYS_clone3), "D"(&all), "S"(sizeof all), "r"(r12), "r"(r13)
                     : "rcx", "r11", "memory");
    if (result >= 0)
        return (int)result;
    errno = (int)-result;
    return -1;
}

#else

int cm_clone_into(int group_fd, int (*function)(void *), char *stack, size_t stack_bytes, void *argument, int *pidfd)
{
    (void)group_fd, (void)function, (void)stack, (void)stack_bytes, (void)argument, (void)pidfd;
    errno = ENOSYS;
    return -1;
}

#endif
