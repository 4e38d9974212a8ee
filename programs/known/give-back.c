/*
 * give-back BYTES [FREE=0] [SECONDS=0.2]
 *
 * Touches BYTES and frees them but keeps the mapping. Then touches BYTES elsewhere, prints "holding", holds them for
 * SECONDS, exits 0. MADV_DONTNEED frees the pages at once: the largest size is BYTES. With FREE = 1 it uses MADV_FREE:
 * the pages stay in RSS (LazyFree in smaps) until the kernel is short of memory, so the largest size is 2 x BYTES.
 */
#include "known.h"

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: give-back BYTES [FREE] [SECONDS]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    int advice = known_arg(argc, argv, 2, 0) > 0 ? MADV_FREE : MADV_DONTNEED;
    double seconds = known_arg(argc, argv, 3, 0.2);
    if (madvise(known_touch(bytes), bytes, advice))
        known_fail("madvise");
    known_touch(bytes);
    known_print("holding");
    known_sleep(seconds);
    return 0;
}
