/*
 * concmem-sampler FD COMMAND [ARGUMENTS...]   launch the command, measure its process tree, and reap it
 * concmem-sampler witness                     see witness.c
 *
 * FD is the shared memory of one measurement (concmem.h). FD + 1 is an eventfd, written when the measurement is
 * complete. cm_launch starts the sampler with every signal blocked. It has one thread and allocates no memory after the
 * start. The exit code is 0 if the result is in the head, and 125 if the sampler could not start. The sampler kills the
 * tree at the timeout, on SIGTERM from the host, and when the host has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum { FAILED = 125, FIRST_TICK_NS = 1000000 };

extern char **environ;
static struct sampler sampler;

static int fail(struct cm_head *head, int stage, int error)
{
    DEBUG(0, "failed", error);
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

static void finish(struct sampler *s, int done_fd)
{
    struct cm_head *head = s->head;
    struct rusage usage;
    uint64_t one = 1;
    uint64_t now_ns = cm_now_ns();
    pid_scan_end(s, now_ns - head->start_ns);
    while (s->tree.nalive > 0)
        tree_remove(s, alive_at(s, 0));
    fault_ledger_end(s);
    tree_sources_end(s, now_ns - head->start_ns);
    exit_records_drain(s, now_ns - head->start_ns);
    for (uint32_t i = 0; i < head->ntracks; i++)
        cm_record_end(s->base, &head->tracks[i]);
    if (head->cpu_budget_ppm == 0 && now_ns > s->ticks.row_ns)
        head->dropped_rows += (now_ns - s->ticks.row_ns) / head->interval_ns + 1;
    record_gap(s, now_ns);
    head->end_ns = s->ticks.last_ns - head->start_ns;
    if (s->late_setup.done)
        self_store_size(s);
    getrusage(RUSAGE_SELF, &usage);
    head->sampler_cpu_ns = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000u +
                           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000u;
    __atomic_store_n(&head->phase, CM_PHASE_DONE, __ATOMIC_RELEASE);
    if (write(done_fd, &one, sizeof one) < 0)
        return; /* the host sees the exit instead */
}

/* Start the target with the descriptors that it gets besides its standard files. Not inlined: few commands need the
 * stack for it. */
static __attribute__((noinline)) int start_set_up(struct sampler *s, struct cm_spawn *spawn,
                                                  const struct cm_setup *setup)
{
    const struct cm_target_setup *target = s->target_setup;
    int32_t numbers[CM_MAX_FDS] = {0, 1, 2};
    if (target->npassed_fds > CM_PASSED_FDS)
        return -EINVAL;
    for (uint32_t i = 0; i < target->npassed_fds; i++) {
        spawn->fds[spawn->nfds] = s->head->first_passed_fd + (int)i;
        numbers[spawn->nfds++] = target->passed_fds[i];
    }
    spawn->numbers = target->npassed_fds > 0 ? numbers : NULL;
    return cm_start(spawn, setup, NULL);
}

int main(int argc, char **argv)
{
    struct sampler *s = &sampler;
    if (argc == 2 && argv[1][0] == 'w')
        return witness();
    const char *number = argc > 2 ? argv[1] : "";
    int fd = (int)cm_parse_number(&number);
    struct cm_head *head = argc > 2 ? map_head(fd) : NULL;
    if (head == NULL)
        return FAILED;
    debug_fd = head->debug_fd;
    s->head = head;
    s->base = (char *)head;
    s->own_pid = getpid();
    s->recording_fd = fd;
    s->page_kib = (uint32_t)(sysconf(_SC_PAGESIZE) / 1024);
    tree_init(s);
    tracks_debug(s);
    int error = tree_sources_open(s);
    if (error < 0)
        return fail(head, CM_STAGE_GROUP, -error);
    exit_records_open(s);

    /* The target starts as from a shell: Python ignores SIGPIPE and SIGXFSZ. If SIGCHLD were ignored, the kernel
     * would reap children without wait4. */
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    signal(SIGCHLD, SIG_DFL);
    /* No process of the same user may trace this one or open its files, the shared memory among them. The target's
     * exec resets this for the target. */
    if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
        return fail(head, CM_STAGE_SETUP, errno);
    /* A stopped sampler goes on when its host ends, and kills the tree. The kernel sends this at the end of the thread
     * that started it, too, when it does no harm. */
    if (prctl(PR_SET_PDEATHSIG, SIGCONT) < 0)
        return fail(head, CM_STAGE_SETUP, errno);
    if ((s->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return fail(head, CM_STAGE_SETUP, errno);
    if (getppid() != head->host_pid) /* the host has ended already */
        return fail(head, CM_STAGE_SETUP, ESRCH);
    machine_open(s);
    fault_ledger_begin(s);
    memory_files_begin(s);
    head->start_ns = cm_now_ns();
    budget_begin(s);
    if (head->has_target_setup)
        s->target_setup = (const void *)(s->base + head->target_setup_offset);
    s->ticks.due_ns = s->ticks.row_ns =
        head->start_ns + (head->interval_ns < FIRST_TICK_NS ? head->interval_ns : FIRST_TICK_NS);

    /* Start the target early: the root's ru_maxrss includes the size of this process at that moment. */
    struct cm_spawn spawn = {.argv = argv + 2, .envp = environ, .fds = {0, 1, 2}, .nfds = 3};
    struct cm_setup setup = {
        .signal_mask = head->signal_mask,
        .dies_with_parent = true,
        .may_use_shell = true,
        .groups = s->sources.groups,
        .target = s->target_setup,
    };
    int pid = s->target_setup != NULL ? start_set_up(s, &spawn, &setup) : cm_start(&spawn, &setup, NULL);
    if (pid < 0)
        return fail(head, spawn.stage, -pid);
    head->root_pid = pid;
    DEBUG(pid, "started: the root", 0);
    tree_sources_started(s);
    cpu_limit_begin(s);
    head->alive = head->max_alive = head->max_threads = 1;
    __atomic_store_n(&head->phase, CM_PHASE_RUNNING, __ATOMIC_RELEASE);

    error = loop(s);
    if (error != 0)
        return fail(head, CM_STAGE_SETUP, error);
    finish(s, fd + 1);
    DEBUG(0, "finished", 0);
    exit_records_close(s);
    return 0;
}

#ifdef __SANITIZE_ADDRESS__
/* Allocated memory is kept until the exit. And the check for leaks can hang: at the exit it traces this process,
 * which is not dumpable and can be SCHED_FIFO. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}
#endif
