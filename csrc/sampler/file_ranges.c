/*
 * Which parts of files and of shared memory the tree maps, from /proc/PID/maps.
 *
 * RSS counts a page once for each mapping. A process that maps a part of a file twice therefore has less memory than
 * its RSS says; by how much less at most is `duplicate_pages`. Several processes that map the same file have its pages
 * once; all of them together have at most the union of the ranges that they map. The union is kept for the whole run,
 * so it can only be too large.
 */
#include <string.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum { MAX_OF_PROCESS = 4096, MAX_OF_TREE = 8192, MAP_LINE_BYTES = 8192 };

struct range {
    uint64_t inode;
    uint32_t device;
    uint32_t begin, end; /* pages of the file */
};

static struct range own[MAX_OF_PROCESS], all[MAX_OF_TREE + MAX_OF_PROCESS];

static uint64_t parse_hex(const char **at)
{
    uint64_t value = 0;
    for (;; (*at)++) {
        char c = **at;
        if (c >= '0' && c <= '9')
            value = value * 16 + (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (uint64_t)(c - 'a' + 10);
        else
            return value;
    }
}

/* Parse "BEGIN-END PERMS OFFSET MAJOR:MINOR INODE PATH". Return false if it maps no file. The inode of System V shared
 * memory is its number, which several namespaces can have: then the union is not certain. */
static bool parse_line(const char *at, uint32_t page_bytes, struct range *range, bool *is_certain)
{
    uint64_t begin = parse_hex(&at);
    at += *at == '-';
    uint64_t end = parse_hex(&at);
    if (strlen(at) < 6)
        return false;
    at += 6; /* " rwxp " */
    uint64_t offset = parse_hex(&at) / page_bytes;
    at += *at == ' ';
    uint32_t device = (uint32_t)parse_hex(&at) << 20;
    at += *at == ':';
    device |= (uint32_t)parse_hex(&at);
    *range = (struct range){.device = device, .begin = cm_in_32_bits(offset)};
    range->inode = cm_parse_number(&at);
    range->end = cm_in_32_bits(offset + (end - begin) / page_bytes);
    while (*at == ' ')
        at++;
    bool is_sysv = strncmp(at, "/SYSV", 5) == 0;
    *is_certain &= !is_sysv;
    return range->inode != 0 || is_sysv;
}

static bool is_before(const struct range *a, const struct range *b)
{
    if (a->inode != b->inode)
        return a->inode < b->inode;
    return a->device != b->device ? a->device < b->device : a->begin < b->begin;
}

/* Shell sort: the lines of one file follow each other, so the array is nearly sorted by file. */
static void sort(struct range *ranges, size_t n)
{
    for (size_t gap = n / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < n; i++) {
            struct range moving = ranges[i];
            size_t at = i;
            for (; at >= gap && is_before(&moving, &ranges[at - gap]); at -= gap)
                ranges[at] = ranges[at - gap];
            ranges[at] = moving;
        }
}

/* Join ranges that overlap or touch. Return how many are left, and how many pages they have in `pages`. */
static size_t join(struct range *ranges, size_t n, uint64_t *pages)
{
    size_t kept = 0;
    *pages = 0;
    sort(ranges, n);
    for (size_t i = 0; i < n; i++) {
        struct range *last = &ranges[kept > 0 ? kept - 1 : 0];
        bool joins = kept > 0 && last->inode == ranges[i].inode && last->device == ranges[i].device &&
                     ranges[i].begin <= last->end;
        if (joins && ranges[i].end > last->end)
            last->end = ranges[i].end;
        if (!joins)
            ranges[kept++] = ranges[i];
    }
    for (size_t i = 0; i < kept; i++)
        *pages += ranges[i].end - ranges[i].begin;
    return kept;
}

/* Add the ranges of a process to those of the tree. */
static void add_to_tree(struct sampler *s, size_t n)
{
    struct file_ranges *files = &s->file_ranges;
    if (files->is_full)
        return;
    memcpy(all + files->count, own, n * sizeof *own);
    files->count = join(all, files->count + n, &files->pages);
    files->is_full = files->count > MAX_OF_TREE;
}

/* Read the member's maps. `row` is a reading of statm made before. */
void file_ranges_read(struct sampler *s, struct member *m, const uint32_t *row)
{
    static char text[MAP_LINE_BYTES];
    struct cm_lines lines;
    size_t n = 0;
    uint64_t mapped = 0, distinct = 0;
    if (!may_wait_for_locks(s))
        return;
    uint64_t before_ns = cm_now_ns();
    int fd = member_open_file(s, m, "maps");
    if (fd < 0)
        return;
    cm_lines_begin(&lines, fd, text, sizeof text);
    bool is_certain = true, is_cut = false;
    for (const char *line; n < MAX_OF_PROCESS && (line = cm_lines_next(&lines)) != NULL;) {
        if (!parse_line(line, s->page_kib * 1024, &own[n], &is_certain))
            continue;
        is_cut |= own[n].end == cm_in_32_bits(UINT64_MAX); /* an offset of 16 TiB */
        n++;
    }
    close(fd);
    note_lock_wait(s, before_ns, 0);
    if (lines.error != 0)
        return;
    for (size_t i = 0; i < n; i++)
        mapped += own[i].end - own[i].begin;
    is_cut |= n == MAX_OF_PROCESS;
    n = join(own, n, &distinct);
    m->duplicate_pages = is_cut ? UINT32_MAX : cm_in_32_bits(mapped - distinct);
    m->ranges_read = true;
    m->unknown_pages = 0;
    m->ranges_read_ns = before_ns;
    m->ranges_shared = row[CM_STATM_SHARED];
    m->ranges_layout = row[CM_STATM_LAYOUT];
    s->file_ranges.is_full |= is_cut || !is_certain;
    add_to_tree(s, n);
}
