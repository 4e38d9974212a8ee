/*
 * fill BYTES HOW [SECONDS=0.2]
 *
 * Maps BYTES and lets the kernel fill them, without a page fault for each page. Prints "holding", holds them for
 * SECONDS, exits 0. HOW:
 *   populate     mmap with MAP_POPULATE
 *   read         read(2) from /dev/zero into untouched memory
 *   userfaultfd  one copy by userfaultfd (UFFDIO_COPY); exits with 1 if it is refused
 *   remote       a child holds them, and the parent writes them by process_vm_writev: the page faults are the parent's.
 *                Exits with 1 if it is refused.
 */
#include "known.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

/* The source of all copies. */
static char piece[64 << 10];

static void fill_by_read(char *mapping, size_t bytes)
{
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        known_fail("/dev/zero");
    for (ssize_t got = 0; bytes > 0; mapping += got, bytes -= (size_t)got) {
        got = read(fd, mapping, bytes);
        if (got <= 0)
            known_fail("read");
    }
}

static void fill_by_userfaultfd(char *mapping, size_t bytes)
{
    if (bytes == 0)
        return;
    int flags = O_CLOEXEC | UFFD_USER_MODE_ONLY;
    int fd = (int)syscall(SYS_userfaultfd, flags);
    if (fd < 0) /* before Linux 5.11 there is no such flag */
        fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register range = {.range = {.start = (uintptr_t)mapping, .len = bytes},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range))
        known_fail("userfaultfd");
    for (size_t at = 0; at < bytes; at += sizeof piece) {
        struct uffdio_copy copy = {.dst = (uintptr_t)mapping + at, .src = (uintptr_t)piece, .len = sizeof piece};
        if (copy.len > bytes - at)
            copy.len = bytes - at;
        if (ioctl(fd, UFFDIO_COPY, &copy))
            known_fail("userfaultfd");
    }
}

static void fill_of_child(pid_t child, char *mapping, size_t bytes)
{
    for (size_t at = 0; at < bytes;) {
        size_t size = bytes - at < sizeof piece ? bytes - at : sizeof piece;
        struct iovec from = {.iov_base = piece, .iov_len = size}, to = {.iov_base = mapping + at, .iov_len = size};
        ssize_t written = process_vm_writev(child, &from, 1, &to, 1, 0);
        if (written <= 0)
            known_fail("process_vm_writev");
        at += (size_t)written;
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: fill BYTES populate|read|userfaultfd|remote [SECONDS]\n");
        return 2;
    }
    size_t bytes = ((size_t)known_arg(argc, argv, 1, 0) + KNOWN_PAGE - 1) / KNOWN_PAGE * KNOWN_PAGE;
    enum {
        POPULATE,
        READ,
        USERFAULTFD,
        REMOTE
    } how = known_choice(argc, argv, 2, (const char *[]){"populate", "read", "userfaultfd", "remote", NULL});
    double seconds = known_arg(argc, argv, 3, 0.2);
    pthread_barrier_t *filled = known_barrier(2);
    memset(piece, 1, sizeof piece);
    char *mapping = how == POPULATE ? known_populate(bytes) : known_map(bytes);
    if (how == READ) {
        fill_by_read(mapping, bytes);
    } else if (how == USERFAULTFD) {
        fill_by_userfaultfd(mapping, bytes);
    } else if (how == REMOTE) {
        pid_t child = known_fork();
        if (child == 0) {
            known_meet(filled);
            known_sleep(seconds);
            return 0;
        }
        fill_of_child(child, mapping, bytes);
        known_meet(filled);
    }
    known_print("holding");
    if (how != REMOTE)
        known_sleep(seconds);
    known_reap_all();
    return 0;
}
