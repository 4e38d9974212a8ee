"""
How much CPU time other processes took during a run.

This is the elapsed time of all CPUs, less their idle time, less the CPU time of the run itself: its tree, the sampler
and this process. /proc/stat has the idle time, which the kernel counts exactly. Pressure (/proc/pressure/cpu) cannot be
used: it counts every task that waits, and a program with more threads than CPUs makes its own tasks wait.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Collection
from pathlib import Path

import attrs
from attrs.validators import ge, le

__all__ = ["BUSY_SHARE", "CpuMeter", "OtherWork", "measure_now"]

BUSY_SHARE = 0.1
"""
A machine is busy if others take a larger share than this.

The daemons of an idle machine take 1 or 2 %. One foreign process that computes takes 50 % of two CPUs, 25 % of four and
12 % of eight, and a program with a thread for each CPU then waits for one of them. With 16 or more CPUs, enough of them
stay free.
"""

_PROC = Path("/proc")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_IS_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD in the flags of /proc/PID/stat."""
_LEAST_COUNTED = 0.25
"""If all columns together have a smaller share of the elapsed time, something else wrote them, such as a sandbox."""
_SAMPLE_S = 0.3


@attrs.frozen
class OtherWork:
    """
    The part of the CPU time that others took, on the CPUs that the run was allowed to use.

    Attributes:
        share: The part of processes outside of the run. Interrupts and kernel threads, which serve the run as well, are
            not in it.
        steal_share: The part that the hypervisor took for other virtual machines.
        error_share: How much the sum of both may be too large, because the kernel counts in ticks.
    """

    share: float = attrs.field(validator=[ge(0), le(1)])
    steal_share: float = attrs.field(default=0.0, validator=[ge(0), le(1)])
    error_share: float = attrs.field(default=0.0, validator=ge(0))

    @property
    def taken_share(self) -> float:
        """The part that others took: the sum of `share` and `steal_share`."""
        return self.share + self.steal_share

    @property
    def is_busy(self) -> bool:
        """Whether others certainly took more than `BUSY_SHARE`."""
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


class CpuMeter:
    """
    Measures other work on the CPUs that the calling thread may use, from the creation of the object on.

    Args:
        clock: Returns the time in seconds.
        own_s: Returns the CPU time of this process and of all processes that it has waited for, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, own_s: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._own_s = own_s or _own_s
        self._cpus = os.sched_getaffinity(0)
        self._begun = self._read()

    def read(self) -> OtherWork | None:
        """Return what others took since the creation; None if the machine does not show it."""
        begun, now = self._begun, self._read()
        if begun is None or now is None or now.at_s <= begun.at_s:
            return None
        all_s = (now.at_s - begun.at_s) * len(self._cpus)
        # Idle time that is read from another CPU can lag behind and catch up at the next reading.
        took = {name: max(0.0, now.columns[name] - begun.columns[name]) for name in _COLUMNS}
        slack_s = 2 * _TICK_S * len(self._cpus)
        if sum(took.values()) + slack_s < _LEAST_COUNTED * all_s:
            return None
        not_processes_s = sum(took[name] for name in ("idle", "iowait", "irq", "softirq", "steal"))
        kernel_s = sum(took_s - begun.kernel_threads.get(pid, 0.0) for pid, took_s in now.kernel_threads.items())
        own_s = now.own_s - begun.own_s + max(0.0, kernel_s)
        share = min(1.0, max(0.0, all_s - not_processes_s - own_s) / all_s)
        return OtherWork(share, min(1.0, took["steal"] / all_s), slack_s / all_s)

    def _read(self) -> _Reading | None:
        kernel_threads = _kernel_threads(self._cpus)
        own_s = self._own_s()
        columns = _columns(self._cpus)
        return None if columns is None else _Reading(self._clock(), own_s, kernel_threads, columns)


def measure_now(
    pause: Callable[[float], None] = time.sleep, make_meter: Callable[[], CpuMeter] = CpuMeter
) -> OtherWork | None:
    """Return what others take at this moment; None if the machine does not show it."""
    cpu_meter = make_meter()
    pause(_SAMPLE_S)
    return cpu_meter.read()


def _own_s() -> float:
    """Return the CPU time of this process and of the trees that it measured, which its samplers have waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _columns(cpus: Collection[int]) -> dict[str, float] | None:
    """Return the seconds in each of `_COLUMNS`, summed over these CPUs; None if one of them is not listed."""
    try:
        lines = [line.split() for line in (_PROC / "stat").read_text().splitlines() if line.startswith("cpu")]
        listed = {fields[0]: [int(field) for field in fields[1:9]] for fields in lines}
        amounts = [listed[f"cpu{cpu}"] for cpu in cpus]
    except (OSError, ValueError, KeyError):
        return None
    if any(len(ticks) < len(_COLUMNS) for ticks in amounts):
        return None
    return {name: sum(ticks[n] for ticks in amounts) * _TICK_S for n, name in enumerate(_COLUMNS)}


def _kernel_threads(cpus: Collection[int]) -> dict[str, float]:
    """
    Return the CPU time of each kernel thread that ran last on one of these CPUs, by its PID.

    Kernel threads reclaim pages, run callbacks and write files for the run as well as for others.
    """
    times_s = {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[6]) & _IS_KERNEL_THREAD and int(fields[36]) in cpus:
                times_s[folder.name] = (int(fields[11]) + int(fields[12])) * _TICK_S
        except (OSError, ValueError, IndexError):  # the process has ended
            continue
    return times_s
