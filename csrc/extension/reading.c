/* Single readings for Python: for probing, for tests with made-up folders, for benchmarks. The sampler does not use
 * them. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shared/internal.h"

enum { READ_TRIES = 1000 };

static const struct cm_source *find(const char *name)
{
    for (int i = 0; i < CM_SOURCES; i++)
        if (strcmp(cm_sources[i]->name, name) == 0)
            return cm_sources[i];
    return NULL;
}

static int open_source(int proc_fd, const struct cm_source *source, int pid)
{
    int dir_fd = cm_open_process(proc_fd, pid);
    if (dir_fd < 0)
        return dir_fd;
    int fd = openat(dir_fd, source->file, O_RDONLY | O_CLOEXEC);
    int error = errno;
    close(dir_fd);
    return fd < 0 ? -error : fd;
}

int cm_read(int proc_fd, const char *name, int pid, uint64_t *row, size_t n)
{
    const struct cm_source *source = find(name);
    if (source == NULL || source->read == NULL || n < source->ncolumns)
        return -EINVAL;
    int fd = open_source(proc_fd, source, pid);
    if (fd < 0)
        return fd;
    uint32_t values[CM_MAX_COLUMNS];
    int error = source->read(fd, values);
    close(fd);
    if (error < 0)
        return error;
    for (uint32_t c = 0; c < source->ncolumns; c++)
        row[c] = (uint64_t)values[c] * cm_scale(source, (int)c);
    return (int)source->ncolumns;
}

int64_t cm_read_loop(int proc_fd, const char *name, int pid, uint64_t times)
{
    const struct cm_source *source = find(name);
    if (source == NULL || source->read == NULL)
        return -EINVAL;
    int fd = open_source(proc_fd, source, pid);
    if (fd < 0)
        return fd;
    uint32_t values[CM_MAX_COLUMNS];
    uint64_t sum = 0;
    int error = 0;
    for (uint64_t i = 0; i < times && (error = source->read(fd, values)) == 0; i++)
        sum += values[0];
    close(fd);
    return error < 0 ? error : (int64_t)(sum * cm_scale(source, 0));
}

int cm_probe(int proc_fd, const char *name, char *why, size_t n)
{
    const struct cm_source *source = find(name);
    if (source == NULL) {
        snprintf(why, n, "no source is named %s", name);
        return -EINVAL;
    }
    const char *sentence = "";
    int refused = source->probe != NULL ? source->probe(proc_fd, &sentence) : 0;
    snprintf(why, n, "%s", sentence);
    if (refused < 0 || source->read == NULL)
        return refused;
    uint64_t row[CM_MAX_COLUMNS];
    int got = cm_read(proc_fd, name, getpid(), row, CM_MAX_COLUMNS);
    if (got >= 0) {
        why[0] = 0;
        return 0;
    }
    if (got == -ENOENT)
        snprintf(why, n, "this kernel has no /proc/<pid>/%s, or /proc is not mounted", source->file);
    else
        snprintf(why, n, "/proc/<pid>/%s cannot be read: %s", source->file, strerror(-got));
    return got;
}

/* The sampler writes a reading in less than a microsecond. If it was stopped in between, give up after a while and
 * return what is there. */
int cm_last_reading(const struct cm_head *head, struct cm_reading *reading)
{
    const struct cm_reading *shared = &head->reading;
    for (int i = 0; i < READ_TRIES; i++) {
        uint64_t before = __atomic_load_n(&shared->writes, __ATOMIC_ACQUIRE);
        memcpy(reading, shared, sizeof *reading);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (before % 2 == 0 && __atomic_load_n(&shared->writes, __ATOMIC_RELAXED) == before)
            break;
        sched_yield();
    }
    if (reading->nlargest > CM_LARGEST)
        reading->nlargest = CM_LARGEST;
    return reading->t_ns != 0;
}
