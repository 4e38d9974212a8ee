/* What the sampler finds out from its own process: how large it is, and how exact this kernel's readings are. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sampler.h"

enum { TOUCHES = 8 };

/* Whether statm counts every page at once. Kernels before 6.16 add them up in lots. */
bool own_statm_is_exact(const struct sampler *s)
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

/* The sampler's own size, without the recording that it shares with the host; and, when first asked, its mark so far. */
void own_size_note(struct sampler *s)
{
    char text[4096];
    if (cm_read_file_at(s->proc_fd, "self/status", text, sizeof text) < 0)
        return;
    uint32_t own = cm_field(text, "RssAnon"), file = cm_field(text, "RssFile"), mark = cm_field(text, "VmHWM");
    if (own != UINT32_MAX && file != UINT32_MAX)
        s->head->sampler_rss_bytes = ((uint64_t)own + file) * 1024;
    if (s->head->floor_bytes == 0 && mark != UINT32_MAX)
        s->head->floor_bytes = (uint64_t)mark * 1024;
}
