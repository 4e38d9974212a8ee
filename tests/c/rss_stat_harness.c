/*
 * rss_stat_harness GROUP LAUNCH_GROUP SCENARIO
 *
 * Prints what csrc/sources/rss_stat.c reports for the processes in the control group GROUP, and what is known of them,
 * as one line of JSON. The test compares the two. The target is this program once more, started in LAUNCH_GROUP (GROUP,
 * or one below it).
 *
 * The target stops at barriers in memory that both map, and stores there what it reads about itself (statm, exact to
 * the page since 6.16). It is started with vfork, and the child writes into the harness's memory first, which must not
 * count.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared/internal.h"

enum { MIB = 1 << 20, SPIKES = 200, ROUNDS = 2000, AREA = 16 * 4096, SHARED_FD = 100, SHARED_FILE_FD = 101 };

struct shared {
    _Atomic int arrived, generation, over;
    int64_t rss[2]; /* of each of two at the top of a round */
    struct {
        uint64_t t_ns, until_ns; /* the RSS was read in between */
        int64_t rss;
    } tops[SPIKES];
};
static struct shared *shared;

static void die(const char *what)
{
    perror(what);
    exit(3);
}

static void barrier(int parties)
{
    int generation = shared->generation;
    if (atomic_fetch_add(&shared->arrived, 1) == parties - 1) {
        shared->arrived = 0;
        shared->generation++;
    }
    while (shared->generation == generation)
        sched_yield();
}

static int64_t own_rss(void)
{
    static _Thread_local int fd = -1;
    char text[64];
    if (fd < 0)
        fd = open("/proc/self/statm", O_RDONLY);
    if (cm_pread_text(fd, text, sizeof text) < 0)
        die("statm");
    return strtoll(strchr(text, ' '), NULL, 10) * sysconf(_SC_PAGESIZE);
}

static void pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN), &set);
    sched_setaffinity(0, sizeof set, &set);
}

static char *touched(size_t bytes, int flags)
{
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; memory != MAP_FAILED && i < bytes; i += 4096)
        memory[i] = 1;
    return memory;
}

/* One of two threads or processes that grow and shrink in step. The top is known, and every other value is on the
 * way there. */
static void *climb(void *number)
{
    int me = (int)(intptr_t)number;
    pin(me);
    own_rss();
    for (int round = 0; round < ROUNDS; round++) {
        barrier(3);
        char *area = touched(AREA, MAP_PRIVATE);
        barrier(3);
        shared->rss[me] = own_rss();
        barrier(3);
        munmap(area, AREA);
        barrier(3);
    }
    return NULL;
}

