/*
 * windows: VmHWM, read and then reset to the present RSS by writing 5 to clear_refs, so that each reading is the exact
 * maximum since the last one. A reset takes half a microsecond, whatever the size of the process.
 *
 * It changes the target's own ru_maxrss and VmHWM, so it must be requested. The reset takes mmap_lock for writing. If
 * the target holds that lock (MAP_POPULATE does, while it fills in pages), the reset waits, and what the target touched
 * and freed in that time is lost. So a reset that took long is counted as inexact.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "shared/internal.h"

enum { IMMEDIATE_NS = 20000 };

/* Reset the mark. Return 1 if it was immediate, 0 if it had to wait, or -errno. */
int cm_window_reset(int fd)
{
    uint64_t before_ns = cm_now_ns();
    if (write(fd, "5", 1) != 1)
        return -errno;
    return cm_now_ns() - before_ns <= IMMEDIATE_NS;
}

/* Only open the file: a reset would change the host's own mark. */
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
    .needs = "Linux 4.0 with CONFIG_PROC_PAGE_MONITOR, and processes of the same user",
    .remedy = "sudo concmem run --windows -- CMD",
    .file = "clear_refs",
    .cadence = CM_PER_TREE,
    .on_request = true,
    .column = "windows",
    .ncolumns = 3,
    .columns = {{.name = "rss", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "largest", .unit = CM_UNIT_BYTES, .scale = 1024},
                {.name = "inexact", .unit = CM_UNIT_COUNT, .scale = 1}},
    .probe = probe,
};
