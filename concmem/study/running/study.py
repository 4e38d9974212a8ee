"""Run a study: have the programs prepared and every cell of the plan run in its order, store each run as it ends."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import attrs

from concmem._version import __version__
from concmem.drivers import programs as drivers
from concmem.host import Host, check_proc
from concmem.study.complete_plan import complete_plan
from concmem.study.limits.announce import here_with_room
from concmem.study.limits.lift import PUT_BACK, check_allowed, restore
from concmem.study.plan import Cell, Plan, StudyError, cells
from concmem.study.running.backend import ClusterExtraMissing, Made, Order, Place
from concmem.study.running.eta import Eta
from concmem.study.running.find_largest import Sought, seek, sought, unmade
from concmem.study.running.progress import Progress
from concmem.study.store.directory import Store
from concmem.study.store.records import Entry, Run, Study
from concmem.timeline import Timeline
from concmem.units import format_count

__all__ = ["bench"]


def bench(
    plan: Plan,
    out: str | Path,
    *,
    resume: bool = False,
    lift_limits: bool = False,
    progress: Progress | None = None,
    scheduler: str | None = None,
    wait_s: float | None = None,
) -> Study:
    """
    Run a study and store it, each run as soon as it has ended.

    A program without a toolchain, a build that fails and a run that would not fit into memory become rows with their
    reason. An exception, Ctrl-C among them, ends the runs in flight and leaves all others stored. Another study that
    measures on this machine is waited for; programs are built before.

    Args:
        plan: What to run. Where it names no programs, all of them; where it has no seed, one is drawn. A study that is
            resumed has its own of both.
        out: The directory, which must be empty or missing.
        resume: Go on with the study in `out`: make the runs that are missing, and try those again that were skipped.
        lift_limits: Raise this machine's limits on threads as far as the plan needs, and put them back afterwards.
        progress: What is to be told meanwhile; nothing by default.
        scheduler: The address of a Dask scheduler on whose workers the runs are made, instead of on this machine.
        wait_s: How long to wait for another study to give this machine back, in seconds; None for as long as it takes,
            0 for not at all.

    Returns:
        The study, as `load_study` reads it.

    Raises:
        InvalidRequest: There is no such program.
        StudyError: `out` is not empty; it holds a study with another plan, of another machine or of other toolchains,
            or one that is being run; `scheduler` is no address; limits cannot be lifted; `wait_s` is below 0, or given
            with `scheduler`, whose workers wait for their own machines.
        MachineBusy: Another study measures on this machine, and has not ended after `wait_s`.
        UnsupportedPlatform: Without `scheduler`: /proc is not that of this process.
        StudyNotStored: The disk is full, say; what had been stored is, and a resumed study goes on from there.
        RecordingError: What is to be resumed cannot be read.
        ClusterExtraMissing: With `scheduler`: Dask is not installed.
        ClusterError: The scheduler cannot be reached or is gone, or no worker can be used.
    """
    progress = progress or Progress()
    if lift_limits:
        if scheduler is not None:
            raise StudyError("only this machine's limits can be lifted: on the machines of a scheduler, do it there")
        check_allowed()
    if wait_s is not None and scheduler is not None:
        raise StudyError("a limit on waiting is for this machine: the workers of a scheduler wait for their own")
    if wait_s is not None and not wait_s >= 0:
        raise StudyError(f"wait_s must be a number of seconds from 0 up, not {wait_s}")
    if scheduler is None:
        check_proc()
    on_cluster = None if scheduler is None else _on(scheduler)
    store = Store(Path(out))
    plan, programs = complete_plan(plan, store, resume=resume)
    for change in restore():
        progress.note(f"{PUT_BACK}: {change}")
    with contextlib.nullcontext() if resume else store.begun(), store.alone():
        place = on_cluster or here_with_room(programs.values(), lift=lift_limits)
        session = _Session(plan, store, progress, place, wait_s)
        if resume:
            session.take_over(store.read())
        session.run(programs)
    return store.read()


def _on(scheduler: str) -> Callable[[Order], AbstractContextManager[Place]]:
    try:
        from concmem.study.cluster.dask import on_cluster
    except ImportError as error:
        raise ClusterExtraMissing(
            f"a scheduler needs the cluster extra, and {error.name} is missing: pip install 'concmem[cluster]'"
        ) from error
    return on_cluster(scheduler)


class _Session:
    """One process's work on a study."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        progress: Progress,
        place: Callable[[Order], AbstractContextManager[Place]],
        wait_s: float | None,
    ) -> None:
        self._plan = plan
        self._store = store
        self._progress = progress
        self._place = place
        self._wait_s = wait_s
        self._eta = Eta(plan)
        self._runs: dict[Cell, Run] = {}
        self._entries: dict[str, Entry] = {}
        self._order: list[Cell] = []
        self._left: list[Cell] = []
        self._like: Host | None = None
        self._hosts: dict[str, Host] = {}
        self._at_once = 1
        self._started_at = datetime.datetime.now().astimezone().isoformat(timespec="seconds")

    def take_over(self, study: Study) -> None:
        """Keep what is stored; what was skipped then may be possible now."""
        self._runs = {run.cell: run for run in study.runs if run.status != "skipped"}
        self._entries = {entry.name: entry for entry in study.programs}
        self._like = study.host
        self._hosts = dict(study.hosts)
        self._started_at = study.started_at

    def run(self, programs: Mapping[str, drivers.Program]) -> None:
        self._order = cells(self._plan)
        self._left = [cell for cell in self._order if cell not in self._runs]
        progress = self._progress
        progress.begin(len(self._order), len(self._order) - len(self._left))
        try:
            if self._left or self._sought():
                with self._place(self._order_of_place()) as place:
                    self._prepare(place, programs)
                    with place.alone():
                        for made in place.make(tuple(self._left), self._runs.values()):
                            self._keep(place, made)
                        for wanted in self._sought():
                            self._seek(place, wanted)
        finally:
            progress.end()

    def _order_of_place(self) -> Order:
        folder = str(self._store.path.resolve())
        progress = self._progress
        return Order(self._plan, self._like, self._tell, progress.note, folder, self._wait_s, progress.step)

    def _prepare(self, place: Place, programs: Mapping[str, drivers.Program]) -> None:
        self._write(place)
        needed = {cell.program for cell in self._left} | {wanted.program for wanted in self._sought()}
        for name, program in programs.items():
            if name in needed:
                self._progress.preparing(name)
                self._entries[name] = place.prepare(program, self._same_toolchain)
        self._write(place)

    def _keep(self, place: Place, made: Made) -> None:
        run = made.run
        if run.machine not in self._hosts:
            self._write(place)
        self._store.add(run)
        self._runs[run.cell] = _without_timeline(run)
        self._eta.learn(run, made.took_s)
        self._left = [cell for cell in self._left if cell != run.cell]
        self._at_once = place.at_once
        done = len(self._order) - len(self._left)
        self._progress.finished(run, made.took_s, done, len(self._order), self._left_s())

    def _sought(self) -> list[Sought]:
        return sought(self._plan, self._runs.values())

    def _seek(self, place: Place, wanted: Sought) -> None:
        self._progress.note(
            f"{wanted.program}: {format_count(wanted.instead_of)} tasks cannot run; looking for the largest "
            f"number that can, below {format_count(wanted.below)}"
        )

        def make(cell: Cell) -> Made:
            if cell.index == 0:
                self._progress.note(f"{wanted.program}: trying {format_count(cell.tasks)}")
            (made,) = place.make((cell,), self._runs.values())
            return made

        seek(self._plan, wanted, tuple(self._runs.values()), make, lambda made: self._keep(place, made))

    def _write(self, place: Place) -> None:
        self._hosts.update(place.hosts)
        self._store.write(
            Study(
                path=self._store.path,
                plan=self._plan,
                host=self._like or place.host,
                hosts=self._hosts,
                programs=tuple(self._entries[name] for name in self._plan.programs if name in self._entries),
                started_at=self._started_at,
                version=__version__,
            )
        )

    def _tell(self, cell: Cell, sleep_s: float, attempt: int) -> None:
        longer_s = self._eta.run_s(cell, sleep_s) - self._eta.run_s(cell)
        self._progress.running(cell, sleep_s, attempt, self._left_s() + longer_s)

    def _left_s(self) -> float:
        runs = tuple(self._runs.values())
        largest = [cell for wanted in self._sought() for cell in unmade(self._plan, wanted, runs)]
        return self._eta.left_s([*self._left, *largest]) / self._at_once

    def _same_toolchain(self, entry: Entry) -> None:
        before = self._entries.get(entry.name)
        ran = any(run.program == entry.name for run in self._runs.values())
        if before is not None and ran and before.toolchain != entry.toolchain:
            raise StudyError(
                f"the runs of {entry.name} in {self._store.path} were made with {before.toolchain}; "
                f"here is {entry.toolchain}: begin a new study"
            )


def _without_timeline(run: Run) -> Run:
    """A run that need no longer be stored: a study has hundreds, and timelines are of megabytes."""
    if run.measurement is None:
        return run
    return attrs.evolve(run, measurement=attrs.evolve(run.measurement, timeline=Timeline()))
