/*
 * memfd BYTES [MAPPED=0] [SECONDS=0.2]
 *
 * Writes BYTES into a file in memory (memfd_create, as in /dev/shm), prints "holding", holds them for SECONDS, exits 0.
 * They are charged to its control group but are in the RSS of no process. With MAPPED = 1 it maps the file and reads
 * each page: then they are in its RSS, as shared memory.
 */
#include "known.h"

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: memfd BYTES [MAPPED] [SECONDS]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    bool mapped = known_arg(argc, argv, 2, 0) > 0;
    double seconds = known_arg(argc, argv, 3, 0.2);
    int fd = memfd_create("known", MFD_CLOEXEC);
    if (fd < 0)
        known_fail("memfd_create");
    known_fill(fd, bytes);
    if (mapped)
        known_read_mapped(fd, bytes, MAP_SHARED);
    known_print("holding");
    known_sleep(seconds);
    return 0;
}
