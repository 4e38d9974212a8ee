/*
 * The part of the C library that the sampler uses, on bare system calls. x86-64 only. Elsewhere, and under a sanitizer,
 * the same sources are linked with libc.
 *
 * Two reasons. libc's start queries the CPU's caches with some 50 CPUID instructions, each of which leaves a virtual
 * machine: a quarter of a millisecond for every command measured. And the sampler's own size is the lowest value that
 * the root's ru_maxrss can have: 60 KiB without libc, over 500 KiB with it.
 */
#include "sampler/sampler.h"

#ifdef CM_FREESTANDING

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv);

static int the_errno; /* one thread; a child between clone and exec runs while its parent is suspended */
/* Like all static objects here 0 at first: so there is no .data, whose page the kernel would have to read and copy
 * at the start. */
static long page_bytes;
char **environ;

int *__errno_location(void)
{
    return &the_errno;
}

static long raw(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static long checked(long result)
{
    if (result >= 0 || result < -4095)
        return result;
    the_errno = (int)-result;
    return -1;
}

#define CALL(number, ...) CALL_(number, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_(number, a, b, c, d, e, f, ...) \
    checked(raw(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f)))

long syscall(long number, ...)
{
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    return checked(raw(number, a[0], a[1], a[2], a[3], a[4], a[5]));
}

static long third(va_list list)
{
    long value = va_arg(list, long);
    va_end(list);
    return value;
}

/* One system call a line. */
/* clang-format off */
#define VARIADIC(last) ({ va_list list; va_start(list, last); third(list); })

int open(const char *file, int flags, ...) { return (int)CALL(SYS_openat, AT_FDCWD, file, flags); }
int openat(int at, const char *file, int flags, ...) { return (int)CALL(SYS_openat, at, file, flags); }
int close(int fd) { return (int)CALL(SYS_close, fd); }
ssize_t read(int fd, void *to, size_t n) { return CALL(SYS_read, fd, to, n); }
ssize_t write(int fd, const void *from, size_t n) { return CALL(SYS_write, fd, from, n); }
ssize_t pread(int fd, void *to, size_t n, off_t at) { return CALL(SYS_pread64, fd, to, n, at); }
int fstat(int fd, struct stat *to) { return (int)CALL(SYS_fstat, fd, to); }
int fcntl(int fd, int command, ...) { return (int)CALL(SYS_fcntl, fd, command, VARIADIC(command)); }
int dup2(int from, int to) { return (int)CALL(SYS_dup2, from, to); }
int chdir(const char *folder) { return (int)CALL(SYS_chdir, folder); }
int execve(const char *file, char *const argv[], char *const envp[]) { return (int)CALL(SYS_execve, file, argv, envp); }
int prctl(int option, ...) { return (int)CALL(SYS_prctl, option, VARIADIC(option)); }
int getrlimit(__rlimit_resource_t what, struct rlimit *to) { return (int)CALL(SYS_getrlimit, what, to); }
int setrlimit(__rlimit_resource_t what, const struct rlimit *to) { return (int)CALL(SYS_setrlimit, what, to); }
int setpriority(__priority_which_t which, id_t who, int value) { return (int)CALL(SYS_setpriority, which, who, value); }
int kill(pid_t pid, int number) { return (int)CALL(SYS_kill, pid, number); }
int getrusage(__rusage_who_t who, struct rusage *to) { return (int)CALL(SYS_getrusage, who, to); }
pid_t getpid(void) { return (pid_t)CALL(SYS_getpid, 0); }
pid_t getppid(void) { return (pid_t)CALL(SYS_getppid, 0); }
int clock_gettime(clockid_t clock, struct timespec *to)
{
    return vdso_clock_gettime(clock, to) == 0 ? 0 : (int)CALL(SYS_clock_gettime, clock, to);
}
void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
    return (void *)checked(raw(SYS_mmap, (long)at, (long)n, protection, flags, fd, offset));
}
int munmap(void *at, size_t n) { return (int)CALL(SYS_munmap, at, n); }
int madvise(void *at, size_t n, int advice) { return (int)CALL(SYS_madvise, at, n, advice); }
int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    return (int)CALL(SYS_waitid, type, id, info, options, 0);
}
pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
    return (pid_t)CALL(SYS_wait4, pid, status, options, usage);
}

/* clang-format on */

/* There are only 64 signals; the kernel takes a set as one word. */
int sigemptyset(sigset_t *set)
{
    memset(set, 0, sizeof *set);
    return 0;
}
int sigaddset(sigset_t *set, int number)
{
    set->__val[0] |= 1ul << (number - 1);
    return 0;
}
int signalfd(int fd, const sigset_t *set, int flags)
{
    return (int)CALL(SYS_signalfd4, fd, set, 8, flags);
}

/* Used for SIG_DFL only, which needs no return from a handler. */
__sighandler_t signal(int number, __sighandler_t handler)
{
    struct {
        __sighandler_t handler;
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } action = {handler, 0, NULL, 0};
    CALL(SYS_rt_sigaction, number, &action, NULL, 8);
    return SIG_DFL;
}

long sysconf(int name)
{
    return name == _SC_PAGESIZE ? page_bytes : -1;
}

_Noreturn void _exit(int code)
{
    for (;;)
        raw(SYS_exit_group, code, 0, 0, 0, 0, 0);
}

/* The child continues at `function`, on its own stack, and never returns. */
__asm__(".text\n.globl clone\n.type clone, @function\nclone:\n"
        "    and $-16, %rsi\n    sub $16, %rsi\n    mov %rdi, (%rsi)\n    mov %rcx, 8(%rsi)\n"
        "    movslq %edx, %rdi\n    mov %r8, %rdx\n    xor %r10d, %r10d\n    xor %r8d, %r8d\n"
        "    mov $56, %eax\n    syscall\n    test %rax, %rax\n    jz 1f\n"
        "    mov %rax, %rdi\n    jmp cm_cloned\n"
        "1:  xor %ebp, %ebp\n    pop %rax\n    pop %rdi\n    call *%rax\n    hlt\n"
        ".size clone, . - clone\n");

__attribute__((used)) int cm_cloned(long result)
{
    return (int)checked(result);
}

/* The entry point: argument count, arguments, environment and auxiliary vector lie on the stack. */
__asm__(".text\n.globl _start\n_start:\n    xor %ebp, %ebp\n    mov %rsp, %rdi\n    and $-16, %rsp\n"
        "    call cm_begin\n");

__attribute__((used)) _Noreturn void cm_begin(long *stack)
{
    enum { AT_PAGE_BYTES = 6, AT_VDSO = 33 };
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1);
    environ = argv + argc + 1;
    char **end = environ;
    while (*end != NULL)
        end++;
    for (const long *note = (const long *)(end + 1); note[0] != 0; note += 2) {
        if (note[0] == AT_PAGE_BYTES)
            page_bytes = note[1];
        if (note[0] == AT_VDSO)
            vdso_found((const void *)note[1]);
    }
    _exit(main(argc, argv));
}

#endif
