/* Read what the kernel keeps for the whole tree: the charge of its control group, and the exact sum of RSS
 * (rss_stat). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum { MEMORY_GROUP, SELECTOR_GROUP };

/* Open the target's groups. If systemd has delegated a group to the sampler, make the target's group below it. Return
 * -errno if there is no group for the limit that the target must have. */
static int open_groups(struct sampler *s)
{
    struct tree_sources *sources = &s->sources;
    struct cm_head *head = s->head;
    if (head->is_delegated) {
        int fd = delegated_group_make(head->memory_group_fd, head->cgroup_limit_bytes);
        if (fd < 0 && head->cgroup_limit_bytes > 0)
            return fd;
        for (int i = 0; fd < 0 && i < CM_SOURCES; i++)
            if (i == CM_CGROUP || i == CM_RSS_STAT)
                track_set_missing(&head->tracks[i], -fd, "no group can be made below the group that systemd gave");
        head->memory_group_fd = head->selector_group_fd = fd < 0 ? -1 : fd;
    }
    bool one = head->selector_group_fd == head->memory_group_fd;
    sources->groups[MEMORY_GROUP] = (struct cm_group){
        .fd = head->memory_group_fd,
        .version = (int)head->memory_group_version,
        .is_required = head->cgroup_limit_bytes > 0,
    };
    sources->groups[SELECTOR_GROUP] = (struct cm_group){.fd = one ? -1 : head->selector_group_fd, .version = 2};
    return 0;
}

/* Open before the target starts, so that nothing of it is missed. Return 0, or -errno if the target must not start. */
int tree_sources_open(struct sampler *s)
{
    struct tree_sources *sources = &s->sources;
    struct cm_head *head = s->head;
    const char *why = "";
    int error = open_groups(s);
    if (error < 0)
        return error;
    const struct cm_group *memory = &sources->groups[MEMORY_GROUP];
    if (track_wanted(s, CM_CGROUP))
        error = cm_cgroup_open(&s->group_charge.cgroup, memory->fd, memory->version, &why);
    if (error < 0)
        track_set_missing(&head->tracks[CM_CGROUP], -error, why);
    error = track_wanted(s, CM_RSS_STAT) ? cm_rss_stat_open(&sources->rss_stat, head->selector_group_fd, &why) : 0;
    if (error < 0)
        track_set_missing(&head->tracks[CM_RSS_STAT], -error, why);
    return 0;
}

/*
 * Read the line of /proc/PID/cgroup for one of the groups into `text`: "0::/PATH" or "N:CONTROLLERS:/PATH". Return NULL
 * if there is no such line, or if it cannot be read, for example because it is too long.
 */
static char *read_cgroup_line(struct cm_lines *lines, char *text, int dir_fd, const char *file, int version)
{
    const char *controller = version == 1 ? "memory" : "";
    size_t length = strlen(controller);
    int fd = openat(dir_fd, file, O_RDONLY | O_CLOEXEC);
    char *line, *names;
    cm_lines_begin(lines, fd, text, LINE_BYTES);
    while (fd >= 0 && (line = cm_lines_next(lines)) != NULL)
        if ((names = strchr(line, ':')) != NULL && strncmp(names + 1, controller, length) == 0 &&
            names[1 + length] == ':')
            break;
    if (fd >= 0)
        close(fd);
    return fd < 0 || lines->is_cut ? NULL : line;
}

/* Store the root's group just after its start. Nothing else of the root is read before it runs. */
static void store_root_lines(struct sampler *s)
{
    struct tree_sources *sources = &s->sources;
    char text[LINE_BYTES], name[40];
    struct cm_lines lines;
    strcpy(cm_format_number(name, (uint64_t)s->head->root_pid), "/cgroup");
    for (int i = 0; i < CM_GROUPS; i++) {
        if (sources->groups[i].fd < 0)
            continue;
        const char *line = read_cgroup_line(&lines, text, s->proc_fd, name, sources->groups[i].version);
        sources->root_line_bytes[i] = line != NULL ? strlen(line) : 0;
        if (line != NULL)
            strcpy(sources->root_line[i], line);
    }
}

