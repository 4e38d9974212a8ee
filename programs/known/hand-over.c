/*
 * hand-over BYTES [TIMES=10] [HOLD_MS=5]
 *
 * Two processes take BYTES in turn, TIMES times in all: one touches them, holds them for HOLD_MS and unmaps them, and
 * only then does the other. Prints "handed over" at the end and exits 0. The footprint of the tree is never more than
 * BYTES and start-up pages, though each process had BYTES.
 */
#include "known.h"

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: hand-over BYTES [TIMES] [HOLD_MS]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    unsigned times = (unsigned)known_arg(argc, argv, 2, 10);
    double hold_s = known_arg(argc, argv, 3, 5) / 1e3;
    pthread_barrier_t *next = known_barrier(2);
    unsigned self = known_fork() == 0;
    for (unsigned i = 0; i < times; i++) {
        if (i % 2 == self)
            known_spike(known_touch, bytes, known_sleep, hold_s);
        known_meet(next);
    }
    if (self == 0) {
        known_reap_all();
        known_print("handed over");
    }
    return 0;
}
