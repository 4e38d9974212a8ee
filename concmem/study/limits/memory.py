"""The machine's free memory, and an estimate of what a run will need."""

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
_ENOUGH_TASKS = 1000
"""With fewer tasks most of the memory is the runtime's own."""
_LEAST_EACH_BYTES = 8192
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def available_bytes() -> int:
    """
    Return how much memory can be used without swapping or invoking the out-of-memory killer.

    This is MemAvailable, or what the limits of the enclosing control groups leave, whichever is less.
    """
    with whole_proc():
        return min([psutil.virtual_memory().available, *_left_in_cgroups()])


def margin_bytes() -> int:
    """Return how much memory must stay free: a twentieth, at least 256 MiB, but at most an eighth."""
    with whole_proc():
        total = psutil.virtual_memory().total
    return min(max(total // 20, _LEAST_MARGIN_BYTES), total // 8)


def estimate_bytes(runs: Iterable[Run], program: str, tasks: int) -> tuple[int, str] | None:
    """
    Estimate how much memory a run will need, with a phrase that names the run that this is estimated from.

    The estimate is the largest peak of the same program and size. Without one, it is on the line through the two
    largest smaller sizes, or in proportion to the only smaller size. The larger of these must have 1,000 tasks or more:
    with fewer, most memory is the runtime's own. Otherwise there is no estimate, and only the memory limit of the run
    protects the machine.

    Args:
        runs: Earlier runs; those without a figure do not count.
        program: The program's name.
        tasks: The number of tasks of the coming run.
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
        return peaks[tasks], "its earlier run"
    if largest < _ENOUGH_TASKS:
        return None
    floor_tasks, floor = (smaller[-1], peaks[smaller[-1]]) if smaller else (0, 0)
    each = max(0.0, (peaks[largest] - floor) / (largest - floor_tasks))
    return int(peaks[largest] + each * (tasks - largest)), f"its run with {format_count(largest)} tasks"


def each_bytes(runs: Iterable[Run], program: str) -> int:
    """Return the resident memory of one task, by the run with the most tasks; two pages if none has 1,000 or more."""
    peaks = {
        run.tasks: run.peak.bytes
        for run in runs
        if run.program == program and run.peak is not None and run.peak.bytes is not None
    }
    largest = max(peaks, default=0)
    return peaks[largest] // largest if largest >= _ENOUGH_TASKS else _LEAST_EACH_BYTES


def _left_in_cgroups(proc: str = "/proc/self") -> Iterable[int]:
    """Yield what the limit of each enclosing control group leaves; its file cache counts as free."""
    for group, version in control_groups("memory", proc):
        if (left := _left(group, *_FILES[version])) is not None:
            yield left


def _left(group: Path, limit: str, usage: str, cache: str) -> int | None:
    try:
        most = int((group / limit).read_text())
        used = int((group / usage).read_text())
        lines = (group / "memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # the group is outside of this namespace, or its limit is "max"
        return None
    free = sum(int(line.split()[1]) for line in lines if line.split()[0] == cache)
    return max(0, most - used + free)