/* The target has started: check that it is in its groups. */
void tree_sources_started(struct sampler *s)
{
    struct tree_sources *sources = &s->sources;
    struct cm_head *head = s->head;
    store_root_lines(s);
    int selector = head->selector_group_fd == head->memory_group_fd ? MEMORY_GROUP : SELECTOR_GROUP;
    if (track_wanted(s, CM_CGROUP) && sources->groups[MEMORY_GROUP].error)
        track_set_missing(&head->tracks[CM_CGROUP], sources->groups[MEMORY_GROUP].error,
                          "the kernel does not let the command into the group");
    if (track_wanted(s, CM_RSS_STAT) && sources->groups[selector].error)
        track_set_missing(&head->tracks[CM_RSS_STAT], sources->groups[selector].error,
                          "the kernel does not let the command into the group that selects its tree");
}

/* Check whether a member has left the groups: their figures then lack its memory. A group below them is also
 * correct. */
void tree_sources_check(struct sampler *s, struct member *m)
{
    struct tree_sources *sources = &s->sources;
    char text[LINE_BYTES];
    struct cm_lines lines;
    uint32_t row[CM_MAX_COLUMNS];
    for (int i = 0; i < CM_GROUPS && !s->head->left_groups; i++) {
        size_t length = sources->root_line_bytes[i];
        if (length == 0 || m->read_fd < 0)
            continue;
        const char *line = read_cgroup_line(&lines, text, m->read_fd, "cgroup", sources->groups[i].version);
        /* A path that is too long to read is that of another group. */
        bool other = lines.error == -ENAMETOOLONG;
        if (line != NULL)
            other = strncmp(line, sources->root_line[i], length) != 0 || (line[length] != 0 && line[length] != '/');
        /* For a task that has freed its memory, version 1 shows the root group. */
        s->head->left_groups = other && member_read(s, m, CM_STATM, row) == 0;
        if (s->head->left_groups)
            DEBUG(m->pid, "has left its control group", 0);
    }
}

static void read_rss_stat(struct sampler *s, uint64_t t_ns)
{
    uint64_t sum_bytes, most_bytes;
    cm_rss_stat_read(&s->sources.rss_stat, &sum_bytes, &most_bytes);
    uint32_t sum = cm_in_32_bits(sum_bytes / 1024), most = cm_in_32_bits(most_bytes / 1024);
    cm_record(s->base, &s->head->tracks[CM_RSS_STAT], t_ns, &sum, &most);
}

void tree_sources_tick(struct sampler *s, uint64_t t_ns)
{
    if (track_wanted(s, CM_CGROUP))
        group_charge_read(s, t_ns, false);
    if (track_wanted(s, CM_RSS_STAT))
        read_rss_stat(s, t_ns);
}

/* Unfreeze the groups made for the target: a frozen process of version 1 does not end by SIGKILL. Groups of other
 * owners are not changed. */
void tree_sources_thaw(const struct sampler *s)
{
    const struct tree_sources *sources = &s->sources;
    for (int i = 0; i < CM_GROUPS; i++) {
        bool is_v2 = sources->groups[i].version == 2;
        if (sources->groups[i].fd < 0)
            continue;
        int fd = openat(sources->groups[i].fd, is_v2 ? "cgroup.freeze" : "freezer.state", O_WRONLY | O_CLOEXEC);
        if (fd < 0) /* in version 1 the freezer is usually another hierarchy */
            continue;
        ssize_t ignored = is_v2 ? write(fd, "0", 1) : write(fd, "THAWED", 6);
        (void)ignored;
        close(fd);
    }
}

/* All processes have ended: make the last readings. The kernel removes the eBPF program at this process's exit.
 * Removing it here would take longer than most runs. */
void tree_sources_end(struct sampler *s, uint64_t t_ns)
{
    struct tree_sources *sources = &s->sources;
    struct cm_head *head = s->head;
    if (track_wanted(s, CM_CGROUP)) {
        group_charge_read(s, t_ns, true);
        head->cgroup_peak_bytes = cm_cgroup_peak(&s->group_charge.cgroup);
        const struct cm_group *memory = &sources->groups[MEMORY_GROUP];
        head->oom_kills_known = cm_cgroup_oom_kills(memory->fd, memory->version, &head->oom_kills);
        head->limit_hits = cm_cgroup_limit_hits(memory->fd, memory->version);
    }
    if (track_wanted(s, CM_RSS_STAT)) {
        read_rss_stat(s, t_ns);
        head->rss_stat_peak_bytes = cm_rss_stat_peak(&sources->rss_stat);
        const int64_t *values = sources->rss_stat.values;
        head->rss_stat_inexact = (uint64_t)(values[CM_RSS_STAT_LOST] + values[CM_RSS_STAT_NOT_RAISED]);
    }
}
