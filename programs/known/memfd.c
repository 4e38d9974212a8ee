/*
 * memfd BYTES [MAPPINGS=0] [SECONDS=0.2] [PLACE=memfd] [FILL=write]
 *
 * Fills BYTES of a file in memory, prints "holding", holds them for SECONDS, exits 0. They are charged to its control
 * group but are in the RSS of no process. It maps the file MAPPINGS times and reads each page in each mapping: then its
 * RSS, as shared memory, is MAPPINGS x BYTES, and the footprint is BYTES.
 *
 * PLACE: memfd (memfd_create), shm (a nameless file in /dev/shm), or sent: a memfd whose descriptor waits in a socket
 * and is closed, so that no process has it open. FILL: write (write(2)) or allocate (fallocate); neither causes a page
 * fault.
 */
#include "known.h"

#include <fcntl.h>
#include <sys/socket.h>

/* Send a descriptor into a socket that never receives it, and close it. */
static void send_away(int fd)
{
    int ends[2];
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof fd)];
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    struct iovec one_byte = {.iov_base = (char[1]){0}, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &one_byte, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room};
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
        known_fail("socketpair");
    if (sendmsg(ends[0], &message, 0) != 1)
        known_fail("sendmsg");
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: memfd BYTES [MAPPINGS] [SECONDS] [memfd|shm|sent] [write|allocate]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    unsigned mappings = (unsigned)known_arg(argc, argv, 2, 0);
    double seconds = known_arg(argc, argv, 3, 0.2);
    enum { MEMFD, SHM, SENT } place = known_choice(argc, argv, 4, (const char *[]){"memfd", "shm", "sent", NULL});
    bool allocate = known_choice(argc, argv, 5, (const char *[]){"write", "allocate", NULL});
    int fd = known_create(place == SHM ? KNOWN_SHM : KNOWN_MEMFD);
    if (!allocate)
        known_fill(fd, bytes);
    else if (bytes > 0 && fallocate(fd, 0, 0, (off_t)bytes))
        known_fail("fallocate");
    for (unsigned i = 0; i < mappings; i++)
        known_read_mapped(fd, bytes, MAP_SHARED);
    if (place == SENT)
        send_away(fd);
    known_print("holding");
    known_sleep(seconds);
    return 0;
}
