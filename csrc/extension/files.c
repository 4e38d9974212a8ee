/*
 * Descriptors and folders that C owns. A descriptor is closed and forgotten in one step, by whichever thread comes
 * first. Closing is never tried again: a second close could close another thread's new file.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared/internal.h"

enum { BUSY_MS = 100 /* a process can be listed in its group for a moment after its end */ };

/* The same on every architecture but Alpha. Some C libraries are older than these system calls. */
enum { FSOPEN = 430, FSCONFIG = 431, FSMOUNT = 432, OPEN_CLOEXEC = 1, CREATE = 6 };

/* Store a descriptor that has just been opened. Return 0, or -errno if it could not be opened. */
int cm_file_set(struct cm_file *file, int fd)
{
    if (fd < 0)
        return -errno;
    struct stat status;
    fstat(fd, &status);
    *file = (struct cm_file){.fd = fd, .device = status.st_dev, .inode = status.st_ino};
    __atomic_store_n(&file->is_open, 1, __ATOMIC_RELEASE);
    return 0;
}

/* Return whether the descriptor is still the same file: a host that becomes a daemon may close all descriptors. */
bool cm_file_is_valid(const struct cm_file *file)
{
    struct stat status;
    return file->is_open && fstat(file->fd, &status) == 0 && status.st_dev == file->device &&
           status.st_ino == file->inode;
}

void cm_close(struct cm_file *file)
{
    bool there = cm_file_is_valid(file);
    if (__atomic_exchange_n(&file->is_open, 0, __ATOMIC_ACQ_REL) && there)
        close(file->fd);
}

/* The signal that this write causes is taken back before this thread can receive it. One that was pending stays. */
int64_t cm_write(int fd, const void *data, uint64_t n)
{
    sigset_t pipe_signal, pending, before;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    sigpending(&pending);
    ssize_t done = write(fd, data, n);
    int error = errno;
    if (done < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE)) {
        struct timespec at_once = {0};
        sigtimedwait(&pipe_signal, NULL, &at_once);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return done < 0 ? -error : done;
}

int cm_open(struct cm_file *file, const char *path, int flags)
{
    return cm_file_set(file, open(path, flags | O_CLOEXEC));
}

int cm_open_process_fd(struct cm_file *file, int pid)
{
    return cm_file_set(file, (int)syscall(SYS_pidfd_open, pid, 0));
}

/* The read end does not block, the write end does. */
int cm_open_pipe(struct cm_file *reader, struct cm_file *writer)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    cm_file_set(reader, fds[0]);
    return cm_file_set(writer, fds[1]);
}

int cm_open_cgroup_mount(struct cm_file *file)
{
    int context = (int)syscall(FSOPEN, "cgroup2", OPEN_CLOEXEC);
    if (context < 0)
        return -errno;
    int mount = -1;
    if (syscall(FSCONFIG, context, CREATE, NULL, NULL, 0) == 0)
        mount = (int)syscall(FSMOUNT, context, OPEN_CLOEXEC, 0);
    int done = cm_file_set(file, mount);
    close(context);
    return done;
}

int cm_name_group(struct cm_group_folder *group, const char *path)
{
    group->path = strdup(path);
    return group->path == NULL ? -ENOMEM : 0;
}

void cm_forget_group(struct cm_group_folder *group)
{
    char *path = __atomic_exchange_n(&group->path, NULL, __ATOMIC_ACQ_REL);
    free(path);
    cm_close(&group->folder);
    cm_close(&group->mount);
}

static int remove_folder(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)status, (void)at;
    if (kind == FTW_DP)
        rmdir(path); /* one that is busy is tried again, or left */
    return 0;
}

/* Remove the folder and the groups that the target made in it. For a folder that Python could not remove. */
void cm_remove_group(struct cm_group_folder *group)
{
    for (int ms = 0; group->path != NULL && ms < BUSY_MS && access(group->path, F_OK) == 0; ms++) {
        if (ms > 0)
            poll(NULL, 0, 1);
        nftw(group->path, remove_folder, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    }
    cm_forget_group(group);
}
