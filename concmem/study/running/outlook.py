"""Estimate the runs, time, disk and memory of a study before anything is installed, built or run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from concmem.drivers import programs as drivers
from concmem.drivers import toolchains
from concmem.drivers.programs import Program, Toolchain
from concmem.host import check_proc, threads_on_machine
from concmem.study.complete_plan import add_programs_and_seed
from concmem.study.limits.kinds import limits_here, obstacles
from concmem.study.limits.memory import available_bytes, margin_bytes
from concmem.study.plan import Cell, Plan, cells
from concmem.study.running.find_largest import find_searches, missing_cells
from concmem.study.running.rough_costs import build_bytes, build_s, memory_bytes, run_s, stored_run_s
from concmem.study.store.directory import Store
from concmem.study.store.records import Run
from concmem.units import format_bytes, format_count, format_rough_time

__all__ = ["Outlook", "look_ahead"]

_RUN_DISK_BYTES = 400 << 10
"""A run's JSON and its timeline of 10 s."""
_PAGE_DISK_BYTES = 5 << 20


@attrs.frozen
class Outlook:
    """
    An estimate of what a study will take on this machine.

    Attributes:
        runs: The number of runs that are left to make.
        seconds: The time, installing and building included.
        disk_bytes: The disk space of toolchains, programs, runs, timelines and page that are not there yet.
        memory_bytes: The memory of the largest run that fits into this machine.
        free_bytes: The memory that runs may use here.
        to_install: Languages whose toolchains will be installed first.
        to_build: Programs that will be built first.
        first_s, first_bytes: The part of `seconds` and `disk_bytes` that installing and building takes.
        missing: Programs that cannot be run because their toolchain is missing.
    """

    runs: int
    seconds: float
    disk_bytes: int
    memory_bytes: int
    free_bytes: int
    to_install: tuple[str, ...] = ()
    to_build: tuple[str, ...] = ()
    first_s: float = 0.0
    first_bytes: int = 0
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        text = (
            f"{format_count(self.runs)} run{'' if self.runs == 1 else 's'} to make: about "
            f"{format_rough_time(self.seconds)} and {format_bytes(self.disk_bytes)} of disk; the largest needs about "
            f"{format_bytes(self.memory_bytes)} of memory, {format_bytes(self.free_bytes)} is free"
        )
        first = []
        if self.to_install:
            first.append(f"installing toolchains of {', '.join(self.to_install)}")
        if self.to_build:
            first.append(f"building {len(self.to_build)} program{'' if len(self.to_build) == 1 else 's'}")
        if first:
            text += (
                f"; time and disk space include {' and '.join(first)}: about {format_rough_time(self.first_s)} and "
                f"{format_bytes(self.first_bytes)}, the first time only"
            )
        if self.missing:
            text += f"; not included, because their toolchains are missing: {', '.join(self.missing)}"
        return text


def look_ahead(plan: Plan, out: str | Path, *, resume: bool = False, install: bool = False) -> Outlook | None:
    """
    Estimate what `bench` with this plan will take on this machine; install, build, write and run nothing.

    Args:
        plan: As for `bench`.
        out: As for `bench`.
        resume: As for `bench`.
        install: Whether missing toolchains will be installed, as far as this user can.

    Returns:
        The estimate, or None if no runs are left to make.

    Raises:
        InvalidRequest: There is no such program.
        StudyError: As for `bench`.
        RecordingError: The study to resume cannot be read.
        UnsupportedPlatform: /proc is not that of this process.
    """
    check_proc()
    store = Store(Path(out))
    if not resume:
        store.check_empty()
    plan, programs = add_programs_and_seed(plan, store, resume=resume)
    stored = tuple(run for run in store.read().runs if run.status != "skipped") if resume else ()
    stored_cells = {run.cell for run in stored}
    left = [cell for cell in cells(plan) if cell not in stored_cells]
    if stored:
        left += [cell for search in find_searches(plan, stored) for cell in missing_cells(plan, search, stored)]
    return estimate(plan, left, programs, stored, install=install) if left else None


def estimate(
    plan: Plan, left: Sequence[Cell], programs: Mapping[str, Program], stored: Sequence[Run] = (), *, install: bool
) -> Outlook:
    """Estimate what these runs of a plan take, with the installing and building that comes before."""
    names = {cell.program for cell in left}
    needed = {name: program for name, program in programs.items() if name in names}
    detected = {name: drivers.detect(program) for name, program in needed.items()}
    ready = {name: toolchain for name, toolchain in detected.items() if isinstance(toolchain, Toolchain)}
    installable: frozenset[str] = frozenset()
    to_install: tuple[str, ...] = ()
    first_s, first_bytes = 0.0, 0
    if install:
        planned = toolchains.plan(needed.values(), fetch_lists=False)
        installable, to_install = planned.programs, tuple(planned.here)
        first_s, first_bytes = planned.seconds, planned.disk_bytes
    to_build = tuple(
        name
        for name, program in needed.items()
        if (
            drivers.needs_build(program)
            if name in installable
            else name in ready and not drivers.is_built(program, ready[name], plan.workload)
        )
    )
    first_s = (first_s if to_install else 0.0) + sum(map(build_s, to_build))
    first_bytes += sum(map(build_bytes, to_build))
    runnable = [cell for cell in left if cell.program in ready or cell.program in installable]
    free_bytes = max(0, available_bytes() - margin_bytes())
    possible_tasks = dict(_possible_tasks(runnable, needed))
    # Runs that do not fit into memory are skipped.
    fitting = [cell for cell in runnable if memory_bytes(cell) <= free_bytes]
    reached = [attrs.evolve(cell, tasks=max(1, possible_tasks.get(cell, cell.tasks))) for cell in fitting]
    return Outlook(
        runs=len(runnable),
        seconds=first_s + _runs_s(plan, fitting, possible_tasks, stored),
        disk_bytes=first_bytes + _PAGE_DISK_BYTES + len(runnable) * _RUN_DISK_BYTES,
        memory_bytes=max(map(memory_bytes, reached), default=0),
        free_bytes=free_bytes,
        to_install=to_install,
        to_build=to_build,
        first_s=first_s,
        first_bytes=first_bytes,
        missing=tuple(name for name in needed if name not in ready and name not in installable),
    )


def _runs_s(plan: Plan, left: Sequence[Cell], possible_tasks: Mapping[Cell, int], stored: Sequence[Run]) -> float:
    seconds = 0.0
    for cell in left:
        known_s = stored_run_s(plan, cell, stored)
        seconds += run_s(plan, cell, possible_tasks.get(cell)) if known_s is None else known_s
    # The search for the largest number of threads: one guess that fails, then as many runs as the planned number has.
    least: dict[str, Cell] = {}
    for cell in sorted((cell for cell in left if cell in possible_tasks), key=lambda cell: cell.tasks):
        least.setdefault(cell.program, cell)
    for cell in least.values():
        runs = [Cell(cell.program, max(1, possible_tasks[cell]), index) for index in range(plan.runs_of(cell.tasks))]
        seconds += run_s(plan, cell, possible_tasks[cell]) + sum(run_s(plan, each) for each in runs)
    return seconds


def _possible_tasks(left: Iterable[Cell], programs: Mapping[str, Program]) -> Iterator[tuple[Cell, int]]:
    """Yield each run that a limit of this machine stops, with the number of tasks that it can have."""
    of_others = threads_on_machine()
    limits = {name: limits_here([program], of_others=of_others) for name, program in programs.items()}
    for cell in left:
        if exceeded := obstacles(limits[cell.program], cell.tasks):
            yield cell, exceeded[0].room
