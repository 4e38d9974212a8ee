/*
 * spike BASE SPIKE IDLE_S [HOLD_MS=0] [POPULATE=0]
 *
 * Holds BASE bytes from beginning to end. Sleeps IDLE_S, touches SPIKE more bytes, holds them for HOLD_MS without
 * sleeping, unmaps them, sleeps IDLE_S again, exits 0. With POPULATE = 1 the kernel touches them inside mmap
 * (MAP_POPULATE), without page faults: the fastest spike there is. Prints "spike FROM TOP DOWN": when touching began,
 * when all were touched and when they were unmapped, in seconds since main began.
 */
#include "known.h"

int main(int argc, char **argv)
{
    double start_s = known_now_s();
    if (argc < 4) {
        fprintf(stderr, "usage: spike BASE SPIKE IDLE_S [HOLD_MS] [POPULATE]\n");
        return 2;
    }
    size_t base = (size_t)known_arg(argc, argv, 1, 0), bytes = (size_t)known_arg(argc, argv, 2, 0);
    double idle_s = known_arg(argc, argv, 3, 0), hold_s = known_arg(argc, argv, 4, 0) / 1e3;
    bool populate = known_arg(argc, argv, 5, 0) > 0;
    known_touch(base);
    known_sleep(idle_s);
    struct known_spike spike = known_spike(populate ? known_populate : known_touch, bytes, known_spin, hold_s);
    printf("spike %.6f %.6f %.6f\n", spike.from_s - start_s, spike.top_s - start_s, spike.down_s - start_s);
    fflush(stdout);
    known_sleep(idle_s);
    return 0;
}
