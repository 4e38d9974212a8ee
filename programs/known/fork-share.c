/*
 * fork-share BYTES CHILDREN [SECONDS=1]
 *
 * Touches BYTES, then forks CHILDREN children that share every page of it and write to none. All are alive together for
 * SECONDS; the parent reaps them and exits 0. The footprint of the tree is BYTES and the processes' own start-up pages.
 */
#include "known.h"

#include <sys/wait.h>

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: fork-share BYTES CHILDREN [SECONDS]\n");
        return 2;
    }
    unsigned children = (unsigned)known_arg(argc, argv, 2, 0);
    double seconds = known_arg(argc, argv, 3, 1);
    known_touch((size_t)known_arg(argc, argv, 1, 0));
    double end_s = known_now_s() + seconds;
    for (unsigned i = 0; i < children; i++) {
        pid_t child = fork();
        if (child < 0)
            known_fail("fork");
        if (child == 0) {
            double left_s = end_s - known_now_s();
            known_sleep(left_s > 0 ? left_s : 0);
            _exit(0);
        }
    }
    known_print("holding");
    while (wait(NULL) > 0)
        ;
    return 0;
}
