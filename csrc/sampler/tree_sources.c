/* What the kernel itself keeps of the tree as a whole: the charge of its control group, and the exact sum of RSS. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

enum {
    STAT_PAUSE_NS = 10000000,      /* memory.stat takes long to read: no more often than this, */
    STAT_PAUSE_AT_RECORD_NS = 1000000,  /* or this while the charge is larger than ever */
};
enum { MEMORY_GROUP, SELECTOR_GROUP };

void track_set_missing(struct cm_track *track, int error, const char *why)
{
    track->error = error;
    strncpy(track->why_not, why, sizeof track->why_not - 1);
}

bool track_wanted(const struct sampler *s, int source)
{
    return s->head->tracks[source].wanted && s->head->tracks[source].error == 0;
}

/* The target's groups; where a user manager has given the sampler one of its own, it has to make that itself. */
static void open_groups(struct sampler *s)
{
    struct cm_head *head = s->head;
    if (head->nests) {
        int fd = delegated_group_make(head->memory_group_fd);
        for (int i = 0; fd < 0 && i < CM_SOURCES; i++)
            if (i == CM_CGROUP || i == CM_RSS_STAT)
                track_set_missing(&head->tracks[i], -fd, "the group that systemd gave does not let one be made below it");
        head->memory_group_fd = head->selector_group_fd = fd < 0 ? -1 : fd;
    }
    bool one = head->selector_group_fd == head->memory_group_fd;
    s->sources.groups[MEMORY_GROUP] = (struct cm_group){.fd = head->memory_group_fd, .version = (int)head->memory_group_version};
    s->sources.groups[SELECTOR_GROUP] = (struct cm_group){.fd = one ? -1 : head->selector_group_fd, .version = 2};
}

/* Before the target: what is to be told of all of it has to be there first. */
void tree_sources_open(struct sampler *s)
{
    struct cm_head *head = s->head;
    const char *why = "";
    int error = 0;
    open_groups(s);
    if (track_wanted(s, CM_CGROUP))
        error = cm_cgroup_open(&s->sources.cgroup, s->sources.groups[MEMORY_GROUP].fd, s->sources.groups[MEMORY_GROUP].version, &why);
    if (error < 0)
        track_set_missing(&head->tracks[CM_CGROUP], -error, why);
    error = track_wanted(s, CM_RSS_STAT) ? cm_rss_stat_open(&s->sources.rss_stat, head->selector_group_fd, &why) : 0;
    if (error < 0)
        track_set_missing(&head->tracks[CM_RSS_STAT], -error, why);
    exit_records_open(s);
}

/*
 * The line of /proc/PID/cgroup about one of the groups, in `text`: "0::/PATH" or "N:CONTROLLERS:/PATH". NULL where there
 * is none, or where it cannot be read, be it for its length.
 */
static char *read_cgroup_line(struct cm_lines *lines, char *text, int dir_fd, const char *file, int version)
{
    const char *controller = version == 1 ? "memory" : "";
    size_t length = strlen(controller);
    int fd = openat(dir_fd, file, O_RDONLY | O_CLOEXEC);
    char *line, *names;
    cm_lines_begin(lines, fd, text, LINE_BYTES);
    while (fd >= 0 && (line = cm_lines_next(lines)) != NULL)
        if ((names = strchr(line, ':')) != NULL && strncmp(names + 1, controller, length) == 0 && names[1 + length] == ':')
            break;
    if (fd >= 0)
        close(fd);
    return fd < 0 || lines->is_cut ? NULL : line;
}

/* Where the root is just after its birth: it is asked for nothing else before it runs. */
static void store_root_lines(struct sampler *s)
{
    char text[LINE_BYTES], name[40];
    struct cm_lines lines;
    strcpy(cm_format_number(name, (uint64_t)s->head->root_pid), "/cgroup");
    for (int i = 0; i < CM_GROUPS; i++) {
        if (s->sources.groups[i].fd < 0)
            continue;
        const char *line = read_cgroup_line(&lines, text, s->proc_fd, name, s->sources.groups[i].version);
        s->sources.root_line_bytes[i] = line != NULL ? strlen(line) : 0;
        if (line != NULL)
            strcpy(s->sources.root_line[i], line);
    }
}

/* The target is there: is it where it was to be? */
void tree_sources_started(struct sampler *s)
{
    struct cm_head *head = s->head;
    store_root_lines(s);
    int selector = head->selector_group_fd == head->memory_group_fd ? MEMORY_GROUP : SELECTOR_GROUP;
    if (track_wanted(s, CM_CGROUP) && s->sources.groups[MEMORY_GROUP].error)
        track_set_missing(&head->tracks[CM_CGROUP], s->sources.groups[MEMORY_GROUP].error, "the kernel does not let the command into the group");
    if (track_wanted(s, CM_RSS_STAT) && s->sources.groups[selector].error)
        track_set_missing(&head->tracks[CM_RSS_STAT], s->sources.groups[selector].error,
                    "the kernel does not let the command into the group that tells it from others");
}

