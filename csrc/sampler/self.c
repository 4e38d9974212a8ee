/* Measure the sampler's own process: its size, and how exact the readings of this kernel are. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum { TOUCHES = 8 };

/* Return whether statm counts every page at once. Kernels before 6.16 count pages in batches per CPU. */
bool self_statm_is_exact(const struct sampler *s)
{
    long page = sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, (size_t)(TOUCHES * page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = openat(s->proc_fd, "self/statm", O_RDONLY | O_CLOEXEC);
    uint32_t row[CM_MAX_COLUMNS], next[CM_MAX_COLUMNS];
    if (memory == MAP_FAILED || fd < 0)
        return false;
    madvise(memory, (size_t)(TOUCHES * page), MADV_NOHUGEPAGE);
    bool exact = cm_source_statm.read(fd, next) == 0 && cm_source_statm.read(fd, row) == 0;
    for (int i = 0; i < TOUCHES && exact; i++) {
        *(volatile char *)(memory + i * page) = 1;
        exact = cm_source_statm.read(fd, next) == 0 && next[CM_STATM_RSS] == row[CM_STATM_RSS] + 1;
        row[CM_STATM_RSS] = next[CM_STATM_RSS];
    }
    close(fd);
    munmap(memory, (size_t)(TOUCHES * page));
    return exact;
}

/* Store the sampler's own size, without the shared memory; at the first call also its high-water mark so far. */
void self_store_size(struct sampler *s)
{
    enum { ANON, FROM_FILES, MARK, FIELDS };
    static const char *const names[FIELDS] = {[ANON] = "RssAnon", [FROM_FILES] = "RssFile", [MARK] = "VmHWM"};
    uint64_t kib[FIELDS];
    int fd = openat(s->proc_fd, "self/status", O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? -errno : cm_read_fields(fd, ':', names, kib, FIELDS);
    if (fd >= 0)
        close(fd);
    if (error != 0)
        return;
    if (kib[ANON] != CM_NO_FIELD && kib[FROM_FILES] != CM_NO_FIELD)
        s->head->sampler_rss_bytes = (kib[ANON] + kib[FROM_FILES]) * 1024;
    if (s->head->floor_bytes == 0 && kib[MARK] != CM_NO_FIELD)
        s->head->floor_bytes = kib[MARK] * 1024;
}
