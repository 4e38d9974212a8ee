/*
 * Find files in memory (tmpfs, memfd) that the tree has written and does not map. RSS does not include them.
 *
 * A control group is charged for them. Without one, the machine's count of shared memory shows that some process made
 * such files. The descriptors in /proc/PID/fd then tell whether the tree has some open, and how large they are. Files
 * that existed before the command are not counted, and those that it has closed are not found.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum {
    MARGIN_BYTES = 1 << 20, /* shared memory of the machine varies by so much */
    MAX_FILES = 256,
    PARTS = 5,                   /* a search takes one of so many parts of the budget, */
    LONGEST_PAUSE_NS = 10000000, /* but the next one comes after so long at the latest */
    TMPFS = 0x01021994,
    BLOCK_BYTES = 512,
};

struct found {
    uint64_t files;           /* bytes of files made since the start */
    uint64_t mapped, largest; /* bytes of shared memory that all members map, and one of them */
};

static struct known {
    uint64_t device, inode;
} known[MAX_FILES];

/* Add the bytes of the file that a descriptor of a member refers to, if it is a file in memory that was made during the
 * run, and was not found before. Its file system is asked only if it was made during the run: one on a network may not
 * answer. */
static void add_file(struct sampler *s, int dir_fd, const char *name, uint32_t *count, struct found *found)
{
    struct statx file = {0};
    struct statfs system = {0};
    if (*count == MAX_FILES ||
        syscall(SYS_statx, dir_fd, name, AT_STATX_DONT_SYNC, STATX_BASIC_STATS | STATX_BTIME, &file) != 0 ||
        !S_ISREG(file.stx_mode) || file.stx_blocks == 0 || !(file.stx_mask & STATX_BTIME))
        return;
    uint64_t made_ns = (uint64_t)file.stx_btime.tv_sec * 1000000000u + file.stx_btime.tv_nsec;
    uint64_t device = (uint64_t)file.stx_dev_major << 32 | file.stx_dev_minor;
    if (made_ns < s->memory_files.start_ns)
        return;
    for (uint32_t i = 0; i < *count; i++)
        if (known[i].device == device && known[i].inode == file.stx_ino)
            return;
    int fd = openat(dir_fd, name, O_PATH | O_CLOEXEC);
    bool is_in_memory = fd >= 0 && syscall(SYS_fstatfs, fd, &system) == 0 && system.f_type == TMPFS;
    if (fd >= 0)
        close(fd);
    if (!is_in_memory)
        return;
    known[(*count)++] = (struct known){device, file.stx_ino};
    found->files += file.stx_blocks * BLOCK_BYTES;
}

/* Add the files in memory that a member has open. */
static void search_member(struct sampler *s, struct member *m, uint32_t *count, struct found *found)
{
    char text[1024];
    ssize_t got = -1;
    int fd = member_open_file(s, m, "fd");
    while (fd >= 0 && (got = syscall(SYS_getdents64, fd, text, sizeof text)) > 0)
        for (ssize_t at = 0; at < got; at += ((struct dir_entry *)(text + at))->length) {
            const char *name = ((struct dir_entry *)(text + at))->name;
            if (name[0] != '.')
                add_file(s, fd, name, count, found);
        }
    if (fd >= 0)
        close(fd);
}

/* Return how much the tree has written by system calls, and not to a disk, with the children that it has waited for. */
static uint64_t written_bytes(struct sampler *s)
{
    static const char *const names[] = {"wchar", "write_bytes"};
    uint64_t sum = 0, values[2];
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        int fd = member_open_file(s, alive_at(s, i), "io");
        if (fd >= 0 && cm_read_fields(fd, ':', names, values, 2) == 0 && values[0] != CM_NO_FIELD)
            sum += minus(values[0], values[1] != CM_NO_FIELD ? values[1] : 0);
        if (fd >= 0)
            close(fd);
    }
    return sum;
}

/* Search all members, and read how much shared memory they map. A process that ends unmaps its files before it closes
 * them: without a status it does not count. */
