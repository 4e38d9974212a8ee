/*
 * Pages that KSM has merged. The kernel maps one page wherever a process has pages of the same contents, if the process
 * asked for it (MADV_MERGEABLE, PR_SET_MEMORY_MERGE). RSS and its high-water mark count that page every time, and it
 * exists once. /proc/PID/ksm_merging_pages (5.19) shows how many pages of a process are such ones.
 */
#include <fcntl.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum { OFF_TICKS = 4 * UNCHANGED_TICKS }; /* whether KSM has been switched on is looked up once in so many ticks */

void merged_pages_open(struct sampler *s)
{
    s->merged_pages.run_fd = open("/sys/kernel/mm/ksm/run", O_RDONLY | O_CLOEXEC);
    s->merged_pages.sharing_fd = open("/sys/kernel/mm/ksm/pages_sharing", O_RDONLY | O_CLOEXEC);
}

static uint64_t read_count(int fd)
{
    char text[32];
    const char *at = text;
    return fd >= 0 && cm_pread_text(fd, text, sizeof text) > 0 ? cm_parse_number(&at) : 0;
}

static void read_of(struct sampler *s, struct member *m)
{
    int fd = member_open_file(s, m, "ksm_merging_pages");
    uint32_t pages = cm_in_32_bits(read_count(fd));
    if (fd >= 0)
        close(fd);
    if (pages > m->merged_pages)
        m->merged_pages = pages;
}

/* After statm was read: what is merged later was not merged in that reading. */
void merged_pages_tick(struct sampler *s)
{
    struct merged_pages *merged = &s->merged_pages;
    if (s->head->ticks % OFF_TICKS == 1)
        merged->is_on = read_count(merged->run_fd) == 1 || read_count(merged->sharing_fd) > 0;
    if (!merged->is_on || read_count(merged->sharing_fd) == 0)
        return;
    for (uint32_t i = 0; i < s->tree.nalive; i++)
        if (!alive_at(s, i)->is_zombie)
            read_of(s, alive_at(s, i));
}
