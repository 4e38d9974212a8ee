/* N threads of the operating system that sleep. */
#define _POSIX_C_SOURCE 200809L

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct timespec nap;

static void *task(void *unused) {
    (void)unused;
    clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
    return NULL;
}

static int read_arguments(int argc, char **argv, long *tasks) {
    if (argc < 2 || argc > 3) {
        return 0;
    }
    char *end;
    *tasks = strtol(argv[1], &end, 10);
    if (*argv[1] == '\0' || *end != '\0' || *tasks < 1) {
        return 0;
    }
    double seconds = 10;
    if (argc == 3) {
        seconds = strtod(argv[2], &end);
        if (*argv[2] == '\0' || *end != '\0' || !(seconds >= 0 && seconds < 1e9)) {
            return 0;
        }
    }
    nap.tv_sec = (time_t)seconds;
    nap.tv_nsec = (long)((seconds - (double)nap.tv_sec) * 1e9);
    return 1;
}

int main(int argc, char **argv) {
    long tasks;
    if (!read_arguments(argc, argv, &tasks)) {
        fputs("usage: c-threads N [SLEEP_SECONDS=10]\n", stderr);
        return 2;
    }
    pthread_t *threads = calloc((size_t)tasks, sizeof *threads);
    if (threads == NULL) {
        perror("could not start thread 1");
        return 1;
    }
    for (long i = 0; i < tasks; i++) {
        int error = pthread_create(&threads[i], NULL, task, NULL);
        if (error != 0) {
            fprintf(stderr, "could not start thread %ld: %s\n", i + 1, strerror(error));
            return 1;
        }
    }
    printf("started %ld\n", tasks);
    fflush(stdout);
    for (long i = 0; i < tasks; i++) {
        pthread_join(threads[i], NULL);
    }
    printf("done %ld\n", tasks);
    return 0;
}
