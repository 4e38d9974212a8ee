/*
 * A group for the target below one that was delegated to the sampler alone (systemd-run --user --scope).
 *
 * A group of version 2 hands no controller down while it holds processes itself. So the sampler first moves into a leaf,
 * and the target's group is made beside that one; the sampler's own memory is then in neither the way nor the figure.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler.h"

static const char OWN[] = "sampler", TARGETS[] = "target";

/* The folder of the sampler's own group: the line "0::/PATH" of /proc/self/cgroup, below the mount. */
static int open_own(int mount_fd)
{
    char text[4096];
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -errno : cm_pread_text(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    char *path = got > 0 ? strstr(text, "0::/") : NULL;
    if (path == NULL)
        return -ENOENT;
    path += strlen("0::/");
    *strchrnul(path, '\n') = 0;
    fd = openat(mount_fd, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int make(int parent_fd, const char *name)
{
    if (syscall(SYS_mkdirat, parent_fd, name, 0755) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int hand_memory_down(int fd)
{
    int file = openat(fd, "cgroup.subtree_control", O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    int error = write(file, "+memory", 7) == 7 ? 0 : -errno;
    close(file);
    return error;
}

/* The target's group in place of the mount's folder: a descriptor, or -errno. */
int nest(int mount_fd)
{
    int own_fd = open_own(mount_fd);
    if (own_fd < 0)
        return own_fd;
    int leaf_fd = make(own_fd, OWN), error = leaf_fd < 0 ? leaf_fd : -cm_group_enter(leaf_fd, 2);
    if (error == 0)
        error = hand_memory_down(own_fd);
    int target_fd = error == 0 ? make(own_fd, TARGETS) : error;
    if (leaf_fd >= 0)
        close(leaf_fd);
    close(own_fd);
    return target_fd;
}
