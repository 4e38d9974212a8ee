/*
 * pinned BYTES [SECONDS=0.2] [THEN=unmap]
 *
 * Touches BYTES and registers them as buffers of an io_uring, which pins them. THEN:
 *   unmap  unmaps them and touches BYTES elsewhere. The pinned pages stay in memory, in no RSS and no PSS. Only a control
 *          group and VmPin show them.
 *   fork   forks a child. The kernel copies pinned pages at the fork, without a page fault.
 * Prints "holding", holds for SECONDS, exits 0. The footprint is 2 x BYTES. Exits with 1 if the system refuses io_uring,
 * or so much locked memory (ulimit -l).
 */
#include "known.h"

#include <sys/syscall.h>
#include <sys/uio.h>

/* Not from linux/io_uring.h, which old systems lack. The numbers are the same on all architectures but Alpha. */
enum { IO_URING_SETUP = 425, IO_URING_REGISTER = 427, REGISTER_BUFFERS = 0, PARAMS_BYTES = 120 };

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: pinned BYTES [SECONDS] [unmap|fork]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    double seconds = known_arg(argc, argv, 2, 0.2);
    enum { UNMAP, FORK } then = known_choice(argc, argv, 3, (const char *[]){"unmap", "fork", NULL});
    uint64_t params[PARAMS_BYTES / sizeof(uint64_t)] = {0};
    int ring = (int)syscall(IO_URING_SETUP, 1, params);
    if (ring < 0)
        known_fail("io_uring_setup");
    char *mapping = known_touch(bytes);
    struct iovec buffer = {.iov_base = mapping, .iov_len = bytes};
    if (bytes > 0 && syscall(IO_URING_REGISTER, ring, REGISTER_BUFFERS, &buffer, 1))
        known_fail("io_uring_register");
    pid_t child = -1;
    if (then == UNMAP) {
        known_unmap(mapping, bytes);
        known_touch(bytes);
    } else {
        child = known_fork();
    }
    if (child != 0)
        known_print("holding");
    known_sleep(seconds);
    if (child > 0)
        known_reap_all();
    return 0;
}
