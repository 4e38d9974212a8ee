"""How the command ended, how many processes the OOM killer killed, and which processes were left running."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from concmem._classes.record import Record
from concmem._native.observed import Observed
from concmem.options import Leftover
from concmem.units import exit_status

if TYPE_CHECKING:
    from concmem.model import OutOfMemory, Reason
    from concmem.sampler_report import LeftProcess

__all__ = ["Ending", "ending_of", "find_oom", "left_running", "unexplained_sigkills"]


class Ending(Record):
    """
    How the root ended: the fields of `concmem.parts.Exit`.

    Attributes:
        is_stopped: Whether the host ended the tree, also if the root had ended before.
    """

    code: int | None
    signal: int | None
    reason: Reason
    is_stopped: bool = False

    @property
    def returncode(self) -> int | None:
        """As `Exit.returncode`."""
        return self.code if self.signal is None else -self.signal

    @property
    def status(self) -> int:
        """As `Exit.status`."""
        return exit_status(self.code, self.signal)


def unexplained_sigkills(observed: Observed, leftover: Leftover) -> int:
    """Return how many processes are known to have ended by a SIGKILL that concmem did not send."""
    head = observed.head
    if head.reason and not head.root_ended_first:
        return 0
    by_shell = head.wait_status == (128 + signal.SIGKILL) << 8  # a shell exits with its child's status
    # With leftover="kill", and if the host ended the rest, concmem killed the processes that ended after the root.
    until_ns = head.exit_ns if leftover == "kill" or head.root_ended_first else head.end_ns
    known = (process for process in observed.processes if process.was_reaped or process.has_exit_record)
    ended = (process.wait_status for process in known if process.end_ns <= until_ns)
    return int(by_shell) + sum(1 for status in ended if status & 0x7F == signal.SIGKILL)


def find_oom(observed: Observed, kills_on_machine: int) -> OutOfMemory | None:
    """
    Return how many processes of the tree the OOM killer killed; None if it is not known to have killed any.

    Args:
        observed: What was observed of the tree.
        kills_on_machine: How many kills the counter of the whole machine can explain. It is used if the command's own
            group has no counter.
    """
    head = observed.head
    if head.oom_kills_known and head.oom_kills:
        file = "memory.events" if head.memory_group_version == 2 else "memory.oom_control"
        from concmem.model import OutOfMemory

        # If the group itself never reached its limit, a limit around it or the end of all memory was the cause.
        limit_bytes = head.cgroup_limit_bytes if head.limit_hits else 0
        return OutOfMemory(head.oom_kills, f"{file} oom_kill", certain=True, limit_bytes=limit_bytes or None)
    if kills_on_machine <= 0 or (head.oom_kills_known and not head.left_groups):
        return None
    from concmem.model import OutOfMemory

    return OutOfMemory(kills_on_machine, "/proc/vmstat oom_kill", certain=False)


def ending_of(observed: Observed, oom: OutOfMemory | None) -> Ending:
    """Return how the root ended."""
    status = observed.head.wait_status
    number = status & 0x7F
    if not observed.head.root_ended:  # it could not be killed
        return Ending(None, None, observed.reason or "interrupted", observed.reason == "interrupted")
    killed_by: Reason = "signaled"
    if number == signal.SIGKILL and oom is not None:
        killed_by = "oom" if oom.limit_bytes is None else "cgroup_limit"
    own: Reason = killed_by if number else "exited"
    # If the host ended the tree after the root had ended, this is the end of the others.
    reason = own if observed.reason is None or observed.head.root_ended_first else observed.reason
    code = None if number else os.waitstatus_to_exitcode(status)
    return Ending(code, number or None, reason, observed.reason == "interrupted")


def left_running(observed: Observed) -> tuple[LeftProcess, ...]:
    """Return the processes that were left running, as requested."""
    from concmem.sampler_report import LeftProcess

    count = observed.head.left_running
    left = [LeftProcess(process.pid, process.name) for process in observed.processes if process.was_left]
    return (*left, *[LeftProcess(0, "")] * (count - len(left))) if count else ()
