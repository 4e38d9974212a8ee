/*
 * overlap BYTES
 *
 * After 20 ms, two children hold BYTES at the same time for 100 ms. 60 ms after the other has ended, the first starts a
 * thread that ends, and exits 50 ms later. Only the kernel shows that the process is older than its thread.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *unused)
{
    return unused;
}

static void child(size_t bytes, int with_thread)
{
    pthread_t thread;
    if (fork() != 0)
        return;
    char *held = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (held == MAP_FAILED)
        _exit(1);
    memset(held, 1, bytes);
    usleep(100000);
    munmap(held, bytes);
    if (with_thread) {
        usleep(60000); /* the other child has ended by then */
        if (pthread_create(&thread, NULL, nothing, NULL) != 0)
            _exit(1);
        pthread_join(thread, NULL);
        usleep(50000);
    }
    _exit(0);
}

int main(int argc, char **argv)
{
    int status, wrong = argc < 2;
    usleep(20000);
    for (int i = 0; i < 2; i++)
        child(argc < 2 ? 0 : strtoul(argv[1], NULL, 10), i == 0);
    while (wait(&status) > 0)
        wrong |= status != 0;
    return wrong;
}
