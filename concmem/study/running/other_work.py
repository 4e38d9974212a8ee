"""
How much of the CPUs' time went to others while a run was made.

From /proc/stat, whose idle time the kernel keeps exactly, less what the run itself took: its tree, the sampler and this
process. Pressure (/proc/pressure/cpu) cannot be used: it counts every task that waits, and a program with more threads
than there are CPUs makes its own tasks wait.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Collection
from pathlib import Path

import attrs
from attrs.validators import ge, le

__all__ = ["BUSY_SHARE", "OtherWork", "Watch", "look_around"]

BUSY_SHARE = 0.1
"""
From this share on a machine is busy.

Daemons of a machine at rest take 1 or 2 %. One foreign process that computes takes 50 % of two CPUs, 25 % of four and
12 % of eight, and a program that has a thread for each CPU then waits for one of them; on 16 CPUs and more it leaves so
many free that it takes none away.
"""

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_IS_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD in the flags of /proc/PID/stat."""
_COUNTED = 0.25
"""Where less of the time that has passed is counted at all, the columns are not the kernel's: a sandbox's, say."""
_LOOK_S = 0.3


@attrs.frozen
class OtherWork:
    """
    What others took of the CPUs that a run was allowed to use, as parts of all their time.

    Attributes:
        share: Processes outside of the run. Not in it: interrupts and kernel threads, which serve the run as well.
        steal_share: The hypervisor, for other virtual machines.
        error_share: By how much both together may be too large: the kernel counts in ticks.
    """

    share: float = attrs.field(validator=[ge(0), le(1)])
    steal_share: float = attrs.field(default=0.0, validator=[ge(0), le(1)])
    error_share: float = attrs.field(default=0.0, validator=ge(0))

    @property
    def taken_share(self) -> float:
        """What others took altogether."""
        return self.share + self.steal_share

    @property
    def is_busy(self) -> bool:
        """Whether that is surely more than `BUSY_SHARE`."""
        return self.taken_share - self.error_share > BUSY_SHARE

    def __str__(self) -> str:
        stolen = f", the hypervisor {self.steal_share:.0%}" if self.steal_share >= 0.01 else ""
        return f"other processes took {self.share:.0%} of the CPU time{stolen}"


@attrs.frozen
class _Reading:
    at_s: float
    own_s: float
    kernel_threads: dict[str, float]
    columns: dict[str, float]


class Watch:
    """
    Watches the CPUs that the calling thread may use, from its making on.

    Args:
        clock: Tells the time that passes, in seconds.
        own_s: Tells the CPU time of this process and of all that it waited for.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, own_s: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._own_s = own_s or _own_s
        self._cpus = os.sched_getaffinity(0)
        self._begun = self._read()

    def so_far(self) -> OtherWork | None:
        """What others took since the beginning; None where the machine does not tell."""
        begun, now = self._begun, self._read()
        if begun is None or now is None or now.at_s <= begun.at_s:
            return None
        all_s = (now.at_s - begun.at_s) * len(self._cpus)
        # Idle time that is read on another CPU can be behind, and is ahead at the next reading.
        took = {name: max(0.0, now.columns[name] - begun.columns[name]) for name in _COLUMNS}
        slack_s = 2 * _TICK_S * len(self._cpus)
        if sum(took.values()) + slack_s < _COUNTED * all_s:
            return None
        not_of_processes_s = sum(took[name] for name in ("idle", "iowait", "irq", "softirq", "steal"))
        kernel_s = sum(took_s - begun.kernel_threads.get(pid, 0.0) for pid, took_s in now.kernel_threads.items())
        own_s = now.own_s - begun.own_s + max(0.0, kernel_s)
        share = min(1.0, max(0.0, all_s - not_of_processes_s - own_s) / all_s)
        return OtherWork(share, min(1.0, took["steal"] / all_s), slack_s / all_s)

    def _read(self) -> _Reading | None:
        kernel_threads = _kernel_threads(self._cpus)
        own_s = self._own_s()
        columns = _columns(self._cpus)
        return None if columns is None else _Reading(self._clock(), own_s, kernel_threads, columns)


def look_around(pause: Callable[[float], None] = time.sleep, begin: Callable[[], Watch] = Watch) -> OtherWork | None:
    """What others take at this moment; None where the machine does not tell."""
    watch = begin()
    pause(_LOOK_S)
    return watch.so_far()


def _own_s() -> float:
    """Of this process, and of the trees that it measured: their sampler waited for them, and it for the sampler."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _columns(cpus: Collection[int]) -> dict[str, float] | None:
    """The seconds of each of `_COLUMNS`, of these CPUs together; None where one of them is not listed."""
    try:
        lines = [line.split() for line in (_PROC / "stat").read_text().splitlines() if line.startswith("cpu")]
        listed = {fields[0]: [int(field) for field in fields[1:9]] for fields in lines}
        amounts = [listed[f"cpu{cpu}"] for cpu in cpus]
    except (OSError, ValueError, KeyError):
        return None
    if any(len(of_cpu) < len(_COLUMNS) for of_cpu in amounts):
        return None
    return {name: sum(of_cpu[n] for of_cpu in amounts) * _TICK_S for n, name in enumerate(_COLUMNS)}


def _kernel_threads(cpus: Collection[int]) -> dict[str, float]:
    """
    The CPU time of each kernel thread that ran last on one of these CPUs, by its PID.

    They reclaim pages, run callbacks and write files for the run as well as for others.
    """
    found = {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[6]) & _IS_KERNEL_THREAD and int(fields[36]) in cpus:
                found[folder.name] = (int(fields[11]) + int(fields[12])) * _TICK_S
        except (OSError, ValueError, IndexError):  # it has ended
            continue
    return found
