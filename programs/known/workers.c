/*
 * workers WORKERS SHARED SPIKE [TIMES=3] [HOLD_MS=10] [SEED=1] [GAP_MS=30]
 *
 * Touches SHARED bytes, then forks WORKERS workers that share them. TIMES times, each sleeps for a random time of up to
 * GAP_MS, touches SPIKE bytes of its own, holds them for HOLD_MS and unmaps them. The same SEED gives the same pauses.
 * When all are reaped it prints "peak LEAST MOST". The largest footprint of the tree was at least LEAST = SHARED and
 * SPIKE for each spike that was complete when most were, and at most MOST, where a spike that was growing or shrinking
 * counts as complete. Start-up pages are added to both.
 */
#include "known.h"

#include <sys/wait.h>

static void work(struct known_spike *spikes, unsigned times, size_t bytes, double hold_s, double gap_s, uint64_t seed)
{
    for (unsigned i = 0; i < times; i++) {
        known_sleep(gap_s * known_random(&seed));
        spikes[i] = known_spike(known_touch, bytes, known_sleep, hold_s);
    }
    _exit(0);
}

/* Return how many spikes overlapped at most; the maximum is at a moment when some spike begins. */
static unsigned most_at_once(const struct known_spike *spikes, unsigned count, bool whole)
{
    unsigned most = 0;
    for (unsigned i = 0; i < count; i++) {
        double moment_s = whole ? spikes[i].top_s : spikes[i].from_s;
        unsigned there = 0;
        for (const struct known_spike *other = spikes; other < spikes + count; other++)
            there += whole ? other->top_s <= moment_s && moment_s <= other->leave_s
                           : other->from_s <= moment_s && moment_s <= other->down_s;
        most = there > most ? there : most;
    }
    return most;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: workers WORKERS SHARED SPIKE [TIMES] [HOLD_MS] [SEED] [GAP_MS]\n");
        return 2;
    }
    unsigned workers = (unsigned)known_arg(argc, argv, 1, 0), times = (unsigned)known_arg(argc, argv, 4, 3);
    size_t shared = (size_t)known_arg(argc, argv, 2, 0), bytes = (size_t)known_arg(argc, argv, 3, 0);
    double hold_s = known_arg(argc, argv, 5, 10) / 1e3, gap_s = known_arg(argc, argv, 7, 30) / 1e3;
    uint64_t seed = (uint64_t)known_arg(argc, argv, 6, 1);
    unsigned count = workers * times;
    struct known_spike *spikes = (void *)known_map_shared(count * sizeof *spikes);
    known_touch(shared);
    for (unsigned i = 0; i < workers; i++) {
        pid_t worker = fork();
        if (worker < 0)
            known_fail("fork");
        if (worker == 0)
            work(spikes + i * times, times, bytes, hold_s, gap_s, seed + i);
    }
    for (unsigned i = 0; i < workers; i++) {
        int status;
        if (wait(&status) < 0)
            known_fail("wait");
        if (status != 0)
            return 1;
    }
    printf("peak %zu %zu\n", shared + most_at_once(spikes, count, true) * bytes,
           shared + most_at_once(spikes, count, false) * bytes);
    return 0;
}
