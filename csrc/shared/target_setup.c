/*
 * What the target sets in its own process before its exec: umask, session, process group, limits, CPUs, groups, user.
 *
 * The order is that of subprocess, with the limits before the user: root may raise them. The child makes the system
 * calls itself, because libc would change the user of all threads of the caller, whose memory it shares. Its
 * credentials are its own.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shared/internal.h"

/* Some machines of 32 bits have calls for users of 16 bits under the short names. */
#ifdef SYS_setreuid32
#define SET_GROUPS SYS_setgroups32
#define SET_GID SYS_setregid32
#define SET_UID SYS_setreuid32
#else
#define SET_GROUPS SYS_setgroups
#define SET_GID SYS_setregid
#define SET_UID SYS_setreuid
#endif

static int set_limits(const struct cm_target_setup *setup, volatile int *stage)
{
    for (int resource = 0; resource < CM_RLIMITS; resource++) {
        uint64_t pair[2] = {setup->soft_limits[resource], setup->hard_limits[resource]};
        *stage = CM_STAGE_RLIMIT + resource;
        if ((setup->rlimits >> resource & 1) && syscall(SYS_prlimit64, 0, resource, pair, NULL) < 0)
            return errno;
    }
    return 0;
}

/* Return 0, or an errno with `stage` set. */
int cm_target_set_up(const struct cm_target_setup *setup, volatile int *stage)
{
    if (setup->flags & CM_SET_UMASK)
        syscall(SYS_umask, setup->umask);
    *stage = CM_STAGE_SESSION;
    if ((setup->flags & CM_SET_SESSION) && syscall(SYS_setsid) < 0)
        return errno;
    *stage = CM_STAGE_PROCESS_GROUP;
    if ((setup->flags & CM_SET_PROCESS_GROUP) && syscall(SYS_setpgid, 0, setup->process_group) < 0)
        return errno;
    *stage = CM_STAGE_CPUS;
    if ((setup->flags & CM_SET_CPUS) && syscall(SYS_sched_setaffinity, 0, sizeof setup->cpus, setup->cpus) < 0)
        return errno;
    int error = set_limits(setup, stage);
    if (error != 0)
        return error;
    *stage = CM_STAGE_EXTRA_GROUPS;
    uint32_t ngroups = setup->nextra_groups < CM_EXTRA_GROUPS ? setup->nextra_groups : CM_EXTRA_GROUPS;
    if ((setup->flags & CM_SET_EXTRA_GROUPS) && syscall(SET_GROUPS, ngroups, setup->extra_groups) < 0)
        return errno;
    *stage = CM_STAGE_GID;
    if ((setup->flags & CM_SET_GID) && syscall(SET_GID, setup->gid, setup->gid) < 0)
        return errno;
    *stage = CM_STAGE_UID;
    if ((setup->flags & CM_SET_UID) && syscall(SET_UID, setup->uid, setup->uid) < 0)
        return errno;
    /* The kernel may have made the memory, which the caller shares, readable for that user (fs.suid_dumpable = 1). */
    if (setup->flags & (CM_SET_GID | CM_SET_UID))
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    return 0;
}
