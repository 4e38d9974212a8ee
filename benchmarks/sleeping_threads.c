/* sleeping_threads COUNT SECONDS: so many threads that sleep so long. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned int sleep_s;

static void *sleeping(void *unused)
{
    (void)unused;
    sleep(sleep_s);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    long count = atol(argv[1]);
    sleep_s = (unsigned int)atol(argv[2]);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    for (long i = 1; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, &small, sleeping, NULL) != 0) {
            fprintf(stderr, "only %ld threads can run here\n", i);
            return 1;
        }
    }
    sleeping(NULL);
    return 0;
}
