/*
 * mapped-file BYTES [SECONDS=0.2]
 *
 * Writes BYTES into a nameless file in $TMPDIR, else /var/tmp, maps it (MAP_PRIVATE), reads each page, prints
 * "holding", holds them for SECONDS, exits 0. They are in its RSS as file pages. They are charged to its control group
 * as page cache, because this program wrote them.
 */
#include "known.h"

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: mapped-file BYTES [SECONDS]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    double seconds = known_arg(argc, argv, 2, 0.2);
    int fd = known_create(KNOWN_FILE);
    known_fill(fd, bytes);
    known_read_mapped(fd, bytes, MAP_PRIVATE);
    known_print("holding");
    known_sleep(seconds);
    return 0;
}
