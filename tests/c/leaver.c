/*
 * leaver spike BYTES
 * leaver exec COMMAND [ARGUMENTS...]
 *
 * The main thread exits at once. With "spike", a thread named "worker" touches BYTES after 0.1 s, unmaps them after
 * another 0.1 s, and ends the process with 0 half a second later. With "exec", the worker executes COMMAND after 0.2 s,
 * which makes it the main thread.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char **words;

static void *work(void *unused)
{
    pthread_setname_np(pthread_self(), "worker");
    usleep(100000);
    if (strcmp(words[0], "exec") == 0) {
        usleep(100000);
        execv(words[1], words + 1);
        exit(1);
    }
    size_t bytes = strtoul(words[1], NULL, 10);
    char *held = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (held == MAP_FAILED)
        exit(1);
    memset(held, 1, bytes);
    usleep(100000);
    munmap(held, bytes);
    usleep(500000);
    exit(0);
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t worker;
    words = argv + 1;
    if (argc < 3 || pthread_create(&worker, NULL, work, NULL) != 0)
        return 2;
    pthread_exit(NULL);
}
