/*
 * Read a process whose main thread (the thread-group leader) has exited by pthread_exit while other threads run.
 *
 * The kernel shows such a process as a zombie: /proc/PID/statm reads zeros. The files in /proc/PID/task/TID of another
 * thread show the memory.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

/* Return a thread of the process that has memory and is not its main thread, or 0. */
static int find_other_thread(int dir_fd, int leader)
{
    int fd = openat(dir_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char text[1024];
    int other = 0;
    if (fd < 0)
        return 0;
    ssize_t got;
    while (other == 0 && (got = syscall(SYS_getdents64, fd, text, sizeof text)) > 0)
        for (ssize_t at = 0; at < got && other == 0; at += ((struct dir_entry *)(text + at))->length) {
            const char *listed = ((struct dir_entry *)(text + at))->name;
            int tid = (int)cm_parse_number(&listed);
            char name[48] = "task/", statm[64];
            if (tid <= 0 || tid == leader)
                continue;
            strcpy(cm_format_number(name + 5, (uint64_t)tid), "/statm");
            if (cm_read_file_at(dir_fd, name, statm, sizeof statm) > 0 && statm[0] != '0')
                other = tid;
        }
    close(fd);
    return other;
}

/* Close the files of the process that are kept open, and open them again in `dir`. */
static void read_through(struct sampler *s, struct member *m, int dir)
{
    if (m->read_fd != m->dir_fd) {
        close(m->read_fd);
        s->descriptors.open--;
    }
    m->read_fd = dir;
    s->descriptors.open += dir != m->dir_fd;
    for (int i = 0; i < CM_SOURCES; i++) {
        if (m->fds[i] < 0)
            continue;
        close(m->fds[i]);
        m->fds[i] = openat(dir, cm_sources[i]->file, (i == CM_WINDOWS ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
        s->descriptors.open -= m->fds[i] < 0;
    }
}

static bool is_dead(const struct cm_stat *stat)
{
    return stat->state == 'Z' || stat->state == 'X';
}

/*
 * Find a thread to read the process through, and switch to it. A thread that executes another program becomes the main
 * thread. Return false if there is no thread to read.
 */
bool leader_exited_find(struct sampler *s, struct member *m)
{
    struct cm_stat stat;
    int dir_fd = m->dir_fd >= 0 ? m->dir_fd : member_open_dir(s, m);
    if (dir_fd < 0)
        return false;
    bool known = cm_read_stat(dir_fd, "stat", &stat) == 0;
    bool leader_lives = known && !is_dead(&stat) && (m->read_tid != 0 || m->read_fd != m->dir_fd);
    bool has_others = known && !leader_lives && stat.threads > 1;
    int tid = has_others ? find_other_thread(dir_fd, m->pid) : 0;
    m->threads_read |= has_others;
    if (m->dir_fd >= 0 && (leader_lives || tid != 0)) {
        int dir = leader_lives ? m->dir_fd : open_thread_dir(dir_fd, tid);
        if (dir < 0)
            tid = 0;
        else
            read_through(s, m, dir);
    }
    if (dir_fd != m->dir_fd)
        close(dir_fd);
    m->read_tid = tid;
    return leader_lives || tid != 0;
}

/* Return whether a process that could not be read is gone, is a zombie, or may still live. */
enum process_state leader_exited_state(struct sampler *s, struct member *m)
{
    struct cm_stat stat;
    bool known = member_read_stat(s, m, &stat) == 0;
    return !known ? PROCESS_GONE : stat.threads > 1 || !is_dead(&stat) ? PROCESS_MAY_LIVE : PROCESS_ZOMBIE;
}
