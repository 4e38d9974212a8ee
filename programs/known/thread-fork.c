/*
 * thread-fork BYTES [SECONDS=0.5]
 *
 * A thread other than the main thread forks a child and runs until it has reaped it: the kernel lists that child only
 * in the children file of that thread. The child touches BYTES, prints "holding PID", holds them for SECONDS.
 */
#include "known.h"

#include <pthread.h>
#include <sys/wait.h>

static size_t bytes;
static double seconds;

static void *fork_and_wait(void *unused)
{
    pid_t child = fork();
    if (child < 0)
        known_fail("fork");
    if (child == 0) {
        known_hold(bytes, seconds);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    return unused;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: thread-fork BYTES [SECONDS]\n");
        return 2;
    }
    bytes = (size_t)known_arg(argc, argv, 1, 0);
    seconds = known_arg(argc, argv, 2, 0.5);
    pthread_t thread;
    errno = pthread_create(&thread, NULL, fork_and_wait, NULL);
    if (errno)
        known_fail("pthread_create");
    pthread_join(thread, NULL);
    return 0;
}
