/* delegated_group MOUNT LIMIT: makes the target's group as the sampler does, below a folder that imitates the mount
 * of control groups, and prints 0 or the errno. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "sampler/sampler.h"

int main(int argc, char **argv)
{
    int mount_fd = argc > 2 ? open(argv[1], O_RDONLY | O_DIRECTORY) : -1;
    if (mount_fd < 0)
        return 1;
    int fd = delegated_group_make(mount_fd, strtoull(argv[2], NULL, 10));
    printf("%d\n", fd < 0 ? -fd : 0);
    return 0;
}
