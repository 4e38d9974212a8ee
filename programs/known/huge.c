/*
 * huge BYTES [SECONDS=0.2] [COLLAPSE=0]
 *
 * Touches BYTES, a multiple of 2 MiB, with transparent huge pages requested (MADV_HUGEPAGE) and possible: at an address
 * that is such a multiple too. Prints "holding", holds them for SECONDS, exits 0. Each 4 KiB is written, so that the
 * size is BYTES even if no huge page is available. With COLLAPSE = 1 only one byte of each 2 MiB is written, in a small
 * page, and the kernel then puts a huge page in its place (MADV_COLLAPSE, Linux 6.1): most of BYTES comes without a
 * page fault. It exits with 1 where this is refused.
 */
#include "known.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: huge BYTES [SECONDS] [COLLAPSE]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    double seconds = known_arg(argc, argv, 2, 0.2);
    bool collapse = known_arg(argc, argv, 3, 0) > 0;
    if (bytes % KNOWN_HUGE) {
        fprintf(stderr, "huge: BYTES must be a multiple of 2 MiB\n");
        return 2;
    }
    if (collapse) {
        char *mapping = known_map_huge(bytes, MADV_NORMAL);
        prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* small pages, whatever the mode of the machine */
        for (size_t at = 0; at < bytes; at += KNOWN_HUGE)
            mapping[at] = 1;
        prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
        if (bytes > 0 && madvise(mapping, bytes, MADV_COLLAPSE))
            known_fail("madvise");
    } else {
        known_touch_huge(bytes);
    }
    known_print("holding");
    known_sleep(seconds);
    return 0;
}
