"""What a study will take: runs, time, disk and memory, before anything is installed, built or run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from concmem.drivers import programs as drivers
from concmem.drivers import toolchains
from concmem.drivers.programs import Program, Toolchain
from concmem.host import check_proc, threads_on_machine
from concmem.study.complete_plan import complete_plan
from concmem.study.limits.kinds import limits_here, obstacles
from concmem.study.limits.memory import available_bytes, margin_bytes
from concmem.study.plan import Cell, Plan, cells
from concmem.study.running.find_largest import sought, unmade
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
    What is about to run on this machine.

    Attributes:
        runs: How many runs are left to make.
        seconds: About how long all takes, installing and building included.
        disk_bytes: About what toolchains, programs, runs, timelines and page take that are not there yet.
        memory_bytes: About what the largest run needs, of those that this machine has room for.
        free_bytes: What runs may use here.
        to_install: Languages whose toolchains will be installed first.
        to_build: Programs that will be built first.
        first_s, first_bytes: What of `seconds` and `disk_bytes` installing and building takes.
        missing: Programs that cannot be run, as their toolchain is missing.
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
        said = (
            f"{format_count(self.runs)} run{'' if self.runs == 1 else 's'} to make: about "
            f"{format_rough_time(self.seconds)} and {format_bytes(self.disk_bytes)} of disk; the largest needs about "
            f"{format_bytes(self.memory_bytes)} of memory, {format_bytes(self.free_bytes)} are free"
        )
        first = []
        if self.to_install:
            first.append(f"installing toolchains of {', '.join(self.to_install)}")
        if self.to_build:
            first.append(f"building {len(self.to_build)} program{'' if len(self.to_build) == 1 else 's'}")
        if first:
            said += (
                f"; of that, {' and '.join(first)} takes about {format_rough_time(self.first_s)} and "
                f"{format_bytes(self.first_bytes)}, the first time only"
            )
        if self.missing:
            said += f"; not counted, as their toolchains are missing: {', '.join(self.missing)}"
        return said


def look_ahead(plan: Plan, out: str | Path, *, resume: bool = False, install: bool = False) -> Outlook | None:
    """
    What `bench` with this plan will take on this machine; nothing is installed, built, written or run.

    Args:
        plan: As for `bench`.
        out: As for `bench`.
        resume: As for `bench`.
        install: Toolchains that are missing will be installed, as far as this user can.

    Returns:
        None where all runs are made.

    Raises:
        InvalidRequest: There is no such program.
        StudyError: As by `bench`.
        RecordingError: What is to be resumed cannot be read.
        UnsupportedPlatform: /proc is not that of this process.
    """
    check_proc()
    store = Store(Path(out))
    if not resume:
        store.check_empty()
    plan, programs = complete_plan(plan, store, resume=resume)
    stored = tuple(run for run in store.read().runs if run.status != "skipped") if resume else ()
    made = {run.cell for run in stored}
    left = [cell for cell in cells(plan) if cell not in made]
    left += [cell for wanted in sought(plan, stored) for cell in unmade(plan, wanted, stored)] if stored else []
    return estimate(plan, left, programs, stored, install=install) if left else None


def estimate(
    plan: Plan, left: Sequence[Cell], programs: Mapping[str, Program], stored: Sequence[Run] = (), *, install: bool
) -> Outlook:
    """What these runs of a plan take, with all that must be installed and built before."""
    meant = {cell.program for cell in left}
    needed = {name: program for name, program in programs.items() if name in meant}
    found = {name: drivers.detect(program) for name, program in needed.items()}
    there = {name: each for name, each in found.items() if isinstance(each, Toolchain)}
    coming: frozenset[str] = frozenset()
    to_install: tuple[str, ...] = ()
    first_s, first_bytes = 0.0, 0
    if install:
        planned = toolchains.plan(needed.values(), fetch_lists=False)
        coming, to_install = planned.programs, tuple(planned.here)
        first_s, first_bytes = planned.seconds, planned.disk_bytes
    to_build = tuple(
        name
        for name, program in needed.items()
        if (
            drivers.needs_build(program)
            if name in coming
            else name in there and not drivers.is_built(program, there[name], plan.workload)
        )
    )
    first_s = (first_s if to_install else 0.0) + sum(map(build_s, to_build))
    first_bytes += sum(map(build_bytes, to_build))
    able = [cell for cell in left if cell.program in there or cell.program in coming]
    free_bytes = max(0, available_bytes() - margin_bytes())
    rooms = dict(_rooms(able, needed))
    # Those that do not fit into memory are not tried.
    tried = [cell for cell in able if memory_bytes(cell) <= free_bytes]
    return Outlook(
        runs=len(able),
        seconds=first_s + _runs_s(plan, tried, rooms, stored),
        disk_bytes=first_bytes + _PAGE_DISK_BYTES + len(able) * _RUN_DISK_BYTES,
        memory_bytes=max(
            (memory_bytes(attrs.evolve(cell, tasks=max(1, rooms.get(cell, cell.tasks)))) for cell in tried), default=0
        ),
        free_bytes=free_bytes,
        to_install=to_install,
        to_build=to_build,
        first_s=first_s,
        first_bytes=first_bytes,
        missing=tuple(name for name in needed if name not in there and name not in coming),
    )


def _runs_s(plan: Plan, left: Sequence[Cell], rooms: Mapping[Cell, int], stored: Sequence[Run]) -> float:
    seconds = 0.0
    for cell in left:
        known_s = stored_run_s(plan, cell, stored)
        seconds += run_s(plan, cell, rooms.get(cell)) if known_s is None else known_s
    # The largest number of threads is looked for: one try that fails, then as many runs as the planned number has.
    least: dict[str, Cell] = {}
    for cell in sorted((cell for cell in left if cell in rooms), key=lambda cell: cell.tasks):
        least.setdefault(cell.program, cell)
    for cell in least.values():
        runs = [Cell(cell.program, max(1, rooms[cell]), index) for index in range(plan.runs_of(cell.tasks))]
        seconds += run_s(plan, cell, rooms[cell]) + sum(run_s(plan, each) for each in runs)
    return seconds


def _rooms(left: Iterable[Cell], programs: Mapping[str, Program]) -> Iterator[tuple[Cell, int]]:
    """How many tasks limits of this machine let a run have, of each for which that is less than planned."""
    of_others = threads_on_machine()
    limits = {name: limits_here([program], of_others=of_others) for name, program in programs.items()}
    for cell in left:
        if met := obstacles(limits[cell.program], cell.tasks):
            yield cell, met[0].room
