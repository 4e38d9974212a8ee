"""Will it fit? What the machine has free, and what a run will probably need."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import psutil

from concmem._cgroup.limits import control_groups
from concmem.host import whole_proc
from concmem.study.store.records import Run
from concmem.units import format_count

__all__ = ["available_bytes", "each_bytes", "estimate_bytes", "margin_bytes"]

_LEAST_MARGIN_BYTES = 256 << 20
_TELLING_TASKS = 1000
_LEAST_EACH_BYTES = 8192
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def available_bytes() -> int:
    """
    What can be used without driving anybody into swap or the out-of-memory killer.

    MemAvailable, or what the surrounding control groups leave, whichever is less.
    """
    with whole_proc():
        return min([psutil.virtual_memory().available, *_left_in_cgroups()])


def margin_bytes() -> int:
    """What is to stay free: a twentieth of the memory, 256 MiB at least, an eighth on a machine too small for that."""
    with whole_proc():
        total = psutil.virtual_memory().total
    return min(max(total // 20, _LEAST_MARGIN_BYTES), total // 8)


def estimate_bytes(runs: Iterable[Run], program: str, tasks: int) -> tuple[int, str] | None:
    """
    What a run will probably need, and a phrase that says from what that is known.

    The largest peak of the same program and size where there is one; else the line through its two largest smaller
    sizes; else in proportion to one smaller size, if it was large enough (1,000 tasks) for the runtime's own memory
    not to be all of it. None where nothing of that is there: then only the limit during the run protects the machine.

    Args:
        runs: Runs that were made; only those that have a figure count.
        program: Which program.
        tasks: How many tasks it will start.
    """
    peaks: dict[int, int] = {}
    for run in runs:
        figure = run.peak
        if run.program == program and run.tasks <= tasks and figure is not None and figure.bytes is not None:
            peaks[run.tasks] = max(peaks.get(run.tasks, 0), figure.bytes)
    if not peaks:
        return None
    *smaller, largest = sorted(peaks)
    if largest == tasks:
        return peaks[tasks], "its run before"
    if largest < _TELLING_TASKS:
        return None
    floor_tasks, floor = (smaller[-1], peaks[smaller[-1]]) if smaller else (0, 0)
    each = max(0.0, (peaks[largest] - floor) / (largest - floor_tasks))
    return int(peaks[largest] + each * (tasks - largest)), f"its run with {format_count(largest)} tasks"


def each_bytes(runs: Iterable[Run], program: str) -> int:
    """What one task has resident, judged by the run with the most tasks; two pages where none has 1,000 or more."""
    peaks = {
        run.tasks: run.peak.bytes
        for run in runs
        if run.program == program and run.peak is not None and run.peak.bytes is not None
    }
    largest = max(peaks, default=0)
    return peaks[largest] // largest if largest >= _TELLING_TASKS else _LEAST_EACH_BYTES


def _left_in_cgroups(proc: str = "/proc/self") -> Iterable[int]:
    """What each control group around us with a limit of its own still gives; file cache counts as free."""
    for group, version in control_groups("memory", proc):
        if (left := _left(group, *_FILES[version])) is not None:
            yield left


def _left(group: Path, limit: str, usage: str, cache: str) -> int | None:
    try:
        most = int((group / limit).read_text())
        used = int((group / usage).read_text())
        lines = (group / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no such group in this namespace, or the limit is "max"
        return None
    free = sum(int(line.split()[1]) for line in lines if line.split()[0] == cache)
    return max(0, most - used + free)
