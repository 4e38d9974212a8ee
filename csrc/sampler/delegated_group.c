/*
 * Make a group for the target below a group that was delegated to the sampler alone (systemd-run --user --scope).
 *
 * A group of cgroup v2 cannot enable a controller for its children while it holds processes itself. So the sampler
 * first moves into a child group, and makes the target's group beside that one. The sampler's own memory is then not
 * part of the figure.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

static const char SAMPLER_NAME[] = "sampler", TARGET_NAME[] = "target";

/* Open the folder of the sampler's own group: the path in the line "0::/PATH" of /proc/self/cgroup, below the mount. */
static int open_own_group(int mount_fd)
{
    char text[LINE_BYTES], *path = NULL;
    struct cm_lines lines;
    int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    cm_lines_begin(&lines, fd, text, sizeof text);
    while ((path = cm_lines_next(&lines)) != NULL && strncmp(path, "0::/", strlen("0::/")) != 0)
        ;
    close(fd);
    if (path == NULL || lines.is_cut)
        return lines.error != 0 ? lines.error : -ENOENT;
    path += strlen("0::/");
    fd = openat(mount_fd, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int make_group(int parent_fd, const char *name)
{
    if (syscall(SYS_mkdirat, parent_fd, name, 0755) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int write_file(int dir_fd, const char *name, const char *text)
{
    int file = openat(dir_fd, name, O_WRONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    int error = write(file, text, strlen(text)) < 0 ? -errno : 0;
    close(file);
    return error;
}

/* Make the group in which the target starts. Without its limit, if it is to have one, it is not used. */
static int make_target_group(int parent_fd, uint64_t limit_bytes)
{
    char text[24];
    int fd = make_group(parent_fd, TARGET_NAME);
    if (fd < 0 || limit_bytes == 0)
        return fd;
    cm_format_number(text, limit_bytes);
    int error = write_file(fd, "memory.max", text);
    if (error == 0)
        return fd;
    close(fd);
    return error;
}

/* Make the target's group below the sampler's own group. Return a descriptor, or -errno. `limit_bytes` can be 0. */
int delegated_group_make(int mount_fd, uint64_t limit_bytes)
{
    int group_fd = open_own_group(mount_fd);
    if (group_fd < 0)
        return group_fd;
    int leaf_fd = make_group(group_fd, SAMPLER_NAME), error = leaf_fd < 0 ? leaf_fd : -cm_group_enter(leaf_fd, 2);
    if (error == 0)
        error = write_file(group_fd, "cgroup.subtree_control", "+memory");
    int target_fd = error == 0 ? make_target_group(group_fd, limit_bytes) : error;
    if (leaf_fd >= 0)
        close(leaf_fd);
    close(group_fd);
    return target_fd;
}
