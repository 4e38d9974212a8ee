/*
 * fork-share BYTES CHILDREN [SECONDS=1] [WRITER=none]
 *
 * Touches BYTES, then forks CHILDREN children that share every page of it. All are alive together for SECONDS; the
 * parent reaps them and exits 0. The footprint of the tree is BYTES, the copies, and the processes' own start-up pages.
 *
 * Copies are made when all children have been forked, and held for SECONDS. WRITER says which process writes to all
 * BYTES, which copies them: none; parent: the parent (the children keep the old pages); child: the first child;
 * children: all children at once; part: all children, child k of n to the first k/n of them. No RSS changes by that.
 */
#include "known.h"

enum writer { NONE, PARENT, CHILD, CHILDREN, PART };

/* Return how many bytes a process writes to; process 0 is the parent. */
static size_t written(enum writer writer, unsigned process, unsigned children, size_t bytes)
{
    switch (writer) {
    case PARENT:
        return process == 0 ? bytes : 0;
    case CHILD:
        return process == 1 ? bytes : 0;
    case CHILDREN:
        return process > 0 ? bytes : 0;
    case PART:
        return children ? bytes / KNOWN_PAGE * process / children * KNOWN_PAGE : 0;
    default:
        return 0;
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: fork-share BYTES CHILDREN [SECONDS] [none|parent|child|children|part]\n");
        return 2;
    }
    size_t bytes = (size_t)known_arg(argc, argv, 1, 0);
    unsigned children = (unsigned)known_arg(argc, argv, 2, 0);
    double seconds = known_arg(argc, argv, 3, 1);
    enum writer writer =
        known_choice(argc, argv, 4, (const char *[]){"none", "parent", "child", "children", "part", NULL});
    pthread_barrier_t *together = known_barrier(children + 1);
    char *mapping = known_touch(bytes);
    unsigned process = 0;
    for (unsigned i = 1; i <= children && process == 0; i++)
        process = known_fork() == 0 ? i : 0;
    known_meet(together);
    known_write(mapping, written(writer, process, children, bytes));
    known_meet(together);
    if (process == 0)
        known_print("holding");
    known_sleep(seconds);
    if (process == 0)
        known_reap_all();
    return 0;
}