static void spikes(void)
{
    enum { BYTES = 20 * MIB, HUGE = 2 * MIB };
    touched(5 * MIB, MAP_PRIVATE);
    barrier(2);
    for (int i = 0; i < SPIKES; i++) {
        char *all = mmap(NULL, BYTES + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        char *area = (char *)(((uintptr_t)all + HUGE - 1) & ~(uintptr_t)(HUGE - 1));
        madvise(area, BYTES, MADV_HUGEPAGE);
        for (size_t at = 0; at < BYTES; at += 4096)
            area[at] = 1;
        shared->tops[i].t_ns = cm_now_ns();
        shared->tops[i].rss = own_rss();
        shared->tops[i].until_ns = cm_now_ns();
        munmap(all, BYTES + HUGE);
        usleep(2000);
    }
    shared->over = 1;
}

/* Short-lived processes that another process reads: some are freed by the reader, which was the last to use their
 * memory. */
static void lives(int n)
{
    for (int i = 0; i < n; i++)
        if (fork() == 0) {
            touched(MIB / 4, MAP_PRIVATE);
            _exit(0);
        } else if (i % 4 == 3) {
            while (wait(NULL) > 0)
                ;
        }
    while (wait(NULL) > 0)
        ;
    shared->over = 1;
}

static int target(const char *scenario)
{
    pthread_t thread;
    pin(1);
    if (strcmp(scenario, "hold") == 0) {
        touched(100 * MIB, MAP_PRIVATE);
        touched(30 * MIB, MAP_SHARED);
    } else if (strcmp(scenario, "share") == 0) {
        touched(200 * MIB, MAP_PRIVATE);
        for (int i = 0; i < 4; i++)
            if (fork() == 0) {
                barrier(6);
                barrier(6);
                _exit(0);
            }
        barrier(6);
        barrier(6);
        while (wait(NULL) > 0)
            ;
        return 0;
    } else if (strcmp(scenario, "truncate") == 0) {
        if (ftruncate(SHARED_FILE_FD, 32 * MIB) < 0)
            die("ftruncate");
    } else if (strcmp(scenario, "threads") == 0) {
        pthread_create(&thread, NULL, climb, (void *)1);
        climb(NULL);
        pthread_join(thread, NULL);
        return 0;
    } else if (strcmp(scenario, "processes") == 0) {
        if (fork() == 0) {
            climb((void *)1);
            _exit(0);
        }
        climb(NULL);
        wait(NULL);
        return 0;
    } else if (strcmp(scenario, "spikes") == 0 || strcmp(scenario, "spikes_busy") == 0) {
        spikes();
        return 0;
    } else if (strcmp(scenario, "lives") == 0) {
        lives(4000);
        return 0;
    }
    barrier(2);
    barrier(2);
    return 0;
}

static FILE *procs(const char *group)
{
    char path[512];
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    return fopen(path, "re");
}

/* Return the sum of Rss over the group, as the kernel computes it from the page tables. */
static long long truth(const char *group)
{
    long long sum = 0;
    static const char *const names[] = {"Rss"};
    uint64_t kib;
    char path[64];
    FILE *list = procs(group);
    for (int pid; list != NULL && fscanf(list, "%d", &pid) == 1;) {
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && cm_read_fields(fd, ':', names, &kib, 1) == 0)
            sum += 1024LL * (long long)kib;
        close(fd);
    }
    if (list != NULL)
        fclose(list);
    return sum;
}

/* Start with vfork, so that the child's first steps are in this process's memory. */
static pid_t launch(const char *group, char *scenario)
{
    static char path[512];
    char *argv[] = {"rss_stat_harness", "target", scenario, NULL};
    snprintf(path, sizeof path, "%s/cgroup.procs", group);
    char *memory = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pid_t pid = vfork();
    if (pid == 0) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "0", 1) != 1)
            _exit(4);
        memset(memory, 1, 8 * MIB);
        execv("/proc/self/exe", argv);
        _exit(5);
    }
    return pid;
}

static long long sum_of(struct cm_rss_stat *r, long long *window)
{
    uint64_t sum, max;
    cm_rss_stat_read(r, &sum, &max);
    if (window != NULL)
        *window = (long long)max;
    return (long long)sum;
}

/* Count the rounds in which the recorded maximum differs from the sum of both at the top, and the largest
 * difference. */
static void watch_climbing(struct cm_rss_stat *r, bool threads)
{
    long long window, off = 0, worst = 0;
    for (int round = 0; round < ROUNDS; round++) {
        barrier(3);
        barrier(3);
        barrier(3);
        barrier(3);
        sum_of(r, &window);
        long long top = threads ? shared->rss[0] : shared->rss[0] + shared->rss[1];
        long long error = llabs(window - top);
        if (round >= 10 && error != 0) { /* by then all memory that is touched only once has been */
            off++;
            worst = error > worst ? error : worst;
        }
    }
    printf("\"rounds\": %d, \"off\": %lld, \"worst\": %lld, ", ROUNDS - 10, off, worst);
}

/* Count the spikes whose top is in no window of their time. If the machine is so busy that there is no room for more
 * windows before the last spike, the later spikes are not judged. */
