"""What a study will take: runs, time, disk and memory, before the first of them is made."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs

from concmem.study.memory import available_bytes, margin_bytes
from concmem.study.plan import Cell, Plan
from concmem.units import format_bytes, format_count, format_rough_time

__all__ = ["Outlook", "look_ahead"]

_BEYOND_S = {
    "csharp": 1.3, "elixir": 13.0, "go": 2.6, "java-virtual-threads": 9.0, "nodejs": 1.3, "python": 15.0,
    "rust-async-std": 0.5, "rust-tokio": 0.8,
}  # fmt: skip
"""How much longer than its tasks sleep a run with a million tasks takes: measured on two CPUs of 2.1 GHz."""
_BEYOND_OF_OTHERS_S = 8.0
_MIB_OF_MILLION = {
    "csharp": 520, "elixir": 4100, "go": 2630, "java-virtual-threads": 1100, "nodejs": 570, "python": 1400,
    "rust-async-std": 370, "rust-tokio": 440,
}  # fmt: skip
"""What a million tasks needed there."""
_MIB_OF_OTHERS = 1500
_FLOOR_BYTES = 50 << 20
_START_S = 0.5
_TRIES = 2
"""Runs that looking for the largest number of threads takes besides those that count."""
_RUN_DISK_BYTES = 400 << 10
"""A run's JSON and its timeline of 10 s."""
_PAGE_DISK_BYTES = 5 << 20


@attrs.frozen
class Outlook:
    """
    What is about to run.

    Attributes:
        runs: How many runs are left to make.
        seconds: About how long they take; building comes on top.
        disk_bytes: About what runs, timelines and page take.
        memory_bytes: About what the largest run needs, of those that this machine has room for.
        free_bytes: What runs may use here.
    """

    runs: int
    seconds: float
    disk_bytes: int
    memory_bytes: int
    free_bytes: int

    def __str__(self) -> str:
        return (
            f"{format_count(self.runs)} run{'' if self.runs == 1 else 's'} to make: about "
            f"{format_rough_time(self.seconds)} and {format_bytes(self.disk_bytes)} of disk; the largest needs about "
            f"{format_bytes(self.memory_bytes)} of memory, {format_bytes(self.free_bytes)} are free. "
            "Building comes on top, the first time"
        )


def look_ahead(plan: Plan, left: Sequence[Cell], threads: Collection[str] = ()) -> Outlook:
    """
    What these runs of a plan will take on this machine.

    Args:
        plan: The study's.
        left: Its runs that are not made yet.
        threads: The programs with a thread for each task, whose largest number may have to be looked for.
    """
    free_bytes = max(0, available_bytes() - margin_bytes())
    seconds = sum(_run_s(plan, cell) for cell in left)
    for program in threads:
        counts = [cell.tasks for cell in left if cell.program == program and cell.tasks >= 100_000]
        if counts:
            seconds += (_TRIES + plan.runs_of(min(counts))) * (plan.sleep_s + _START_S)
    needed = [_bytes(cell) for cell in left]
    return Outlook(
        runs=len(left),
        seconds=seconds,
        disk_bytes=_PAGE_DISK_BYTES + len(left) * _RUN_DISK_BYTES,
        memory_bytes=max((each for each in needed if each <= free_bytes), default=0),
        free_bytes=free_bytes,
    )


def _run_s(plan: Plan, cell: Cell) -> float:
    return plan.sleep_s + _START_S + _BEYOND_S.get(cell.program, _BEYOND_OF_OTHERS_S) * cell.tasks / 1e6


def _bytes(cell: Cell) -> int:
    return _FLOOR_BYTES + int((_MIB_OF_MILLION.get(cell.program, _MIB_OF_OTHERS) << 20) * cell.tasks / 1e6)