static struct found search(struct sampler *s)
{
    struct found all = {0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < s->tree.nalive; i++) {
        struct member *m = alive_at(s, i);
        uint32_t row[CM_MAX_COLUMNS], count_before = count;
        struct found of_member = {0};
        if (m->is_zombie)
            continue;
        search_member(s, m, &count, &of_member);
        if (member_read(s, m, CM_STATUS, row) != 0) {
            count = count_before;
            continue;
        }
        uint64_t mapped = (uint64_t)row[CM_STATUS_SHMEM] * 1024;
        all.files += of_member.files;
        all.mapped += mapped;
        keep_largest(&all.largest, mapped);
    }
    return all;
}

/* Return the size of the recording, which is a file in memory as well. */
static uint64_t own_bytes(const struct sampler *s)
{
    struct stat status;
    return fstat(s->recording_fd, &status) == 0 ? (uint64_t)status.st_blocks * BLOCK_BYTES : 0;
}

static void keep_least(uint64_t *least, uint64_t value)
{
    if (value < *least)
        *least = value;
}

/* Return the shared memory of the machine without the recording. */
static uint64_t machine_bytes(const struct sampler *s)
{
    return minus(machine_shared_bytes(), own_bytes(s));
}

void memory_files_begin(struct sampler *s)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME_COARSE, &t); /* by which the kernel sets the times of files */
    s->memory_files.start_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    s->memory_files.least_others = machine_bytes(s);
}

/*
 * Files that no process has open any more are not found. But the machine has gained shared memory for a while that the
 * tree does not map, and the tree has written as much.
 */
static void compare(struct sampler *s, uint64_t in_all, uint64_t t_ns)
{
    struct memory_files *files = &s->memory_files;
    struct cm_head *head = s->head;
    struct found found = search(s);
    uint64_t gained = minus(in_all, files->least_others), after = machine_bytes(s);
    uint64_t certain = found.largest > found.files ? found.largest : found.files;
    keep_least(&files->least_others, minus(in_all > after ? in_all : after, certain));
    uint64_t closed = minus(gained, found.mapped > found.files ? found.mapped : found.files);
    uint64_t stands = standing_update(&files->closed, closed, t_ns), written = stands > 0 ? written_bytes(s) : 0;
    uint64_t lost = stands < written ? stands : written;
    files->bytes = found.files;
    files->unmapped_bytes = minus(found.files, found.mapped);
    keep_largest(&head->memory_files_bytes, found.files);
    keep_largest(&head->shmem_unmapped_bytes, minus(found.files, found.mapped) + lost);
    keep_largest(&head->shmem_extra_bytes, minus(found.files, found.largest) + lost);
}

/*
 * With a control group, its charge tells more. Without one, search the tree while the machine has more shared memory
 * than it had at some time before, without that of the tree: other processes also free some.
 */
void memory_files_tick(struct sampler *s, uint64_t t_ns)
{
    struct memory_files *files = &s->memory_files;
    files->bytes = files->unmapped_bytes = 0;
    if (track_wanted(s, CM_CGROUP))
        return;
    uint64_t with_recording = machine_shared_bytes();
    if (with_recording != files->with_recording) { /* else the recording has not grown either */
        files->with_recording = with_recording;
        files->in_all = minus(with_recording, own_bytes(s));
    }
    uint64_t in_all = files->in_all;
    keep_least(&files->least_others, in_all);
    if (in_all <= files->least_others + MARGIN_BYTES) {
        files->closed = (struct standing){0};
        return;
    }
    if (t_ns < files->due_ns)
        return;
    uint64_t before_ns = budget_own_cpu_ns();
    compare(s, in_all, t_ns);
    uint64_t pause_ns = budget_pause(s, budget_own_cpu_ns() - before_ns, PARTS);
    files->due_ns = t_ns + (pause_ns < LONGEST_PAUSE_NS ? pause_ns : LONGEST_PAUSE_NS);
}
