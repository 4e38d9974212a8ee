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

/* Open a file of the member if it is kept open and is not open yet. Most short processes end before all are needed. */
static void keep_open(struct sampler *s, const struct member *m, int *fd, int folder, const char *file, int flags)
{
    if (*fd >= 0 || !m->keeps_files || s->descriptors.open >= s->descriptors.max)
        return;
    *fd = openat(folder, file, flags | O_CLOEXEC);
    DEBUG_DETAIL(m->pid, *fd < 0 ? "cannot open" : "opened", file, *fd < 0 ? errno : 0);
    s->descriptors.open += *fd >= 0;
}

int member_read(struct sampler *s, struct member *m, int source, uint32_t *row)
{
    const struct cm_source *read = cm_sources[source];
    if (read->cadence == CM_EVERY_TICK || read->cadence == CM_ROUND_ROBIN)
        keep_open(s, m, &m->fds[source], m->read_fd, read->file, O_RDONLY);
    if (m->fds[source] >= 0)
        return read->read(m->fds[source], row);
    int fd = member_open_file(s, m, read->file);
    if (fd < 0)
        return fd == -ENOENT ? -ESRCH : fd;
    int error = read->read(fd, row);
    close(fd);
    return error;
}

/* Read /proc/PID/stat of the member. Return 0; -ESRCH if it is gone; or another -errno. */
int member_read_stat(struct sampler *s, struct member *m, struct cm_stat *stat)
{
    keep_open(s, m, &m->stat_fd, m->dir_fd, "stat", O_RDONLY);
    if (m->stat_fd >= 0)
        return cm_read_stat_fd(m->stat_fd, stat);
    int dir_fd = m->dir_fd >= 0 ? m->dir_fd : member_open_dir(s, m);
    int error = dir_fd < 0 ? dir_fd : cm_read_stat(dir_fd, "stat", stat);
    if (dir_fd >= 0 && dir_fd != m->dir_fd)
        close(dir_fd);
    return error == -ENOENT ? -ESRCH : error;
}

/* Return the descriptor of the list of the children of the member's main thread, or -1 if it is not kept open. */
int member_children_fd(struct sampler *s, struct member *m)
{
    char name[64] = "task/";
    if (m->children_fd < 0) {
        strcpy(cm_format_number(name + 5, (uint64_t)m->pid), "/children");
        keep_open(s, m, &m->children_fd, m->dir_fd, name, O_RDONLY);
    }
    return m->children_fd;
}

/* Reset the member's high-water mark, as cm_window_reset does. */
int member_reset_hwm(struct sampler *s, struct member *m)
{
    keep_open(s, m, &m->fds[CM_WINDOWS], m->read_fd, cm_sources[CM_WINDOWS]->file, O_WRONLY);
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

/* Keep the files that are read all the time open, from their first reading on. If there are too few descriptors, close
 * the member's folder too. Everything is then opened and closed at each reading. */
void member_keep_files(struct sampler *s, struct member *m)
{
    m->keeps_files = s->descriptors.open + DESCRIPTORS_PER_MEMBER <= s->descriptors.max;
    if (!m->keeps_files) {
        DEBUG(m->pid, "no descriptors left: its files are opened at each reading", 0);
        member_close(s, m);
    }
}
