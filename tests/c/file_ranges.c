/*
 * file_ranges FILE...
 *
 * Feeds each FILE, as the /proc/PID/maps of one process, to csrc/sampler/file_ranges.c. Prints a line for each: the
 * pages that the process maps more than once, the pages in the union of all processes so far, the number of ranges in
 * it, and 1 if some ranges are missing.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "sampler/sampler.h"

static const char *path;

/* What file_ranges.c needs of the sampler. */
int member_open_file(struct sampler *s, struct member *m, const char *file)
{
    (void)s, (void)m, (void)file;
    return open(path, O_RDONLY | O_CLOEXEC);
}

bool may_wait_for_locks(const struct sampler *s)
{
    (void)s;
    return true;
}

bool note_lock_wait(struct sampler *s, uint64_t since_ns, uint64_t expected_ns)
{
    (void)s, (void)since_ns, (void)expected_ns;
    return false;
}

int main(int argc, char **argv)
{
    static struct sampler s = {.page_kib = 4};
    for (int i = 1; i < argc; i++) {
        struct member m = {0};
        uint32_t row[CM_MAX_COLUMNS] = {0};
        path = argv[i];
        file_ranges_read(&s, &m, row);
        if (!m.ranges_read)
            return 1;
        printf("%u %llu %zu %d\n", m.duplicate_pages, (unsigned long long)s.file_ranges.pages, s.file_ranges.count,
               s.file_ranges.is_full);
    }
    return 0;
}
