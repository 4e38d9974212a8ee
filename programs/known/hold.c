/*
 * hold BYTES [THREADS=1] [SECONDS=0.2]
 *
 * Touches exactly BYTES, prints "holding" when all are touched, holds them for SECONDS, exits 0.
 * With THREADS = 1 the main thread touches; with more, that many threads touch equal shares at the same time and stay
 * alive while the bytes are held. Their stacks are start-up size: a run with BYTES = 0 and the same THREADS shows it.
 */
#include "known.h"

#include <pthread.h>

struct share {
    pthread_t thread;
    char *at;
    size_t bytes;
};

static pthread_barrier_t all_touched, all_done;

static void *touch_share(void *argument)
{
    struct share *share = argument;
    known_write(share->at, share->bytes);
    pthread_barrier_wait(&all_touched);
    pthread_barrier_wait(&all_done);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: hold BYTES [THREADS] [SECONDS]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    unsigned threads = (unsigned)known_arg(argc, argv, 2, 1);
    double seconds = known_arg(argc, argv, 3, 0.2);
    if (threads <= 1) {
        known_touch(bytes);
        known_say("holding");
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
    known_say("holding");
    known_sleep(seconds);
    pthread_barrier_wait(&all_done);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(shares[i].thread, NULL);
    return 0;
}
