/* Read the kernel's lists of children, /proc/PID/task/TID/children. Each lists the children of one thread. */
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum { READ_BYTES = 4096 }; /* the kernel returns such a list by the page, never quite full */

/* Call `visitor` for each process in a `children` file. Return how often it returned true. */
uint64_t children_visit(struct sampler *s, int fd, uint64_t now_ns, children_visitor *visitor)
{
    static char text[65536];
    size_t kept = 0;
    off_t offset = 0;
    ssize_t got;
    uint64_t count = 0;
    while ((got = pread(fd, text + kept, sizeof text - 1 - kept, offset)) > 0) {
        offset += got;
        text[kept + (size_t)got] = 0;
        const char *at = text;
        /* Each PID is followed by a space. One without a space continues in the next piece. */
        for (const char *end; (end = strchr(at, ' ')) != NULL; at = end + 1)
            count += visitor(s, (int)cm_parse_number(&at), now_ns);
        kept = strlen(at);
        memmove(text, at, kept);
        if (got < READ_BYTES / 2)
            break;
    }
    return count;
}

/* Processes that /proc did not show though they were alive: how often each was listed. */
enum { HIDDEN = 64 };
static struct {
    int pid;
    uint32_t count;
} hidden[HIDDEN];

static void count_hidden(struct sampler *s, int pid)
{
    uint32_t i = (uint32_t)pid % HIDDEN;
    if (hidden[i].pid != pid)
        hidden[i].count = 0;
    hidden[i].pid = pid;
    hidden[i].count++;
    s->head->refused_readings++;
}

/* A process is shown now. In the middle of an exec, hidepid hides every process for a moment. */
void children_is_shown(struct sampler *s, int pid)
{
    uint32_t i = (uint32_t)pid % HIDDEN;
    if (hidden[i].pid != pid)
        return;
    s->head->refused_readings -= hidden[i].count;
    hidden[i].count = 0;
}

/* Add a listed process. If it cannot be added it may still be alive: with hidepid, /proc hides the processes that
 * the caller may not trace. */
static bool add_listed(struct sampler *s, int pid, uint64_t now_ns)
{
    if (tree_add(s, pid, now_ns) || tree_find(s, pid) != NULL)
        return true;
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0)
        return false;
    close(pidfd);
    DEBUG(pid, "is alive, and /proc does not show it (hidepid)", 0);
    count_hidden(s, pid);
    return false;
}

void children_read(struct sampler *s, int fd, uint64_t now_ns)
{
    children_visit(s, fd, now_ns, add_listed);
}

/* Read the children of a member's main thread, and add them. */
void children_read_of(struct sampler *s, struct member *m, uint64_t now_ns)
{
    int kept_fd = member_children_fd(s, m);
    if (kept_fd >= 0) {
        children_read(s, kept_fd, now_ns);
        return;
    }
    char name[64] = "task/";
    strcpy(cm_format_number(name + 5, (uint64_t)m->pid), "/children");
    int dir_fd = m->dir_fd >= 0 ? m->dir_fd : member_open_dir(s, m);
    int fd = dir_fd < 0 ? -1 : openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        children_read(s, fd, now_ns);
        close(fd);
    }
    if (dir_fd >= 0 && dir_fd != m->dir_fd)
        close(dir_fd);
}
