/*
 * ramp BYTES SECONDS [STEPS=100]
 *
 * Grows from nothing to BYTES over SECONDS, in STEPS equal steps at equal intervals, each touched at its start. Prints
 * "holding" when all are touched and exits one step later.
 */
#include "known.h"

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: ramp BYTES SECONDS [STEPS]\n");
        return 2;
    }
    size_t pages = ((size_t)known_arg(argc, argv, 1, 0) + KNOWN_PAGE - 1) / KNOWN_PAGE;
    double seconds = known_arg(argc, argv, 2, 1);
    size_t steps = (size_t)known_arg(argc, argv, 3, 100);
    if (steps == 0) {
        fprintf(stderr, "ramp: STEPS must be 1 or more\n");
        return 2;
    }
    char *mapping = known_map(pages * KNOWN_PAGE);
    double start_s = known_now_s();
    for (size_t step = 0; step < steps; step++) {
        size_t from = pages * step / steps, to = pages * (step + 1) / steps;
        known_write(mapping + from * KNOWN_PAGE, (to - from) * KNOWN_PAGE);
        if (step + 1 == steps)
            known_print("holding");
        double left_s = start_s + seconds * (double)(step + 1) / (double)steps - known_now_s();
        if (left_s > 0)
            known_sleep(left_s);
    }
    return 0;
}