static void watch_spikes(struct cm_rss_stat *r, int readings, unsigned pause_us)
{
    enum { MOST = 1 << 20 };
    struct {
        uint64_t from, to; /* of the readings that ended the window */
        long long max;
    } *windows = calloc(MOST, sizeof *windows);
    long long max;
    long n = 1;
    windows[0].from = cm_now_ns(); /* a window before the first spike, which can be over before the next reading */
    sum_of(r, &windows[0].max);
    windows[0].to = cm_now_ns();
    barrier(2);
    for (bool over = false; n < MOST && !over;) {
        over = shared->over; /* a last window follows the last spike */
        windows[n].from = cm_now_ns();
        for (int i = 0; i < readings; i++) {
            sum_of(r, &max);
            windows[n].max = max > windows[n].max ? max : windows[n].max;
        }
        windows[n++].to = cm_now_ns();
        if (pause_us != 0)
            usleep(pause_us);
    }
    int missed = 0, judged = 0;
    int64_t top = 0;
    for (int i = 0; i < SPIKES; i++) {
        bool shown = n == MOST && shared->tops[i].until_ns > windows[n - 1].from;
        judged += !shown;
        for (long w = 1; w < n; w++)
            if (shared->tops[i].until_ns >= windows[w - 1].from && shared->tops[i].t_ns <= windows[w].to)
                shown |= windows[w].max >= shared->tops[i].rss;
        missed += !shown;
        top = shared->tops[i].rss > top ? shared->tops[i].rss : top;
    }
    printf("\"judged\": %d, \"missed\": %d, \"windows\": %ld, \"top\": %lld, ", judged, missed, n, (long long)top);
    free(windows);
}

static void watch_lives(const char *group)
{
    while (!shared->over)
        truth(group);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
        return shared == MAP_FAILED ? 3 : target(argv[2]);
    }
    if (argc != 4)
        return 2;
    char *group = argv[1], *scenario = argv[3];
    dup2(memfd_create("shared", 0), SHARED_FD);
    dup2(memfd_create("file", 0), SHARED_FILE_FD);
    if (ftruncate(SHARED_FD, sizeof *shared) < 0 || ftruncate(SHARED_FILE_FD, 64 * MIB) < 0)
        die("memfd");
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
    char *file = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FILE_FD, 0);
    memset(file, 1, 64 * MIB);

    struct cm_rss_stat r;
    const char *why = "";
    int group_fd = open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cpu_set_t all;
    sched_getaffinity(0, sizeof all, &all);
    pin(0); /* the event is opened on CPU 0, and the target runs on the next CPU */
    int error = cm_rss_stat_open(&r, group_fd, &why);
    sched_setaffinity(0, sizeof all, &all);
    if (error != 0) {
        printf("{\"error\": %d, \"why\": \"%s\"}\n", error, why);
        return 0;
    }
    pid_t pid = launch(argv[2], scenario);
    printf("{");
    if (strcmp(scenario, "threads") == 0 || strcmp(scenario, "processes") == 0) {
        watch_climbing(&r, scenario[0] == 't');
    } else if (strcmp(scenario, "spikes") == 0 || strcmp(scenario, "spikes_busy") == 0) {
        watch_spikes(&r, scenario[6] == 0 ? 1 : 512, scenario[6] == 0 ? 1000 : 0);
    } else if (strcmp(scenario, "lives") == 0) {
        watch_lives(group);
    } else {
        int parties = strcmp(scenario, "share") == 0 ? 6 : 2;
        barrier(parties);
        usleep(20000); /* from now on they only wait */
        long long sum = sum_of(&r, NULL);
        printf("\"sum\": %lld, \"truth\": %lld, ", sum, truth(argv[2]));
        barrier(parties);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    long long last = sum_of(&r, NULL);
    printf("\"status\": %d, \"last\": %lld, \"peak\": %lld, \"events\": %lld, \"lost\": %lld, \"not_raised\": %lld}\n",
           status, last, (long long)cm_rss_stat_peak(&r), (long long)r.values[CM_RSS_STAT_EVENTS],
           (long long)r.values[CM_RSS_STAT_LOST], (long long)r.values[CM_RSS_STAT_NOT_RAISED]);
    cm_rss_stat_close(&r);
    return 0;
}
