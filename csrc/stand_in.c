/* A process whose main thread has left, read through another of its threads. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "sampler.h"

int stand_in_open(int dir_fd, int tid)
{
    char name[32] = "task/";
    cm_format(name + 5, (uint64_t)tid);
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* The main thread has left by pthread_exit and others go on: their memory is read through one of them. */
bool stand_in_find(struct sampler *s, struct member *m)
{
    struct cm_stat stat;
    int dir_fd = m->dir_fd >= 0 ? m->dir_fd : member_folder(s, m);
    if (dir_fd < 0)
        return false;
    int tid = cm_read_stat(dir_fd, "stat", &stat) == 0 && stat.threads > 1 ? threads_other(dir_fd, m->pid) : 0;
    if (tid != 0 && m->dir_fd >= 0) {
        int folder = stand_in_open(dir_fd, tid);
        if (folder < 0) {
            tid = 0;
        } else {
            if (m->read_fd != m->dir_fd) {
                close(m->read_fd);
                s->descriptors--;
            }
            m->read_fd = folder;
            s->descriptors++;
            for (int i = 0; i < CM_SOURCES; i++) {
                if (m->fds[i] < 0 || i == CM_WINDOWS) /* whose file a thread has not */
                    continue;
                close(m->fds[i]);
                m->fds[i] = openat(folder, cm_sources[i]->file, O_RDONLY | O_CLOEXEC);
                s->descriptors -= m->fds[i] < 0;
            }
        }
    }
    if (dir_fd != m->dir_fd)
        close(dir_fd);
    m->tid = tid;
    return tid != 0;
}

/* How many threads are left of it, a main thread that has not been waited for included; 0 where it is gone. */
int stand_in_left(struct sampler *s, const struct member *m)
{
    struct cm_stat stat;
    int dir_fd = m->dir_fd >= 0 ? m->dir_fd : member_folder(s, m);
    int left = dir_fd >= 0 && cm_read_stat(dir_fd, "stat", &stat) == 0 ? stat.threads : 0;
    if (dir_fd >= 0 && dir_fd != m->dir_fd)
        close(dir_fd);
    return left;
}
