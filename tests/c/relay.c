/*
 * relay BYTES SECONDS LIFE
 *
 * The main thread exits at once. Threads that live LIFE seconds each start one another. The first touches BYTES, which
 * stay. After SECONDS the process exits 0.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double life_s, until_s;
static size_t bytes;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *run(void *unused)
{
    static char *held;
    pthread_attr_t detached;
    pthread_t next;
    if (held == NULL)
        held = memset(malloc(bytes), 1, bytes);
    usleep((useconds_t)(life_s * 1e6));
    if (now_s() > until_s)
        exit(0);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&next, &detached, run, unused) != 0)
        exit(1);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t first;
    if (argc < 4)
        return 2;
    bytes = strtoul(argv[1], NULL, 10);
    until_s = now_s() + atof(argv[2]);
    life_s = atof(argv[3]);
    if (pthread_create(&first, NULL, run, NULL) != 0)
        return 1;
    pthread_exit(NULL);
}
