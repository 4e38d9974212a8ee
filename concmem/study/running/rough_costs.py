"""Rough times and sizes of programs that have never run here, measured on two CPUs of 2.1 GHz."""

from __future__ import annotations

import math
from collections.abc import Iterable

from concmem.study.plan import Cell, Plan
from concmem.study.store.records import Run

__all__ = ["build_bytes", "build_s", "memory_bytes", "run_s", "stored_run_s"]

_BEYOND_S = {
    "csharp": 1.3, "elixir": 13.0, "go": 2.6, "java-virtual-threads": 9.0, "nodejs": 1.3, "python": 15.0,
    "rust-async-std": 0.5, "rust-threads": 70.0, "rust-tokio": 0.8,
}  # fmt: skip
"""How much longer than the sleep a run with a million tasks takes; with fewer tasks in proportion."""
_BEYOND_OF_OTHERS_S = 8.0
_LAUNCH = {"java-threads": (10_000, 2.5, 2.2)}
"""
Programs whose launching may take longer than the sleep, so that they are repeated with a longer one: a number of tasks,
the seconds that launching these takes, and the power of the number of tasks with which this time grows.
"""
_MIB_OF_MILLION = {
    "csharp": 520, "elixir": 4100, "go": 2630, "java-threads": 26000, "java-virtual-threads": 1100, "nodejs": 570,
    "python": 1400, "rust-async-std": 370, "rust-threads": 9000, "rust-tokio": 440,
}  # fmt: skip
_MIB_OF_OTHERS = 1500
_FLOOR_BYTES = 50 << 20
_START_S = 0.5

_BUILD = {
    "rust-threads": (2, 1), "rust-tokio": (80, 45), "rust-tokio-1-28": (35, 37), "rust-tokio-join-all": (50, 45),
    "rust-async-std": (55, 60), "go": (45, 40), "java-threads": (7, 1), "csharp-nativeaot": (30, 30),
    "kotlin": (60, 60),
}  # fmt: skip
"""
What building a program takes with empty caches: seconds, and MiB of disk with the libraries that are fetched for it.
"""
_BUILD_OF_OTHERS = (3, 1)


def run_s(plan: Plan, cell: Cell, possible_tasks: int | None = None) -> float:
    """
    Estimate how long a run takes, in seconds, its repeats with a longer sleep included.

    Args:
        plan: The study's plan.
        cell: The run.
        possible_tasks: How many tasks a limit of the machine allows, or None. A larger run fails at this number.
    """
    fails = possible_tasks is not None and possible_tasks < cell.tasks
    tasks = possible_tasks if possible_tasks is not None and fails else cell.tasks
    if cell.program not in _LAUNCH:
        beyond_s = _START_S + _BEYOND_S.get(cell.program, _BEYOND_OF_OTHERS_S) * tasks / 1e6
        return beyond_s if fails else plan.sleep_s + beyond_s
    known_tasks, known_s, power = _LAUNCH[cell.program]
    launch_s = _START_S + known_s * math.pow(tasks / known_tasks, power)
    sleeps = [plan.sleep_s]
    if plan.workload == "sleep":
        while launch_s > sleeps[-1] and sleeps[-1] < plan.longest_sleep_s:
            sleeps.append(min(2 * sleeps[-1], plan.longest_sleep_s))
    *early, last = sleeps
    if fails or launch_s > last:
        return sum(early) + min(launch_s, last)
    # The first run of a size finds out how long it must sleep; the others begin with that sleep.
    return (0 if cell.index else sum(early)) + launch_s + last


def stored_run_s(plan: Plan, cell: Cell, stored: Iterable[Run]) -> float | None:
    """Return how long a stored run of this size took, its repeats included; None if no such run is stored."""
    alike = [run for run in stored if (run.program, run.tasks) == (cell.program, cell.tasks) and run.measurement]
    if not alike:
        return None
    # All runs of a size sleep as long as the first successful one, and need no repeats then.
    run = next((run for run in alike if run.status == "ok"), alike[-1])
    repeats_s = 0.0 if run.status == "ok" else sum(plan.sleep_s * 2**i for i in range(run.attempts - 1))
    assert run.measurement is not None
    return repeats_s + run.measurement.tree_wall_s


def memory_bytes(cell: Cell) -> int:
    """Estimate the memory of a run, in bytes."""
    return _FLOOR_BYTES + int((_MIB_OF_MILLION.get(cell.program, _MIB_OF_OTHERS) << 20) * cell.tasks / 1e6)


def build_s(program: str) -> float:
    """Estimate how long building a program takes, in seconds."""
    return float(_BUILD.get(program, _BUILD_OF_OTHERS)[0])


def build_bytes(program: str) -> int:
    """Estimate the disk space of a built program and of its compiler's caches, in bytes."""
    return _BUILD.get(program, _BUILD_OF_OTHERS)[1] << 20
