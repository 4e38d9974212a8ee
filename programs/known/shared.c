/*
 * shared BYTES [PROCESSES=4] [SECONDS=0.2]
 *
 * Maps BYTES that it shares with PROCESSES children (MAP_SHARED | MAP_ANONYMOUS). Each child touches all of them, as
 * does the parent. Prints "holding" when all have, holds for SECONDS, reaps the children and exits 0. BYTES are in the
 * RSS of every process, as shared memory; the footprint of the tree is BYTES once, and start-up pages.
 */
#include "known.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

static void touch_and_hold(char *mapping, size_t bytes, pthread_barrier_t *together, double seconds)
{
    if (mapping)
        known_write(mapping, bytes);
    pthread_barrier_wait(together);
    if (seconds > 0) {
        known_print("holding");
        known_sleep(seconds);
    }
    pthread_barrier_wait(together);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: shared BYTES [PROCESSES] [SECONDS]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    unsigned processes = (unsigned)known_arg(argc, argv, 2, 4);
    double seconds = known_arg(argc, argv, 3, 0.2);
    char *mapping = known_map_shared(bytes);
    pthread_barrier_t *together = (void *)known_map_shared(sizeof *together);
    pthread_barrierattr_t between_processes;
    pthread_barrierattr_init(&between_processes);
    pthread_barrierattr_setpshared(&between_processes, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(together, &between_processes, processes + 1);
    for (unsigned i = 0; i < processes; i++) {
        pid_t child = fork();
        if (child < 0)
            known_fail("fork");
        if (child == 0) {
            /* Otherwise it would wait for ever for siblings that could not be forked. */
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            touch_and_hold(mapping, bytes, together, 0);
            _exit(0);
        }
    }
    touch_and_hold(mapping, bytes, together, seconds);
    while (wait(NULL) > 0)
        ;
    return 0;
}
