/*
 * leader-exit BYTES [SECONDS=0.5]
 *
 * The main thread exits by pthread_exit. When it has exited, the one remaining thread touches BYTES, prints "holding",
 * and holds them for SECONDS; then the process exits 0. From the first byte on, /proc/PID/statm reads zeros.
 */
#include "known.h"

#include <fcntl.h>
#include <pthread.h>

static size_t bytes;
static double seconds;

static int leader_is_gone(void)
{
    char path[64], stat[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 1;
    ssize_t got = read(fd, stat, sizeof stat - 1);
    close(fd);
    stat[got > 0 ? got : 0] = 0;
    const char *name_end = strrchr(stat, ')');
    return name_end && name_end[1] == ' ' && name_end[2] == 'Z';
}

static void *hold(void *unused)
{
    while (!leader_is_gone())
        known_sleep(0.001);
    known_touch(bytes);
    known_print("holding");
    known_sleep(seconds);
    exit(0);
    return unused;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: leader-exit BYTES [SECONDS]\n");
        return 2;
    }
    bytes = (size_t)known_arg(argc, argv, 1, 0);
    seconds = known_arg(argc, argv, 2, 0.5);
    pthread_t worker;
    errno = pthread_create(&worker, NULL, hold, NULL);
    if (errno)
        known_fail("pthread_create");
    pthread_exit(NULL);
}
