/*
 * Read one process of the tree.
 *
 * The descriptor of /proc/PID is bound to the process: when the process has ended, reads below it fail with ESRCH, even
 * if its PID has been allocated again. Without a descriptor the start time tells two processes with the same PID apart.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum { DESCRIPTORS_PER_MEMBER = 6, ARGUMENTS_BYTES = 4096 };

/* Open the member's /proc/PID. Fail unless the start time is still the same. */
int member_open_dir(struct sampler *s, const struct member *m)
{
    struct cm_stat stat;
    int fd = cm_open_process(s->proc_fd, m->pid);
    if (fd < 0)
        return fd == -ENOENT ? -ESRCH : fd;
    if (cm_read_stat(fd, "stat", &stat) < 0 || stat.start_ticks != m->start_ticks) {
        close(fd);
        return -ESRCH;
    }
    return fd;
}

/* Return the folder that the member's files are read in: the descriptor that is kept open, or one that the caller
 * closes. */
static int open_reading_dir(struct sampler *s, const struct member *m)
{
    if (m->read_fd >= 0)
        return m->read_fd;
    int folder = member_open_dir(s, m);
    if (folder < 0 || m->read_tid == 0)
        return folder;
    int thread = leader_exited_open(folder, m->read_tid);
    close(folder);
    return thread;
}

static int open_in_reading_dir(struct sampler *s, const struct member *m, const char *file, int flags)
{
    int folder = open_reading_dir(s, m);
    if (folder < 0)
        return folder;
    int fd = openat(folder, file, flags | O_CLOEXEC);
    int error = errno;
    if (folder != m->read_fd)
        close(folder);
    return fd < 0 ? -error : fd;
}

int member_open_file(struct sampler *s, struct member *m, const char *file)
{
    return open_in_reading_dir(s, m, file, O_RDONLY);
}

int member_read(struct sampler *s, struct member *m, int source, uint32_t *row)
{
    if (m->fds[source] >= 0)
        return cm_sources[source]->read(m->fds[source], row);
    int fd = member_open_file(s, m, cm_sources[source]->file);
    if (fd < 0)
        return fd == -ENOENT ? -ESRCH : fd;
    int error = cm_sources[source]->read(fd, row);
    close(fd);
    return error;
}

/* Reset the member's high-water mark, as cm_window_reset does. */
int member_reset_hwm(struct sampler *s, struct member *m)
{
    if (m->fds[CM_WINDOWS] >= 0)
        return cm_window_reset(m->fds[CM_WINDOWS]);
    int fd = open_in_reading_dir(s, m, "clear_refs", O_WRONLY);
    int done = fd < 0 ? -EACCES : cm_window_reset(fd);
    if (fd >= 0)
        close(fd);
    return done;
}

void member_close(struct sampler *s, struct member *m)
{
    int *all[] = {&m->children_fd, &m->dir_fd};
    if (m->read_fd >= 0 && m->read_fd != m->dir_fd) {
        close(m->read_fd);
        s->descriptors.open--;
    }
    m->read_fd = -1;
    for (size_t i = 0; i < sizeof all / sizeof *all + CM_SOURCES; i++) {
        int *fd = i < CM_SOURCES ? &m->fds[i] : all[i - CM_SOURCES];
        if (*fd >= 0) {
            close(*fd);
            s->descriptors.open--;
        }
        *fd = -1;
    }
}

/* Keep descriptors of the files that are read all the time. If there are too few descriptors, close the member's
 * folder too. Everything is then opened and closed at each reading. */
