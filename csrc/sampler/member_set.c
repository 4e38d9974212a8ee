/* The set of members, the processes of the tree that have not ended: find one by its PID, make one, remove one. */
#include <string.h>

#include "sampler/sampler.h"

static struct member members[MAX_MEMBERS]; /* only the pages in use are touched; index 0 means none */
static uint32_t slots[SLOTS];
static uint32_t alive[MAX_MEMBERS];

static uint32_t *slot_of(struct sampler *s, int pid)
{
    return &s->tree.slots[((uint32_t)pid * 2654435761u) % SLOTS];
}

void tree_init(struct sampler *s)
{
    s->tree.members = members;
    s->tree.slots = slots;
    s->tree.alive = alive;
    s->tree.nused = 1;
}

struct member *tree_find(struct sampler *s, int pid)
{
    if (s->tree.nalive == 0) /* so that a short command does not touch the page of its slot */
        return NULL;
    for (uint32_t i = *slot_of(s, pid); i != 0; i = s->tree.members[i].next)
        if (s->tree.members[i].pid == pid)
            return &s->tree.members[i];
    return NULL;
}

/* Return a member for a process, or NULL if there are too many. */
struct member *tree_allocate(struct sampler *s, int pid)
{
    uint32_t i = s->tree.first_free;
    if (i != 0)
        s->tree.first_free = s->tree.members[i].next;
    else if (s->tree.nused < MAX_MEMBERS)
        i = s->tree.nused++;
    else
        return NULL;
    struct member *m = &s->tree.members[i];
    memset(m, 0, sizeof *m);
    m->pid = pid;
    m->dir_fd = m->read_fd = m->children_fd = m->stat_fd = -1;
    for (int source = 0; source < CM_SOURCES; source++)
        m->fds[source] = -1;
    uint32_t *slot = slot_of(s, pid);
    m->next = *slot;
    *slot = i;
    m->alive_index = s->tree.nalive;
    s->tree.alive[s->tree.nalive++] = i;
    return m;
}

void tree_remove(struct sampler *s, struct member *m)
{
    struct cm_process *entry = member_row(s, m);
    DEBUG(m->pid, "removed", 0);
    if (entry != NULL) {
        entry->rss_bytes = (uint64_t)m->peak_rss * s->page_kib * 1024;
        keep_largest(&entry->mapped_bytes, (uint64_t)m->peak_mapped * s->page_kib * 1024);
        entry->unique_bytes = (uint64_t)m->peak_unique * 1024;
        entry->hwm_bytes = (uint64_t)m->peak_hwm * 1024;
        entry->inexact_windows = m->inexact_windows;
        entry->duplicate_bytes = ((uint64_t)m->duplicate_pages + m->merged_pages) * s->page_kib * 1024;
        entry->hugetlb_bytes = (uint64_t)m->peak_hugetlb * 1024;
        entry->swap_bytes = (uint64_t)m->peak_swap * 1024;
        if (!(entry->flags & CM_PROCESS_ENDED))
            entry->end_ns = cm_now_ns() - s->head->start_ns;
        entry->flags |= CM_PROCESS_ENDED;
    }
    uint32_t i = (uint32_t)(m - s->tree.members);
    uint32_t *link = slot_of(s, m->pid);
    while (*link != i)
        link = &s->tree.members[*link].next;
    *link = m->next;

    s->tree.alive[m->alive_index] = s->tree.alive[--s->tree.nalive];
    s->tree.members[s->tree.alive[m->alive_index]].alive_index = m->alive_index;
    member_close(s, m);
    m->next = s->tree.first_free;
    s->tree.first_free = i;
}