/* Who has moved to another group is missing in what is told of the first; a group below it is as good. */
void tree_sources_check(struct sampler *s, struct member *m)
{
    char text[LINE_BYTES];
    struct cm_lines lines;
    uint32_t row[CM_MAX_COLUMNS];
    for (int i = 0; i < CM_GROUPS && !s->head->left_groups; i++) {
        size_t length = s->sources.root_line_bytes[i];
        if (length == 0 || m->read_fd < 0)
            continue;
        const char *line = read_cgroup_line(&lines, text, m->read_fd, "cgroup", s->sources.groups[i].version);
        /* A path that is too long to be told is another's. */
        bool other = line == NULL ? lines.error == -ENAMETOOLONG
                                  : strncmp(line, s->sources.root_line[i], length) != 0 || (line[length] != 0 && line[length] != '/');
        /* Of a task that has let go of its memory, version 1 says that it is in the topmost group. */
        s->head->left_groups = other && member_read(s, m, CM_STATM, row) == 0;
    }
}

static uint32_t in_kib(uint64_t bytes)
{
    return bytes / 1024 < UINT32_MAX ? (uint32_t)(bytes / 1024) : UINT32_MAX;
}

static void read_cgroup_stat(struct sampler *s, uint64_t t_ns)
{
    struct cm_head *head = s->head;
    uint64_t before = 0, now = 0;
    cm_cgroup_parts(&s->sources.cgroup, s->sources.charge);
    s->sources.stat_read_ns = t_ns;
    for (int i = CM_CGROUP_ANON; i <= CM_CGROUP_KERNEL; i++) {
        before += head->cgroup_parts[i];
        now += s->sources.charge[i];
    }
    if (now < before)
        return;
    memcpy(head->cgroup_parts, s->sources.charge, sizeof s->sources.charge);
    head->cgroup_parts_t_ns = t_ns;
}

static void read_cgroup(struct sampler *s, uint64_t t_ns, bool last)
{
    uint32_t row[CM_MAX_COLUMNS];
    uint64_t usage = cm_cgroup_usage(&s->sources.cgroup), since_ns = t_ns - s->sources.stat_read_ns;
    bool record = usage > s->sources.largest_usage;
    if (last || s->sources.stat_read_ns == 0 || since_ns >= (record ? STAT_PAUSE_AT_RECORD_NS : STAT_PAUSE_NS))
        read_cgroup_stat(s, t_ns);
    if (record)
        s->sources.largest_usage = usage;
    s->sources.charge[CM_CGROUP_USAGE] = usage;
    for (int i = 0; i < CM_MAX_COLUMNS; i++)
        row[i] = in_kib(s->sources.charge[i]);
    cm_record(s->base, &s->head->tracks[CM_CGROUP], t_ns, row, row);
}

static void read_rss_stat(struct sampler *s, uint64_t t_ns)
{
    uint64_t sum_bytes, most_bytes;
    cm_rss_stat_read(&s->sources.rss_stat, &sum_bytes, &most_bytes);
    uint32_t sum = in_kib(sum_bytes), most = in_kib(most_bytes);
    cm_record(s->base, &s->head->tracks[CM_RSS_STAT], t_ns, &sum, &most);
}

void tree_sources_tick(struct sampler *s, uint64_t t_ns)
{
    if (track_wanted(s, CM_CGROUP))
        read_cgroup(s, t_ns, false);
    if (track_wanted(s, CM_RSS_STAT))
        read_rss_stat(s, t_ns);
}

/* What is frozen in version 1 does not end by SIGKILL. Only groups made for the target: others' are their owners'. */
void tree_sources_thaw(const struct sampler *s)
{
    for (int i = 0; i < CM_GROUPS; i++) {
        bool second = s->sources.groups[i].version == 2;
        if (s->sources.groups[i].fd < 0)
            continue;
        int fd = openat(s->sources.groups[i].fd, second ? "cgroup.freeze" : "freezer.state", O_WRONLY | O_CLOEXEC);
        if (fd < 0) /* version 1 has the freezer in a hierarchy of its own, mostly */
            continue;
        ssize_t ignored = second ? write(fd, "0", 1) : write(fd, "THAWED", 6);
        (void)ignored;
        close(fd);
    }
}

/* Everybody has ended. The program in the kernel goes with this process: taking it out takes longer than most runs. */
void tree_sources_end(struct sampler *s, uint64_t t_ns)
{
    struct cm_head *head = s->head;
    if (track_wanted(s, CM_CGROUP)) {
        read_cgroup(s, t_ns, true);
        head->cgroup_peak_bytes = cm_cgroup_peak(&s->sources.cgroup);
        head->oom_kills_known = cm_cgroup_oom_kills(s->sources.groups[MEMORY_GROUP].fd, s->sources.groups[MEMORY_GROUP].version, &head->oom_kills);
    }
    if (track_wanted(s, CM_RSS_STAT)) {
        read_rss_stat(s, t_ns);
        head->rss_stat_peak_bytes = cm_rss_stat_peak(&s->sources.rss_stat);
        head->rss_stat_inexact = (uint64_t)(s->sources.rss_stat.values[CM_RSS_STAT_LOST] + s->sources.rss_stat.values[CM_RSS_STAT_BEATEN]);
    }
    exit_records_drain(s, t_ns);
}
