/*
 * spikes COUNT SPIKE HOLD_MS BASE [SEED=1] [GAP_MS=20]
 *
 * Holds BASE bytes from beginning to end. COUNT times it sleeps for a random time of up to GAP_MS, touches SPIKE more
 * bytes, holds them for HOLD_MS without sleeping and unmaps them. Then it sleeps GAP_MS and exits 0. The same SEED
 * gives the same gaps. Prints "spike FROM TOP DOWN" for each: when touching began, when all were touched and when they
 * were unmapped, in seconds of CLOCK_MONOTONIC.
 */
#include "known.h"

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: spikes COUNT SPIKE HOLD_MS BASE [SEED] [GAP_MS]\n");
        return 2;
    }
    unsigned count = (unsigned)known_arg(argc, argv, 1, 0);
    size_t bytes = (size_t)known_arg(argc, argv, 2, 0), base = (size_t)known_arg(argc, argv, 4, 0);
    double hold_s = known_arg(argc, argv, 3, 0) / 1e3, gap_s = known_arg(argc, argv, 6, 20) / 1e3;
    uint64_t seed = (uint64_t)known_arg(argc, argv, 5, 1);
    known_touch(base);
    for (unsigned i = 0; i < count; i++) {
        known_sleep(gap_s * known_random(&seed));
        struct known_spike spike = known_spike(known_touch, bytes, known_spin, hold_s);
        printf("spike %.6f %.6f %.6f\n", spike.from_s, spike.top_s, spike.down_s);
        fflush(stdout);
    }
    known_sleep(gap_s);
    return 0;
}
