/*
 * chain SECONDS BYTES...
 *
 * One process for each BYTES, each the child of the one before: it unmaps what it inherited, touches its own BYTES and
 * forks the next. The last prints "holding". From then on all are alive together for SECONDS, then end from the last to
 * the first, each reaped by its parent. The footprint of the tree is the sum of all BYTES and the start-up pages.
 */
#include "known.h"

#include <sys/wait.h>

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: chain SECONDS BYTES...\n");
        return 2;
    }
    double seconds = known_arg(argc, argv, 1, 1);
    char *inherited = NULL;
    size_t inherited_bytes = 0;
    for (int link = 2; link < argc; link++) {
        size_t bytes = (size_t)known_arg(argc, argv, link, 0);
        known_unmap(inherited, inherited_bytes);
        inherited = known_touch(bytes);
        inherited_bytes = bytes;
        if (link + 1 == argc) {
            known_print("holding");
            known_sleep(seconds);
            return 0;
        }
        pid_t child = fork();
        if (child < 0)
            known_fail("fork");
        if (child > 0) {
            int status;
            if (waitpid(child, &status, 0) != child)
                known_fail("waitpid");
            return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        }
    }
    return 0;
}
