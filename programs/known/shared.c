/*
 * shared BYTES [PROCESSES=4] [SECONDS=0.2] [PART=all] [PLACE=anonymous] [ACCESS=write]
 *
 * Maps BYTES that it shares with PROCESSES children (MAP_SHARED) and touches its PART of them, as does each child.
 * Prints "holding" when all have, holds for SECONDS, reaps the children and exits 0. The part is in the RSS of the
 * process, as shared memory; the footprint of the tree is BYTES once, and start-up pages.
 *
 * PART: all; half: the parent and every second child the first half, the others the second; own: equal parts that do
 * not overlap. PLACE: anonymous, memfd, shm (a nameless file in /dev/shm), or file (the same in $TMPDIR, else /var/tmp).
 * ACCESS: write, or read: the parent fills the file by write(2) before, and all processes only read.
 */
#include "known.h"

enum part { ALL, HALF, OWN };

struct work {
    char *mapping;
    size_t bytes;
    enum part part;
    bool read;
    unsigned processes;
    pthread_barrier_t *together;
};

static void touch_and_hold(const struct work *work, unsigned process, double seconds)
{
    size_t pages = (work->bytes + KNOWN_PAGE - 1) / KNOWN_PAGE;
    unsigned parts = work->part == ALL ? 1 : work->part == HALF ? 2 : work->processes;
    unsigned own = process % parts;
    size_t from = pages * own / parts * KNOWN_PAGE, to = pages * (own + 1) / parts * KNOWN_PAGE;
    if (work->read)
        known_read(work->mapping + from, to - from);
    else
        known_write(work->mapping + from, to - from);
    known_meet(work->together);
    if (seconds > 0) {
        known_print("holding");
        known_sleep(seconds);
    }
    known_meet(work->together);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: shared BYTES [PROCESSES] [SECONDS] [all|half|own] [anonymous|memfd|shm|file] "
                        "[write|read]\n");
        return 2;
    }
    unsigned children = (unsigned)known_arg(argc, argv, 2, 4);
    double seconds = known_arg(argc, argv, 3, 0.2);
    struct work work = {
        .bytes = (size_t)known_arg(argc, argv, 1, 0),
        .part = known_choice(argc, argv, 4, (const char *[]){"all", "half", "own", NULL}),
        .read = known_choice(argc, argv, 6, (const char *[]){"write", "read", NULL}),
        .processes = children + 1,
        .together = known_barrier(children + 1),
    };
    int fd = known_create(known_choice(argc, argv, 5, (const char *[]){"anonymous", "memfd", "shm", "file", NULL}));
    if (work.read && fd >= 0)
        known_fill(fd, work.bytes);
    else if (fd >= 0 && ftruncate(fd, (off_t)work.bytes))
        known_fail("ftruncate");
    work.mapping = fd < 0 ? known_map_shared(work.bytes) : known_map_file(fd, work.bytes);
    for (unsigned i = 0; i < children; i++) {
        if (known_fork() == 0) {
            touch_and_hold(&work, i + 1, 0);
            _exit(0);
        }
    }
    touch_and_hold(&work, 0, seconds);
    known_reap_all();
    return 0;
}