void member_keep_fds(struct sampler *s, struct member *m)
{
    if (s->descriptors.open + DESCRIPTORS_PER_MEMBER > s->descriptors.max) {
        DEBUG(m->pid, "no descriptors left: its files are opened at each reading", 0);
        member_close(s, m);
        return;
    }
    for (int i = 0; i < CM_SOURCES; i++) {
        bool is_reset_file = i == CM_WINDOWS && track_wanted(s, CM_WINDOWS);
        if (!is_reset_file && cm_sources[i]->cadence != CM_EVERY_TICK && cm_sources[i]->cadence != CM_ROUND_ROBIN)
            continue;
        m->fds[i] = openat(m->read_fd, cm_sources[i]->file, (is_reset_file ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
        s->descriptors.open += m->fds[i] >= 0;
    }
    char name[32] = "task/";
    strcpy(cm_format_number(name + 5, (uint64_t)m->pid), "/children");
    m->children_fd = openat(m->dir_fd, name, O_RDONLY | O_CLOEXEC);
    s->descriptors.open += m->children_fd >= 0;
}

/* Another thread of the process was found. */
static void mark_alive(struct sampler *s, struct member *m)
{
    struct cm_process *entry = member_row(s, m);
    m->is_zombie = m->may_have_threads = false;
    if (entry != NULL && !(entry->flags & (CM_PROCESS_HAS_EXIT_RECORD | CM_PROCESS_REAPED)))
        entry->flags &= ~(uint32_t)CM_PROCESS_ENDED;
}

static void mark_ended(struct sampler *s, struct member *m, uint64_t now_ns)
{
    struct cm_process *entry = member_row(s, m);
    if (entry != NULL && !(entry->flags & CM_PROCESS_ENDED)) {
        entry->flags |= CM_PROCESS_ENDED;
        entry->end_ns = now_ns;
    }
    s->tree.may_have_orphans |= !m->is_zombie;
    memset(m->rows, 0, sizeof m->rows);
    m->is_zombie = true;
}

/* Read statm. Return false if the member has ended and was removed. A zombie stays, because the kernel still lists
 * it. */
bool member_read_rss(struct sampler *s, struct member *m, uint64_t now_ns)
{
    uint32_t *row = m->rows[CM_STATM];
    bool may_have_threads = !m->is_zombie || m->may_have_threads;
    int error = member_read(s, m, CM_STATM, row);
    if ((error == -ENODATA || error == -ESRCH) && may_have_threads && leader_exited_find(s, m))
        error = member_read(s, m, CM_STATM, row);
    if (error == 0) {
        if (m->is_zombie)
            mark_alive(s, m);
        if (m->shares_parent_memory)
            row[CM_STATM_RSS] = row[CM_STATM_SHARED] = 0;
        if (row[CM_STATM_RSS] > m->peak_rss)
            m->peak_rss = row[CM_STATM_RSS];
        return true;
    }
    if (error != -ENODATA && error != -ESRCH) {
        DEBUG(m->pid, "statm cannot be read", error);
        s->head->refused_readings++;
        return true;
    }
    mark_ended(s, m, now_ns);
    if (error == -ENODATA && !may_have_threads)
        return true;
    /* The thread that was read may have exited while others run. Or the last thread has exited and the process has
     * not been waited for. */
    enum process_state state = leader_exited_state(s, m);
    m->may_have_threads = state == PROCESS_MAY_LIVE;
    if (state != PROCESS_GONE)
        return true;
    tree_remove(s, m);
    return false;
}

/*
 * Check whether the member runs in its parent's memory. A child of vfork, posix_spawn or Go's exec does so until its
 * own exec: counting it would count the parent twice. If the kernel does not allow the comparison (kcmp), compare the
 * sizes: the parent waits, so its size does not change, and a child of fork has less.
 */
void member_check_shared_memory(struct sampler *s, struct member *m)
{
    long differs = syscall(SYS_kcmp, m->pid, m->parent, KCMP_VM, 0, 0);
    if (differs < 0) {
        const struct member *parent = tree_find(s, m->parent);
        uint32_t row[CM_MAX_COLUMNS];
        differs = parent == NULL || parent->rows[CM_STATM][CM_STATM_RSS] == 0 ||
                  member_read(s, m, CM_STATM, row) != 0 || row[CM_STATM_RSS] != parent->rows[CM_STATM][CM_STATM_RSS];
    }
    m->shares_parent_memory = differs == 0;
}

/* Read a small file of the process. Return its length, or -errno. */
static ssize_t read_small_file(struct sampler *s, struct member *m, const char *file, char *text, size_t n)
{
    int fd = member_open_file(s, m, file);
    ssize_t got = fd < 0 ? fd : cm_pread_text(fd, text, n);
    if (fd >= 0)
        close(fd);
    return got;
}

/* Read the member's name and arguments. An exec changes them without notice, so read them again after half an
 * interval, and then after pauses that double each time. */
void member_read_name(struct sampler *s, struct member *m, uint64_t now_ns)
{
    struct cm_process *entry = member_row(s, m);
    m->name_pause_ns = m->name_pause_ns ? 2 * m->name_pause_ns : s->head->interval_ns / 2;
    m->name_due_ns = now_ns + m->name_pause_ns;
    if (entry == NULL)
        return;
    struct cm_head *head = s->head;
    char text[ARGUMENTS_BYTES];
    tree_sources_check(s, m);
    /* The name of the process is that of its main thread, even if that has exited. Other threads may have other
     * names. */
    int dir_fd = m->dir_fd >= 0 ? m->dir_fd : member_open_dir(s, m);
    ssize_t got = dir_fd < 0 ? dir_fd : cm_read_file_at(dir_fd, "comm", text, sizeof text);
    if (dir_fd >= 0 && dir_fd != m->dir_fd)
        close(dir_fd);
    if (got > 1) {
        text[got - 1] = 0; /* the newline */
        memset(entry->comm, 0, sizeof entry->comm);
        memcpy(entry->comm, text, strnlen(text, sizeof entry->comm - 1));
    }
    if (!may_wait_for_locks(s)) {
        m->name_pause_ns /= 2; /* the arguments have not been read yet */
        return;
    }
    uint64_t before_ns = cm_now_ns();
    got = read_small_file(s, m, "cmdline", text, sizeof text);
    note_lock_wait(s, before_ns, 0);
    if (got <= 0)
        return;
    bool has_room = (uint32_t)got <= entry->text_bytes || head->text_bytes + (uint64_t)got <= head->text_capacity;
    bool is_cut = got == sizeof text - 1 || !has_room;
    entry->flags = (entry->flags & ~(uint32_t)CM_PROCESS_ARGUMENTS_CUT) | (is_cut ? CM_PROCESS_ARGUMENTS_CUT : 0);
    if (!has_room) {
        entry->text_bytes = 0; /* the stored arguments are those of an earlier program */
        return;
    }
    if ((uint32_t)got > entry->text_bytes) {
        entry->text_offset = (uint32_t)head->text_bytes;
        head->text_bytes += (uint64_t)got;
    }
    entry->text_bytes = (uint32_t)got;
    memcpy(s->base + head->text_offset + entry->text_offset, text, (size_t)got);
}
