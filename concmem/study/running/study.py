"""Run a study: prepare its programs, run the cells of its plan in their order, store each run as it ends."""

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
from concmem.study.complete_plan import add_programs_and_seed
from concmem.study.limits.announce import local_backend_with_limits
from concmem.study.limits.lift import PUT_BACK, check_allowed, restore
from concmem.study.plan import Cell, Plan, StudyError, cells
from concmem.study.running.backend import Backend, ClusterExtraMissing, FinishedRun, StudyContext
from concmem.study.running.find_largest import Search, find_searches, missing_cells, run_search
from concmem.study.running.progress import Eta, Progress
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
    Run a study and store each run as soon as it has ended.

    A program without a toolchain, a build that fails and a run that would not fit into memory become rows with their
    reason. An exception, Ctrl-C included, ends the current runs; all finished runs stay stored. If another study
    measures on this machine, programs are built first, and then this study waits for the other one to end.

    Args:
        plan: The plan. Without names of programs, all programs of its variants are run; without a seed, one is drawn.
            A resumed study takes both from the stored plan.
        out: The directory, which must be empty or missing.
        resume: Continue the study in `out`: make the missing runs, and try skipped ones again.
        lift_limits: Raise this machine's limits on threads as far as the plan needs, and restore them afterwards.
        progress: Called while the study runs; by default nothing is printed.
        scheduler: The address of a Dask scheduler. Its workers make the runs, instead of this machine.
        wait_s: How long to wait for another study on this machine, in seconds: None without limit, 0 not at all.

    Returns:
        The study, as `load_study` reads it.

    Raises:
        InvalidRequest: There is no such program.
        StudyError: `out` is not empty; its study has another plan, another kind of machine or other toolchains, or is
            being run; `scheduler` is not an address; limits cannot be raised; `wait_s` is below 0 or given together
            with `scheduler`.
        MachineBusy: Another study measures on this machine and has not ended after `wait_s`.
        UnsupportedPlatform: Without `scheduler`: /proc is not that of this process.
        StudyNotStored: A file could not be written, for example because the disk is full. The runs stored before are
            whole, and the study can be resumed.
        RecordingError: The study to resume cannot be read.
        ClusterExtraMissing: With `scheduler`: Dask is not installed.
        ClusterError: The scheduler cannot be reached or is gone, or it has no usable worker.
    """
    progress = progress or Progress()
    if lift_limits:
        if scheduler is not None:
            raise StudyError("with a scheduler, limits must be raised on the machines of its workers")
        check_allowed()
    if wait_s is not None and scheduler is not None:
        raise StudyError("wait_s cannot be used with a scheduler: each worker waits until its own machine is free")
    if wait_s is not None and not wait_s >= 0:
        raise StudyError(f"wait_s must be at least 0 seconds, not {wait_s}")
    if scheduler is None:
        check_proc()
    on_cluster = None if scheduler is None else _on(scheduler)
    store = Store(Path(out))
    plan, programs = add_programs_and_seed(plan, store, resume=resume)
    for change in restore():
        progress.note(f"{PUT_BACK}: {change}")
    with contextlib.nullcontext() if resume else store.created(), store.lock():
        backend = on_cluster or local_backend_with_limits(programs.values(), lift=lift_limits)
        session = _Session(plan, store, progress, backend, wait_s)
        if resume:
            session.resume(store.read())
        session.run(programs)
    return store.read()


def _on(scheduler: str) -> Callable[[StudyContext], AbstractContextManager[Backend]]:
    try:
        from concmem.study.cluster.dask import on_cluster
    except ImportError as error:
        raise ClusterExtraMissing(
            f"a scheduler requires the cluster extra ({error.name} is missing): pip install 'concmem[cluster]'"
        ) from error
    return on_cluster(scheduler)


class _Session:
    """The work of this process on a study."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        progress: Progress,
        backend: Callable[[StudyContext], AbstractContextManager[Backend]],
        wait_s: float | None,
    ) -> None:
        self._plan = plan
        self._store = store
        self._progress = progress
        self._backend = backend
        self._wait_s = wait_s
        self._eta = Eta(plan)
        self._runs: dict[Cell, Run] = {}
        self._entries: dict[str, Entry] = {}
        self._order: list[Cell] = []
        self._left: list[Cell] = []
        self._stored_host: Host | None = None
        self._hosts: dict[str, Host] = {}
        self._at_once = 1
        self._started_at = datetime.datetime.now().astimezone().isoformat(timespec="seconds")

    def resume(self, study: Study) -> None:
        """Keep the stored runs except skipped ones, which may be possible now."""
        self._runs = {run.cell: run for run in study.runs if run.status != "skipped"}
        self._entries = {entry.name: entry for entry in study.programs}
        self._stored_host = study.host
        self._hosts = dict(study.hosts)
        self._started_at = study.started_at

    def run(self, programs: Mapping[str, drivers.Program]) -> None:
        self._order = cells(self._plan)
        self._left = [cell for cell in self._order if cell not in self._runs]
        progress = self._progress
        progress.begin(len(self._order), len(self._order) - len(self._left))
        try:
            if self._left or self._searches():
                with self._backend(self._context()) as backend:
                    self._prepare(backend, programs)
                    with backend.lock_machine():
                        for finished in backend.run_cells(tuple(self._left), self._runs.values()):
                            self._keep(backend, finished)
                        for search in self._searches():
                            self._run_search(backend, search)
        finally:
            progress.end()

    def _context(self) -> StudyContext:
        folder = str(self._store.path.resolve())
        progress = self._progress
        return StudyContext(
            self._plan, self._stored_host, self._on_start, progress.note, folder, self._wait_s, progress.step
        )

    def _prepare(self, backend: Backend, programs: Mapping[str, drivers.Program]) -> None:
        self._write(backend)
        needed = {cell.program for cell in self._left} | {search.program for search in self._searches()}
        for name, program in programs.items():
            if name in needed:
                self._progress.preparing(name)
                self._entries[name] = backend.prepare(program, self._same_toolchain)
        self._write(backend)

    def _keep(self, backend: Backend, finished: FinishedRun) -> None:
        run = finished.run
        if run.machine not in self._hosts:
            self._write(backend)
        self._store.add(run)
        self._runs[run.cell] = _without_timeline(run)
        self._eta.learn(run, finished.took_s)
        self._left = [cell for cell in self._left if cell != run.cell]
        self._at_once = backend.at_once
        done = len(self._order) - len(self._left)
        self._progress.finished(run, finished.took_s, done, len(self._order), self._left_s())

    def _searches(self) -> list[Search]:
        return find_searches(self._plan, self._runs.values())

    def _run_search(self, backend: Backend, search: Search) -> None:
        self._progress.note(
            f"{search.program}: {format_count(search.instead_of)} tasks cannot run; searching for the largest "
            f"number that can, below {format_count(search.below)}"
        )

        def make(cell: Cell) -> FinishedRun:
            if cell.index == 0:
                self._progress.note(f"{search.program}: trying {format_count(cell.tasks)} tasks")
            (finished,) = backend.run_cells((cell,), self._runs.values())
            return finished

        run_search(self._plan, search, tuple(self._runs.values()), make, lambda finished: self._keep(backend, finished))

    def _write(self, backend: Backend) -> None:
        self._hosts.update(backend.hosts)
        self._store.write(
            Study(
                path=self._store.path,
                plan=self._plan,
                host=self._stored_host or backend.host,
                hosts=self._hosts,
                programs=tuple(self._entries[name] for name in self._plan.programs if name in self._entries),
                started_at=self._started_at,
                version=__version__,
            )
        )

    def _on_start(self, cell: Cell, sleep_s: float, attempt: int) -> None:
        longer_s = self._eta.run_s(cell, sleep_s) - self._eta.run_s(cell)
        self._progress.running(cell, sleep_s, attempt, self._left_s() + longer_s)

    def _left_s(self) -> float:
        runs = tuple(self._runs.values())
        largest = [cell for search in self._searches() for cell in missing_cells(self._plan, search, runs)]
        return self._eta.left_s([*self._left, *largest]) / self._at_once

    def _same_toolchain(self, entry: Entry) -> None:
        before = self._entries.get(entry.name)
        ran = any(run.program == entry.name for run in self._runs.values())
        if before is not None and ran and before.toolchain != entry.toolchain:
            raise StudyError(
                f"the runs of {entry.name} in {self._store.path} were made with {before.toolchain}, "
                f"but this machine has {entry.toolchain}: start a new study"
            )


def _without_timeline(run: Run) -> Run:
    """Return a stored run without its timeline, which can take megabytes; a study has hundreds of runs."""
    if run.measurement is None:
        return run
    return attrs.evolve(run, measurement=attrs.evolve(run.measurement, timeline=Timeline()))
