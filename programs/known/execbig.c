/*
 * execbig CHILDREN BYTES [HOLD_S=0] [SMALL_S=0.1] [HUGE=0]
 *
 * CHILDREN children touch BYTES each. When all have them, they hold them for HOLD_S and then execute this program with
 * no children, which runs for SMALL_S: their memory is gone without the end of a process. The parent prints "holding"
 * when all have their bytes, reaps the children and exits 0. The footprint of the tree is CHILDREN x BYTES at that
 * moment. With HUGE = 1 the bytes, a multiple of 2 MiB, are in transparent huge pages where these are available.
 */
#include "known.h"

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: execbig CHILDREN BYTES [HOLD_S] [SMALL_S] [HUGE]\n");
        return 2;
    }
    unsigned children = (unsigned)known_arg(argc, argv, 1, 0);
    size_t bytes = (size_t)known_arg(argc, argv, 2, 0);
    double hold_s = known_arg(argc, argv, 3, 0), small_s = known_arg(argc, argv, 4, 0.1);
    bool huge = known_arg(argc, argv, 5, 0) > 0;
    if (children == 0) {
        known_sleep(small_s);
        return 0;
    }
    pthread_barrier_t *together = known_barrier(children + 1);
    for (unsigned i = 0; i < children; i++) {
        if (known_fork() == 0) {
            (huge ? known_touch_huge : known_touch)(bytes);
            known_meet(together);
            known_sleep(hold_s);
            execl(argv[0], argv[0], "0", "0", "0", argc > 4 ? argv[4] : "0.1", (char *)NULL);
            known_fail("exec");
        }
    }
    known_meet(together);
    known_print("holding");
    known_reap_all();
    return 0;
}
