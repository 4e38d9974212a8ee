/*
 * concmem-sampler witness: a process beside the command `concmem run`, in its process group, that receives nothing.
 *
 * kill(PID) and kill(-GROUP) look the same to the process that receives the signal: si_code is SI_USER for both. A
 * second process of the group makes the difference visible. It is started with every signal blocked, so that a signal
 * to the group stays pending here, and /proc/PID/status shows it (ShdPnd). It ends with concmem, which holds the other
 * end of its standard input.
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sampler/sampler.h"

int witness(void)
{
    char nothing;
    prctl(PR_SET_PDEATHSIG, SIGKILL);    /* a stopped process does not see the end of its input */
    syscall(SYS_close_range, 1, ~0U, 0); /* otherwise inherited files stay open as long as this process lives */
    while (read(STDIN_FILENO, &nothing, 1) < 0 && errno == EINTR)
        ;
    return 0;
}
