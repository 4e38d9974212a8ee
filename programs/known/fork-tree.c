/*
 * fork-tree DEPTH FAN BYTES [SECONDS=0.2] [COPY=0]
 *
 * A tree of forks: the root has FAN children, each of these FAN children, and so on, DEPTH levels below the root. Each
 * process touches BYTES of its own before it forks, and so inherits BYTES of each ancestor. The root prints "holding"
 * when all processes have their bytes; all are alive together for SECONDS. The footprint of the tree is BYTES for each
 * process and the start-up pages; the RSS of a process is BYTES for itself and for each ancestor.
 *
 * With COPY = 1 only the root touches BYTES. All other processes write to those that they inherited, and so copy them:
 * the footprint is the same, and every RSS is BYTES.
 */
#include "known.h"

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: fork-tree DEPTH FAN BYTES [SECONDS] [COPY]\n");
        return 2;
    }
    unsigned depth = (unsigned)known_arg(argc, argv, 1, 0), fan = (unsigned)known_arg(argc, argv, 2, 0);
    size_t bytes = (size_t)known_arg(argc, argv, 3, 0);
    double seconds = known_arg(argc, argv, 4, 0.2);
    bool copy = known_arg(argc, argv, 5, 0) > 0;
    unsigned processes = 1;
    for (unsigned level = 0, width = 1; level < depth; level++)
        processes += width *= fan;
    pthread_barrier_t *together = known_barrier(processes);
    char *mapping = known_touch(bytes);
    unsigned level = 0;
    for (unsigned child = 0; level < depth && child < fan; child++) {
        if (known_fork() == 0) {
            level++;
            child = -1u;
            if (copy)
                known_write(mapping, bytes);
            else
                known_touch(bytes);
        }
    }
    known_meet(together);
    if (level == 0)
        known_print("holding");
    known_sleep(seconds);
    known_reap_all();
    return 0;
}
