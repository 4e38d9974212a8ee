/*
 * windows: VmHWM, read and then set back to the present RSS by writing 5 to clear_refs, so that each reading is the
 * exact maximum since the one before. Half a microsecond a reset whatever the size of the process.
 *
 * It falsifies the target's own ru_maxrss and VmHWM, which is why it has to be asked for. And the reset takes mmap_lock
 * for writing: behind a target that holds it (MAP_POPULATE does, all the while that it fills pages in) it waits, and what
 * the target touched and gave back meanwhile is wiped out unread. A reset that took long is therefore counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "shared/internal.h"

enum { AT_ONCE_NS = 20000 };

/* Sets the mark back: 1 where it went at once, 0 where it had to wait, or -errno. */
int cm_window_reset(int fd)
{
    uint64_t before_ns = cm_now_ns();
    if (write(fd, "5", 1) != 1)
        return -errno;
    return cm_now_ns() - before_ns <= AT_ONCE_NS;
}

/* Opened only: a reset would falsify the host's own mark. */
static int probe(int proc_fd, const char **why)
{
    int fd = openat(proc_fd, "self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        return 0;
    }
    int error = errno;
    *why = error == ENOENT ? "this kernel has no /proc/<pid>/clear_refs (CONFIG_PROC_PAGE_MONITOR)"
                           : "/proc/<pid>/clear_refs may not be written";
    return -error;
}

const struct cm_source cm_source_windows = {
    .name = "windows",
    .needs = "Linux 4.0 with CONFIG_PROC_PAGE_MONITOR, and processes of one's own user",
    .remedy = "sudo concmem run --windows -- CMD",
    .file = "clear_refs",
    .cadence = CM_PER_TREE,
    .on_request = true,
    .ncolumns = 3,
    .columns = {{.name = "rss", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "largest", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "inexact", .unit = CM_UNIT_COUNT, .scale = 1}},
    .probe = probe,
};
