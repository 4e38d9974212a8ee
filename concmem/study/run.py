"""Run a study: prepare the programs, run every cell of the plan in its order, store each run as it ends."""

from __future__ import annotations

import contextlib
import datetime
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

import attrs

from concmem import drivers
from concmem._version import __version__
from concmem.host import describe, threads_on_machine
from concmem.study.eta import Eta
from concmem.study.largest import seek, sought
from concmem.study.lift import Change, lifted, restore
from concmem.study.limits import limits_here
from concmem.study.machines import kind_difference
from concmem.study.plan import Cell, Plan, StudyError, cells
from concmem.study.progress import Progress
from concmem.study.records import Entry, Run, Study
from concmem.study.runner import Runner
from concmem.study.store import Store

__all__ = ["bench"]


def bench(
    plan: Plan,
    out: str | Path,
    *,
    resume: bool = False,
    lift_limits: bool = False,
    progress: Progress | None = None,
) -> Study:
    """
    Run a study and store it, each run as soon as it has ended.

    A program without a toolchain, a build that fails and a run that would not fit into memory become rows with their
    reason. An exception, Ctrl-C among them, ends the run in flight and leaves all others stored.

    Args:
        plan: What to run. Where it names no programs, all of them; where it has no seed, one is drawn. A study that is
            resumed has its own of both.
        out: The directory, which must be empty or missing.
        resume: Go on with the study in `out`: make the runs that are missing, and try those again that were skipped.
        lift_limits: Raise the machine's limits on threads as far as the plan needs, and put them back afterwards.
        progress: What is to be told meanwhile; nothing by default.

    Returns:
        The study, as `load_study` reads it.

    Raises:
        InvalidRequest: There is no such program.
        StudyError: `out` is not empty; it holds a study with another plan, of another machine or of other toolchains,
            or one that is being run.
        StudyNotStored: The disk is full, say; what had been stored is, and a resumed study goes on from there.
        RecordingError: What is to be resumed cannot be read.
    """
    progress = progress or Progress()
    store = Store(Path(out))
    plan = attrs.evolve(plan, programs_dirs=tuple(str(Path(folder).resolve()) for folder in plan.programs_dirs))
    found = drivers.load_programs([Path(folder) for folder in plan.programs_dirs])
    if resume:
        stored = store.plan()
        plan = attrs.evolve(plan, programs=plan.programs or stored.programs, seed=_or(plan.seed, stored.seed))
    plan = attrs.evolve(plan, programs=_chosen(plan, found), seed=_or(plan.seed, secrets.randbits(32)))
    if resume:
        store.check(plan)
    else:
        store.begin()
    for change in restore():
        progress.note(f"put back what a study that was killed had raised: {change}")
    with store.alone(), contextlib.ExitStack() as stack:
        if lift_limits:
            for change in stack.enter_context(_lifted(plan, found)):
                progress.note(f"raised until the study has ended: {change}")
        session = _Session(plan, store, progress)
        if resume:
            session.take_over(store.read())
        session.run({name: found[name] for name in plan.programs})
    return store.read()


def _or(given: int | None, otherwise: int | None) -> int | None:
    return otherwise if given is None else given


def _chosen(plan: Plan, found: Mapping[str, drivers.Program]) -> tuple[str, ...]:
    """The programs that are meant, in the order in which they are listed everywhere."""
    chosen = drivers.choose(found, plan.programs, plan.variants)
    able = tuple(name for name, program in chosen.items() if plan.workload in program.workloads)
    unable = [name for name in plan.programs if name in chosen and name not in able]
    if unable or not able:
        has = ", ".join(name for name, program in found.items() if plan.workload in program.workloads)
        raise StudyError(
            f"{', '.join(unable) or 'no program that is meant'} has no workload {plan.workload!r}; it is in: {has}"
        )
    return able


def _lifted(plan: Plan, found: Mapping[str, drivers.Program]) -> contextlib.AbstractContextManager[list[Change]]:
    """The limits raised as far as the plan's programs of threads need it."""
    mappings = [found[name].mappings for name in plan.programs if found[name].kind == "thread"]
    return lifted(
        lambda: limits_here(describe(), max(mappings, default=1), threads_of_others=threads_on_machine()),
        max(plan.tasks) if mappings else 0,
    )


class _Session:
    """One process's work on a study."""

    def __init__(self, plan: Plan, store: Store, progress: Progress) -> None:
        self._plan = plan
        self._store = store
        self._progress = progress
        self._eta = Eta(plan)
        self._runs: dict[Cell, Run] = {}
        self._entries: dict[str, Entry] = {}
        self._order: list[Cell] = []
        self._left: list[Cell] = []
        self._begun_s = 0.0
        self._runner = Runner(plan, self._tell)
        self._host = describe()
        self._started_at = datetime.datetime.now().astimezone().isoformat(timespec="seconds")

    def take_over(self, study: Study) -> None:
        """Keep what is stored; what was skipped then may be possible now."""
        self._runs = {run.cell: run for run in study.runs if run.status != "skipped"}
        self._entries = {entry.name: entry for entry in study.programs}
        if differs := kind_difference(study.host, self._host):
            raise StudyError(f"the study in {study.path} is of another machine: {differs}")
        self._started_at = study.started_at

    def run(self, programs: Mapping[str, drivers.Program]) -> None:
        order = self._order = cells(self._plan)
        left = self._left = [cell for cell in order if cell not in self._runs]
        progress = self._progress
        self._write()
        progress.begin(len(order), len(order) - len(left))
        try:
            threads = [name for name, program in programs.items() if program.kind == "thread"]
            needed = {cell.program for cell in left}
            needed |= {wanted.program for wanted in sought(self._plan, self._runs.values(), threads)}
            for name, program in programs.items():
                if name in needed:
                    progress.preparing(name)
                    self._entries[name] = self._runner.prepare(program, self._same_toolchain)
            self._write()
            while self._left:
                self._keep(self._make(self._left[0]))
            for wanted in sought(self._plan, self._runs.values(), threads):
                seek(self._plan, wanted, tuple(self._runs.values()), self._make, self._keep)
        finally:
            progress.end()

    def _make(self, cell: Cell) -> Run:
        self._begun_s = time.monotonic()
        return self._runner.run(cell, self._runs.values())

    def _keep(self, run: Run) -> None:
        self._store.add(run)
        self._runs[run.cell] = run
        took_s = time.monotonic() - self._begun_s
        self._eta.learn(run, took_s)
        self._left = [cell for cell in self._left if cell != run.cell]
        done = len(self._order) - len(self._left)
        self._progress.finished(run, took_s, done, len(self._order), self._eta.left_s(self._left))

    def _write(self) -> None:
        self._store.write(
            Study(
                path=self._store.path,
                plan=self._plan,
                host=self._host,
                programs=tuple(self._entries[name] for name in self._plan.programs if name in self._entries),
                started_at=self._started_at,
                version=__version__,
            )
        )

    def _tell(self, cell: Cell, sleep_s: float, attempt: int) -> None:
        self._progress.running(cell, sleep_s, attempt, self._eta.left_s(self._left))

    def _same_toolchain(self, entry: Entry) -> None:
        before = self._entries.get(entry.name)
        ran = any(run.program == entry.name for run in self._runs.values())
        if before is not None and ran and before.toolchain != entry.toolchain:
            raise StudyError(
                f"the runs of {entry.name} in {self._store.path} were made with {before.toolchain}; "
                f"here is {entry.toolchain}: begin a new study"
            )
