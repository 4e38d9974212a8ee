/* Read one process of the tree: its RSS, its name and arguments, and whether it has ended. */
#include <errno.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum { ARGUMENTS_BYTES = 4096 };

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
            row[CM_STATM_RSS] = row[CM_STATM_SHARED] = row[CM_STATM_MAPPED] = 0;
        if (row[CM_STATM_RSS] > m->peak_rss)
            m->peak_rss = row[CM_STATM_RSS];
        if (row[CM_STATM_MAPPED] > m->peak_mapped)
            m->peak_mapped = row[CM_STATM_MAPPED];
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
    fault_ledger_depart(s, m);
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

/* Read the name of the process, which is that of its main thread, even if that has exited. Other threads may have other
 * names. */
static void read_comm(struct sampler *s, struct member *m, struct cm_process *entry)
{
    char text[64];
    int dir_fd = m->dir_fd >= 0 ? m->dir_fd : member_open_dir(s, m);
    ssize_t got = dir_fd < 0 ? dir_fd : cm_read_file_at(dir_fd, "comm", text, sizeof text);
    if (dir_fd >= 0 && dir_fd != m->dir_fd)
        close(dir_fd);
    if (got <= 1)
        return;
    text[got - 1] = 0; /* the newline */
    memset(entry->comm, 0, sizeof entry->comm);
    memcpy(entry->comm, text, strnlen(text, sizeof entry->comm - 1));
}

/* Read the member's name and arguments. An exec changes them without notice, so read them again after half an
 * interval, and then after pauses that double each time. At first the name is known from /proc/PID/stat, and the
 * control group is that of the parent. */
void member_read_name(struct sampler *s, struct member *m, uint64_t now_ns)
{
    struct cm_process *entry = member_row(s, m);
    bool is_first = m->name_pause_ns == 0;
    m->name_pause_ns = m->name_pause_ns ? 2 * m->name_pause_ns : s->head->interval_ns / 2;
    m->name_due_ns = now_ns + m->name_pause_ns;
    if (entry == NULL)
        return;
    struct cm_head *head = s->head;
    char text[ARGUMENTS_BYTES];
    if (!is_first) {
        tree_sources_check(s, m);
        read_comm(s, m, entry);
    }
    if (!may_wait_for_locks(s)) {
        m->name_pause_ns /= 2; /* the arguments have not been read yet */
        return;
    }
    uint64_t before_ns = cm_now_ns();
    ssize_t got = read_small_file(s, m, "cmdline", text, sizeof text);
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
