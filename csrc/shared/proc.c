/* Read small kernel files, and parse numbers in them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "shared/internal.h"

/* Read an open file from its start, and end the text with a NUL. Return its length, or -errno. For files of bounded
 * length; lines.c reads all others. */
ssize_t cm_pread_text(int fd, char *buffer, size_t n)
{
    ssize_t got = pread(fd, buffer, n - 1, 0);
    if (got < 0)
        return -errno;
    buffer[got] = 0;
    return got;
}

ssize_t cm_read_file_at(int dir_fd, const char *file, char *buffer, size_t n)
{
    int fd = openat(dir_fd, file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t got = cm_pread_text(fd, buffer, n);
    close(fd);
    return got;
}

char *cm_format_number(char *at, uint64_t number)
{
    char digits[20];
    int n = 0;
    do
        digits[n++] = (char)('0' + number % 10);
    while (number /= 10);
    while (n > 0)
        *at++ = digits[--n];
    *at = 0;
    return at;
}

/* Open /proc/PID. The descriptor is bound to that process: after its end, reads below it fail with ESRCH, even if
 * the PID has been allocated again. */
int cm_open_process(int proc_fd, int pid)
{
    char name[24];
    cm_format_number(name, (uint64_t)pid);
    int fd = openat(proc_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Read fields of /proc/PID/stat, which also works for a zombie. comm may hold spaces and brackets: the last ")" ends
 * it. */
static int parse_stat(const char *text, struct cm_stat *stat)
{
    const char *open = strchr(text, '(');
    const char *close = strrchr(text, ')');
    if (open == NULL || close == NULL || close[1] == 0)
        return -ESRCH;
    size_t length = (size_t)(close - open - 1);
    if (length > sizeof stat->comm - 1)
        length = sizeof stat->comm - 1;
    memset(stat, 0, sizeof *stat);
    memcpy(stat->comm, open + 1, length);
    stat->state = close[2];
    const char *at = close + 3;
    for (int field = 4; field <= 33; field++) {
        while (*at == ' ')
            at++;
        bool negative = *at == '-'; /* tpgid, nice */
        at += negative;
        uint64_t value = cm_parse_number(&at);
        if (field == 12 || field == 13)
            stat->major_faults += value;
        if (field == 4)
            stat->ppid = (int)value;
        else if (field == 9)
            stat->flags = value;
        else if (field == 10 || field == 12) /* minflt, majflt */
            stat->faults += value;
        else if (field == 11 || field == 13) /* cminflt, cmajflt */
            stat->child_faults += value;
        else if (field == 14 || field == 15) /* utime, stime */
            stat->cpu_ticks += value;
        else if (field == 16 || field == 17) /* cutime, cstime */
            stat->child_cpu_ticks += value;
        else if (field == 20)
            stat->threads = (int)value;
        else if (field == 22)
            stat->start_ticks = value;
        else if (field == 28)
            stat->stack = value;
        else if (field == 33) /* the low 31 ignored signals */
            stat->ignores_sigchld = value >> (SIGCHLD - 1) & 1;
    }
    return 0;
}

enum { STAT_BYTES = 1024 }; /* more than 33 fields of 20 digits each need */

int cm_read_stat(int dir_fd, const char *file, struct cm_stat *stat)
{
    char text[STAT_BYTES];
    ssize_t got = cm_read_file_at(dir_fd, file, text, sizeof text);
    return got < 0 ? (int)got : parse_stat(text, stat);
}

/* The same through an open descriptor of the file. */
int cm_read_stat_fd(int fd, struct cm_stat *stat)
{
    char text[STAT_BYTES];
    ssize_t got = cm_pread_text(fd, text, sizeof text);
    return got < 0 ? (int)got : parse_stat(text, stat);
}
