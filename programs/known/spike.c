/*
 * spike BASE SPIKE IDLE_S [HOLD_MS=0]
 *
 * Holds BASE bytes from beginning to end. Idles IDLE_S, touches SPIKE bytes more, holds them for HOLD_MS without
 * sleeping, unmaps them, idles IDLE_S again, exits 0.
 * Prints "spike FROM TOP DOWN": when touching began, when all was touched and when it was unmapped, in seconds since
 * main began.
 */
#include "known.h"

int main(int argc, char **argv)
{
    double start_s = known_now_s();
    if (argc < 4) {
        fprintf(stderr, "usage: spike BASE SPIKE IDLE_S [HOLD_MS]\n");
        return 2;
    }
    size_t base = (size_t)known_arg(argc, argv, 1, 0), spike = (size_t)known_arg(argc, argv, 2, 0);
    double idle_s = known_arg(argc, argv, 3, 0), hold_s = known_arg(argc, argv, 4, 0) / 1e3;
    known_touch(base);
    known_sleep(idle_s);
    double from_s = known_now_s();
    char *mapping = known_touch(spike);
    double top_s = known_now_s();
    while (known_now_s() - top_s < hold_s)
        ;
    known_give_up(mapping, spike);
    double down_s = known_now_s();
    printf("spike %.6f %.6f %.6f\n", from_s - start_s, top_s - start_s, down_s - start_s);
    fflush(stdout);
    known_sleep(idle_s);
    return 0;
}
