/*
 * The files of one process in /proc: open them, keep them open, close them.
 *
 * The descriptor of /proc/PID is bound to the process: when the process has ended, reads below it fail with ESRCH, even
 * if its PID has been allocated again. Without a descriptor the start time tells two processes with the same PID apart.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum { DESCRIPTORS_PER_MEMBER = 7 };

/* Open /proc/PID/task/TID below the descriptor of /proc/PID. */
int open_thread_dir(int dir_fd, int tid)
{
    char name[32] = "task/";
    cm_format_number(name + 5, (uint64_t)tid);
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Open the member's /proc/PID. Fail unless the start time is still the same. */
int member_open_dir(struct sampler *s, const struct member *m)
{
    struct cm_stat stat;
    int fd = cm_open_process(s->proc_fd, m->pid);
    if (fd < 0)
        return fd == -ENOENT ? -ESRCH : fd;
    if (cm_read_stat(fd, "stat", &stat) < 0 || stat.start_ticks != m->start_ticks) {
        close(fd);
        return -ESRCH;
    }
    return fd;
}

/* Return the folder that the member's files are read in: the descriptor that is kept open, or one that the caller
 * closes. */
static int open_reading_dir(struct sampler *s, const struct member *m)
{
    if (m->read_fd >= 0)
        return m->read_fd;
    int folder = member_open_dir(s, m);
    if (folder < 0 || m->read_tid == 0)
        return folder;
    int thread = open_thread_dir(folder, m->read_tid);
    close(folder);
    return thread;
}

static int open_in_reading_dir(struct sampler *s, const struct member *m, const char *file, int flags)
{
    int folder = open_reading_dir(s, m);
    if (folder < 0)
        return folder;
    int fd = openat(folder, file, flags | O_CLOEXEC);
    int error = errno;
    if (folder != m->read_fd)
        close(folder);
    return fd < 0 ? -error : fd;
}

int member_open_file(struct sampler *s, struct member *m, const char *file)
{
    return open_in_reading_dir(s, m, file, O_RDONLY);
}

int member_read(struct sampler *s, struct member *m, int source, uint32_t *row)
{
    if (m->fds[source] >= 0)
        return cm_sources[source]->read(m->fds[source], row);
    int fd = member_open_file(s, m, cm_sources[source]->file);
    if (fd < 0)
        return fd == -ENOENT ? -ESRCH : fd;
    int error = cm_sources[source]->read(fd, row);
    close(fd);
    return error;
}

/* Read /proc/PID/stat of the member. Return 0; -ESRCH if it is gone; or another -errno. */
int member_read_stat(struct sampler *s, const struct member *m, struct cm_stat *stat)
{
    if (m->stat_fd >= 0)
        return cm_read_stat_fd(m->stat_fd, stat);
    int dir_fd = m->dir_fd >= 0 ? m->dir_fd : member_open_dir(s, m);
    int error = dir_fd < 0 ? dir_fd : cm_read_stat(dir_fd, "stat", stat);
    if (dir_fd >= 0 && dir_fd != m->dir_fd)
        close(dir_fd);
    return error == -ENOENT ? -ESRCH : error;
}

/* Reset the member's high-water mark, as cm_window_reset does. */
int member_reset_hwm(struct sampler *s, struct member *m)
{
    if (m->fds[CM_WINDOWS] >= 0)
        return cm_window_reset(m->fds[CM_WINDOWS]);
    int fd = open_in_reading_dir(s, m, "clear_refs", O_WRONLY);
    int done = fd < 0 ? -EACCES : cm_window_reset(fd);
    if (fd >= 0)
        close(fd);
    return done;
}

void member_close(struct sampler *s, struct member *m)
{
    int *all[] = {&m->children_fd, &m->stat_fd, &m->dir_fd};
    if (m->read_fd >= 0 && m->read_fd != m->dir_fd) {
        close(m->read_fd);
        s->descriptors.open--;
    }
    m->read_fd = -1;
    for (size_t i = 0; i < sizeof all / sizeof *all + CM_SOURCES; i++) {
        int *fd = i < CM_SOURCES ? &m->fds[i] : all[i - CM_SOURCES];
        if (*fd >= 0) {
            close(*fd);
            s->descriptors.open--;
        }
        *fd = -1;
    }
}

/* Keep descriptors of the files that are read all the time. If there are too few descriptors, close the member's
 * folder too. Everything is then opened and closed at each reading. */
void member_keep_fds(struct sampler *s, struct member *m)
{
    if (s->descriptors.open + DESCRIPTORS_PER_MEMBER > s->descriptors.max) {
        DEBUG(m->pid, "no descriptors left: its files are opened at each reading", 0);
        member_close(s, m);
        return;
    }
    for (int i = 0; i < CM_SOURCES; i++) {
        bool is_reset_file = i == CM_WINDOWS && track_wanted(s, CM_WINDOWS);
        if (!is_reset_file && cm_sources[i]->cadence != CM_EVERY_TICK && cm_sources[i]->cadence != CM_ROUND_ROBIN)
            continue;
        m->fds[i] = openat(m->read_fd, cm_sources[i]->file, (is_reset_file ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
        s->descriptors.open += m->fds[i] >= 0;
    }
    char name[32] = "task/";
    strcpy(cm_format_number(name + 5, (uint64_t)m->pid), "/children");
    m->children_fd = openat(m->dir_fd, name, O_RDONLY | O_CLOEXEC);
    s->descriptors.open += m->children_fd >= 0;
    m->stat_fd = openat(m->dir_fd, "stat", O_RDONLY | O_CLOEXEC);
    s->descriptors.open += m->stat_fd >= 0;
}
