/*
 * crew BYTES
 *
 * Starts a thread that ends, then a child that holds nothing, then a child that touches BYTES. Exits 0. The whole run
 * takes a few milliseconds.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *unused)
{
    return unused;
}

static int child(size_t bytes)
{
    pid_t pid = fork();
    if (pid == 0) {
        volatile char *held = malloc(bytes); /* volatile, or the compiler would remove writes that are never read */
        for (size_t i = 0; i < bytes; i += 4096)
            held[i] = 1;
        _exit(0);
    }
    usleep(5000);
    return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    if (argc < 2)
        return 2;
    if (pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return 1;
    usleep(5000);
    return !(child(0) && child(strtoul(argv[1], NULL, 10)));
}
