/*
 * hold BYTES [THREADS=1] [SECONDS=0.2] [MOVE=0]
 *
 * Touches exactly BYTES, prints "holding" when all are touched, holds them for SECONDS, exits 0.
 *
 * With THREADS = 1 the main thread touches them. With more, that many threads touch equal shares at the same time, and
 * live while the bytes are held. Their stacks count as start-up size, which a run with BYTES = 0 and the same THREADS
 * shows. With MOVE, each touching thread moves to the next usable CPU after every MOVE pages: the worst case for the
 * kernel's per-CPU page counters.
 */
#include "known.h"

#include <pthread.h>
#include <sched.h>

struct share {
    pthread_t thread;
    char *at;
    size_t bytes;
};

static pthread_barrier_t all_touched, all_done;
static cpu_set_t usable;
static size_t move;

/* Move the calling thread from CPU `at` to the next usable one, which may be the same. */
static int next_cpu(int at)
{
    do
        at = (at + 1) % CPU_SETSIZE;
    while (!CPU_ISSET(at, &usable));
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(at, &one);
    if (sched_setaffinity(0, sizeof one, &one))
        known_fail("sched_setaffinity");
    return at;
}

static void touch(char *mapping, size_t bytes)
{
    size_t step = move ? move * KNOWN_PAGE : bytes;
    int cpu = 0;
    for (size_t at = 0; at < bytes; at += step) {
        if (move)
            cpu = next_cpu(cpu);
        known_write(mapping + at, step < bytes - at ? step : bytes - at);
    }
}

static void *touch_share(void *argument)
{
    struct share *share = argument;
    touch(share->at, share->bytes);
    pthread_barrier_wait(&all_touched);
    pthread_barrier_wait(&all_done);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: hold BYTES [THREADS] [SECONDS] [MOVE]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    unsigned threads = (unsigned)known_arg(argc, argv, 2, 1);
    double seconds = known_arg(argc, argv, 3, 0.2);
    move = (size_t)known_arg(argc, argv, 4, 0);
    if (sched_getaffinity(0, sizeof usable, &usable))
        known_fail("sched_getaffinity");
    if (threads <= 1) {
        touch(known_map(bytes), bytes);
        known_print("holding");
        known_sleep(seconds);
        return 0;
    }
    size_t pages = (bytes + KNOWN_PAGE - 1) / KNOWN_PAGE;
    char *mapping = known_map(pages * KNOWN_PAGE);
    struct share *shares = calloc(threads, sizeof *shares);
    if (!shares)
        known_fail("calloc");
    pthread_barrier_init(&all_touched, NULL, threads + 1);
    pthread_barrier_init(&all_done, NULL, threads + 1);
    for (unsigned i = 0; i < threads; i++) {
        size_t from = pages * i / threads, to = pages * (i + 1) / threads;
        shares[i].at = mapping + from * KNOWN_PAGE;
        shares[i].bytes = (to - from) * KNOWN_PAGE;
        errno = pthread_create(&shares[i].thread, NULL, touch_share, &shares[i]);
        if (errno)
            known_fail("pthread_create");
    }
    pthread_barrier_wait(&all_touched);
    known_print("holding");
    known_sleep(seconds);
    pthread_barrier_wait(&all_done);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(shares[i].thread, NULL);
    return 0;
}
