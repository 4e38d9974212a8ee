/*
 * A child forked by a thread other than the main one is listed in that thread's own `children` file. Asking every
 * thread at every tick would take 60 ms for 10,000 of them, so they are asked in turn, a few a tick. Until a thread has
 * had its turn, pid_scan.c finds its new children.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum {
    SHARE = 100, /* one part in so many of the interval */
    MAX_A_TICK = 64,
};

struct entry {
    uint64_t ino, off;
    unsigned short length;
    unsigned char type;
    char name[];
};

/* The round: which process is asked (0: none), and how far its list of threads has been read. */
static int walked_pid, walked_fd;
static char list[2048];
static ssize_t list_bytes, list_at;

/* The next thread of the process that is walked, or 0. */
static int next_thread(void)
{
    for (;;) {
        if (list_at >= list_bytes) {
            list_bytes = syscall(SYS_getdents64, walked_fd, list, sizeof list);
            list_at = 0;
            if (list_bytes <= 0)
                return 0;
        }
        const struct entry *entry = (const struct entry *)(list + list_at);
        list_at += entry->length;
        const char *name = entry->name;
        int tid = (int)cm_number(&name);
        if (tid > 0 && tid != walked_pid)
            return tid;
    }
}

/* A thread of the process that has memory and is not its main one, or 0. */
int threads_other(int dir_fd, int leader)
{
    int fd = openat(dir_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char text[1024];
    int found = 0;
    if (fd < 0)
        return 0;
    ssize_t got;
    while (found == 0 && (got = syscall(SYS_getdents64, fd, text, sizeof text)) > 0)
        for (ssize_t at = 0; at < got && found == 0; at += ((struct entry *)(text + at))->length) {
            const char *listed = ((struct entry *)(text + at))->name;
            int tid = (int)cm_number(&listed);
            char name[48] = "task/", statm[64];
            if (tid <= 0 || tid == leader)
                continue;
            strcpy(cm_format(name + 5, (uint64_t)tid), "/statm");
            if (cm_read_file_at(dir_fd, name, statm, sizeof statm) > 0 && statm[0] != '0')
                found = tid;
        }
    close(fd);
    return found;
}

static void stop_walking(void)
{
    close(walked_fd);
    walked_pid = 0;
    list_bytes = list_at = 0;
}

/* Begins with the next process of more than one thread; false where there is none. */
static bool start_walking(struct sampler *s)
{
    for (uint32_t tried = 0; tried < s->nalive; tried++) {
        struct member *m = &s->members[s->alive[s->thread_cursor++ % s->nalive]];
        if (m->zombie || m->shares_parent_memory || (m->rows[CM_STATUS][CM_STATUS_THREADS] <= 1 && m->tid == 0))
            continue;
        int fd = m->dir_fd >= 0 ? openat(m->dir_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
                                : member_open(s, m, "task");
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
    uint64_t until_ns = cm_now_ns() + s->head->interval_ns / SHARE;
    bool begun = false;
    for (int i = 0; i < MAX_A_TICK && (i == 0 || cm_now_ns() < until_ns); i++) {
        if (walked_pid == 0) {
            if (begun || !start_walking(s))
                return;
            begun = true;
        }
        int tid = next_thread();
        if (tid == 0) {
            stop_walking();
            continue;
        }
        char name[32];
        strcpy(cm_format(name, (uint64_t)tid), "/children");
        int fd = openat(walked_fd, name, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            children_read(s, fd, now_ns);
            close(fd);
        }
    }
}
