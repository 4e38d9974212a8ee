/*
 * children: the processes of the tree. /proc/PID/task/TID/children lists the children of a thread. The sampler keeps a
 * descriptor of the main thread's list for every process. (How the tree is found: tree.c and threads.c.)
 *
 * The column `unseen` counts PIDs that the kernel has allocated since the last tick and that are free again: processes,
 * or threads, that started and ended between two ticks. The upper bound of the tree's memory has to allow for them.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "shared/internal.h"

static int probe(int proc_fd, const char **why)
{
    int fd = openat(proc_fd, "thread-self/children", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int error = errno;
        *why = "this kernel has no /proc/<pid>/task/<tid>/children (CONFIG_PROC_CHILDREN): children are found by "
               "their PIDs alone";
        return -error;
    }
    close(fd);
    return 0;
}

const struct cm_source cm_source_children = {
    .name = "children",
    .needs = "a kernel with CONFIG_PROC_CHILDREN; kernels of distributions have it",
    .remedy = "",
    .cadence = CM_PER_TREE,
    .ncolumns = 2,
    .columns = {{.name = "processes", .unit = CM_UNIT_COUNT, .scale = 1},
                {.name = "unseen", .unit = CM_UNIT_COUNT, .scale = 1}},
    .probe = probe,
};
