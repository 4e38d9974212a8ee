/*
 * bomb COUNT SECONDS
 *
 * Processes that all fork as fast as they can, until there are COUNT. Then each keeps forking children that exit at
 * once, so that its memory map is always being copied, and locked. All exit after SECONDS.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    int most = atoi(argv[1]);
    double end_s = now_s() + atof(argv[2]);
    int *count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (count == MAP_FAILED)
        return 1;
    *count = 1;
    while (now_s() < end_s) {
        if (__atomic_fetch_add(count, 1, __ATOMIC_SEQ_CST) < most) {
            if (fork() < 0)
                __atomic_fetch_sub(count, 1, __ATOMIC_SEQ_CST);
            continue;
        }
        __atomic_fetch_sub(count, 1, __ATOMIC_SEQ_CST);
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        if (child > 0)
            waitpid(child, NULL, 0);
    }
    return 0;
}
