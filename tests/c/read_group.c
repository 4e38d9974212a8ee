/* read_group FOLDER VERSION: prints what csrc/sources/cgroup.c reads of a control group, or of a folder that
 * imitates one. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "shared/internal.h"

int main(int argc, char **argv)
{
    static const char *const names[] = {"usage",  "anon",         "file",        "shmem",
                                        "kernel", "kernel_stack", "page_tables", "sock"};
    struct cm_cgroup group;
    uint64_t row[CM_MAX_COLUMNS] = {0};
    const char *why = "";
    int fd = argc > 2 ? open(argv[1], O_RDONLY | O_DIRECTORY) : -1;
    if (fd < 0 || cm_cgroup_open(&group, fd, atoi(argv[2]), &why) < 0) {
        printf("{\"why\": \"%s\"}\n", why);
        return 1;
    }
    row[CM_CGROUP_USAGE] = cm_cgroup_usage(&group);
    struct cm_cgroup_more more = {0};
    cm_cgroup_parts(&group, row, &more);
    printf("{\"peak\": %" PRIu64, cm_cgroup_peak(&group));
    printf(", \"mapped\": %" PRIu64 ", \"swap\": %" PRIu64, more.mapped_bytes, more.swap_bytes);
    for (int i = 0; i < CM_MAX_COLUMNS; i++)
        printf(", \"%s\": %" PRIu64, names[i], row[i]);
    if (cm_cgroup_oom_kills(fd, atoi(argv[2]), &row[0]))
        printf(", \"oom_kills\": %" PRIu64, row[0]);
    if ((row[0] = cm_cgroup_limit_hits(fd, atoi(argv[2]))) > 0)
        printf(", \"limit_hits\": %" PRIu64, row[0]);
    printf("}\n");
    return 0;
}
