/*
 * other-user BYTES [SECONDS=0.5] [UID=65534]
 *
 * A child becomes the user UID, touches BYTES, prints "holding PID" and holds them for SECONDS. The parent reaps it and
 * exits 0. Only root may do this: for other users the child and then the parent exit with 1.
 */
#include "known.h"

#include <grp.h>

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: other-user BYTES [SECONDS] [UID]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    double seconds = known_arg(argc, argv, 2, 0.5);
    uid_t user = (uid_t)known_arg(argc, argv, 3, 65534);
    if (known_fork() == 0) {
        if (setgroups(0, NULL) || setresgid(user, user, user) || setresuid(user, user, user))
            known_fail("setresuid");
        known_hold(bytes, seconds);
        _exit(0);
    }
    known_reap_all();
    return 0;
}
