/*
 * give-back BYTES [FREE=0] [SECONDS=0.2]
 *
 * Touches BYTES and gives them back but keeps the mapping; then touches BYTES elsewhere, prints "holding", holds them
 * for SECONDS, exits 0. What is given back by MADV_DONTNEED is gone at once: its largest size is BYTES. With FREE = 1
 * it is MADV_FREE: the pages stay in its RSS (LazyFree in smaps) until the kernel is short of memory, so that its
 * largest size is 2 x BYTES.
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
    known_say("holding");
    known_sleep(seconds);
    return 0;
}
