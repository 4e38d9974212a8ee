/*
 * Find children of threads other than the main thread. The kernel lists a child in the `children` file of the thread
 * that forked it. Reading this file for every thread at every tick would take 60 ms for 10,000 threads. So a few
 * threads are read at each tick, in turn. Until a thread has been read, pid_scan.c finds its new children.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum {
    INTERVAL_SHARE = 100, /* use one part in so many of the interval */
    MAX_THREADS_PER_TICK = 64,
};

/* State of the walk: the process whose threads are read (0: none), and the position in its list of threads. */
static int walked_pid, walked_fd;
static char list[2048];
static ssize_t list_bytes, list_at;

/* Return the next thread of that process, or 0. */
static int next_thread(void)
{
    for (;;) {
        if (list_at >= list_bytes) {
            list_bytes = syscall(SYS_getdents64, walked_fd, list, sizeof list);
            list_at = 0;
            if (list_bytes <= 0)
                return 0;
        }
        const struct dir_entry *entry = (const struct dir_entry *)(list + list_at);
        list_at += entry->length;
        const char *name = entry->name;
        int tid = (int)cm_parse_number(&name);
        if (tid > 0 && tid != walked_pid)
            return tid;
    }
}

static void stop_walking(void)
{
    close(walked_fd);
    walked_pid = 0;
    list_bytes = list_at = 0;
}

/* Start with the next process of more than one thread. Return false if there is none. */
static bool start_walking(struct sampler *s)
{
    for (uint32_t tried = 0; tried < s->tree.nalive; tried++) {
        struct member *m = alive_at(s, s->threads.cursor++ % s->tree.nalive);
        if (m->is_zombie || m->shares_parent_memory || (m->rows[CM_STATUS][CM_STATUS_THREADS] <= 1 && m->read_tid == 0))
            continue;
        int fd = m->dir_fd >= 0 ? openat(m->dir_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                                : member_open_file(s, m, "task");
        if (fd < 0)
            continue;
        m->threads_read = true;
        walked_fd = fd;
        walked_pid = m->pid;
        return true;
    }
    return false;
}

void threads_walk(struct sampler *s, uint64_t now_ns)
{
    uint64_t until_ns = cm_now_ns() + s->head->interval_ns / INTERVAL_SHARE;
    bool has_started = false;
    for (int i = 0; i < MAX_THREADS_PER_TICK && (i == 0 || cm_now_ns() < until_ns); i++) {
        if (walked_pid == 0) {
            if (has_started || !start_walking(s))
                return;
            has_started = true;
        }
        int tid = next_thread();
        if (tid == 0) {
            stop_walking();
            continue;
        }
        char name[32];
        strcpy(cm_format_number(name, (uint64_t)tid), "/children");
        int fd = openat(walked_fd, name, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            children_read(s, fd, now_ns);
            close(fd);
        }
    }
}
