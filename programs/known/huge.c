/*
 * huge BYTES [SECONDS=0.2]
 *
 * Touches BYTES, a multiple of 2 MiB, with transparent huge pages requested (MADV_HUGEPAGE) and possible: at an address
 * that is such a multiple too. Prints "holding", holds them for SECONDS, exits 0. Each 4 KiB is written, so that the
 * size is BYTES even if no huge page is available.
 */
#include "known.h"

#define HUGE ((size_t)2 << 20)

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: huge BYTES [SECONDS]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    double seconds = known_arg(argc, argv, 2, 0.2);
    if (bytes % HUGE) {
        fprintf(stderr, "huge: BYTES must be a multiple of 2 MiB\n");
        return 2;
    }
    char *mapping = known_map(bytes + HUGE);
    char *aligned = mapping + (HUGE - (uintptr_t)mapping % HUGE) % HUGE;
    /* A kernel without huge pages refuses the advice and uses small pages. */
    madvise(aligned, bytes, MADV_HUGEPAGE);
    known_write(aligned, bytes);
    known_print("holding");
    known_sleep(seconds);
    return 0;
}
