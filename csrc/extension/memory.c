/*
 * The shared memory of measurements: a sealed memfd and its mapping. Creating them would make a short measurement slow,
 * so up to two are kept for later measurements.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shared/internal.h"

enum { KEPT = 2, EMPTY = 0, FULL, BUSY };

/* One compare-and-swap takes or fills a place. There is no lock: a forked child could inherit it locked. */
static struct kept {
    int state;
    struct cm_memory memory;
} kept[KEPT];

static bool change_state(struct kept *place, int from, int to)
{
    return __atomic_compare_exchange_n(&place->state, &from, to, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static void destroy(struct cm_memory *m)
{
    munmap(m->head, m->size);
    m->head = NULL;
    cm_close(&m->file);
}

static bool is_usable(const struct cm_memory *m)
{
    return m->owner_pid == getpid() && cm_file_is_valid(&m->file);
}

static bool take_kept(struct cm_memory *m, uint64_t size)
{
    for (struct kept *place = kept; place < kept + KEPT; place++) {
        if (!change_state(place, FULL, BUSY))
            continue;
        struct cm_memory memory = place->memory;
        change_state(place, BUSY, EMPTY);
        if (is_usable(&memory) && memory.size == size) {
            memory.done = m->done;
            memory.is_reusable = 0;
            *m = memory;
            return true;
        }
        destroy(&memory);
    }
    return false;
}

static bool keep_for_next(const struct cm_memory *m)
{
    for (struct kept *place = kept; place < kept + KEPT; place++)
        if (change_state(place, EMPTY, BUSY)) {
            place->memory = *m;
            change_state(place, BUSY, FULL);
            return true;
        }
    return false;
}

/* Create a memfd and map it. It is sealed because a process of the same user can open it through /proc: if that process
 * truncated it, SIGBUS would kill the host. */
static int make(struct cm_memory *m, uint64_t size)
{
    int error = cm_file_set(&m->file, memfd_create("concmem", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (error != 0)
        return error;
    if (ftruncate(m->file.fd, (off_t)size) < 0 ||
        fcntl(m->file.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->file.fd, 0);
    if (base == MAP_FAILED)
        return -errno;
    m->head = base;
    m->size = size;
    m->owner_pid = getpid();
    return 0;
}

int cm_memory_open(struct cm_memory *m, uint64_t size)
{
    int error = cm_file_set(&m->done, eventfd(0, EFD_CLOEXEC));
    return error != 0 || take_kept(m, size) ? error : make(m, size);
}

void cm_memory_close(struct cm_memory *m)
{
    cm_close(&m->done);
    if (m->head == NULL) { /* opening it had failed */
        cm_close(&m->file);
        return;
    }
    if (m->is_reusable && is_usable(m) && keep_for_next(m))
        m->head = NULL, m->file.is_open = 0;
    else
        destroy(m);
}

void cm_memory_forget_kept(void)
{
    for (struct kept *place = kept; place < kept + KEPT; place++)
        if (change_state(place, FULL, BUSY)) {
            destroy(&place->memory);
            change_state(place, BUSY, EMPTY);
        }
}
