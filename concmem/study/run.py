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
from concmem._headline import legible
from concmem._version import __version__
from concmem.errors import ConcmemError, SamplerError
from concmem.host import describe
from concmem.study.attempt import Attempt, Limits, attempt
from concmem.study.eta import Eta
from concmem.study.memory import available_bytes, estimate_bytes, margin_bytes
from concmem.study.plan import Cell, Plan, StudyError, cells
from concmem.study.progress import Progress
from concmem.study.reasons import oom_kills, too_late, why_failed
from concmem.study.records import Entry, Run, Study
from concmem.study.store import Store
from concmem.units import format_bytes, format_count

__all__ = ["bench"]

_WARM_UP = Limits(launch_s=120.0, finish_s=60.0)
_REASON_LENGTH = 600


def bench(plan: Plan, out: str | Path, *, resume: bool = False, progress: Progress | None = None) -> Study:
    """
    Run a study and store it, each run as soon as it has ended.

    A program without a toolchain, a build that fails and a run that would not fit into memory become rows with their
    reason. An exception, Ctrl-C among them, ends the run in flight and leaves all others stored.

    Args:
        plan: What to run. Where it names no programs, all of them; where it has no seed, one is drawn. A study that is
            resumed has its own of both.
        out: The directory, which must be empty or missing.
        resume: Go on with the study in `out`: make the runs that are missing, and try those again that were skipped.
        progress: What is to be told meanwhile; nothing by default.

    Returns:
        The study, as `load_study` reads it.

    Raises:
        StudyError: There is no such program; `out` is not empty; it holds a study with another plan, of another
            machine or of other toolchains.
        RecordingError: What is to be resumed cannot be read.
    """
    store = Store(Path(out))
    plan = attrs.evolve(plan, programs_dirs=tuple(str(Path(folder).resolve()) for folder in plan.programs_dirs))
    found = drivers.load_programs([Path(folder) for folder in plan.programs_dirs])
    if resume:
        stored = store.plan()
        plan = attrs.evolve(plan, programs=plan.programs or stored.programs, seed=_or(plan.seed, stored.seed))
    plan = attrs.evolve(plan, programs=_resolve(plan.programs, found), seed=_or(plan.seed, secrets.randbits(32)))
    if resume:
        store.check(plan)
    else:
        store.begin()
    session = _Session(plan, store, progress or Progress())
    if resume:
        session.take_over(store.read())
    session.run({name: found[name] for name in plan.programs})
    return store.read()


def _or(given: int | None, otherwise: int | None) -> int | None:
    return otherwise if given is None else given


def _resolve(names: tuple[str, ...], found: Mapping[str, drivers.Program]) -> tuple[str, ...]:
    """The programs that are meant, in the order in which they are listed everywhere."""
    unknown = [name for name in names if name not in found]
    if unknown:
        raise StudyError(f"there is no program {', '.join(map(repr, unknown))}; there are: {', '.join(found)}")
    return tuple(name for name in found if name in names or not names)


def _one_line(text: str) -> str:
    return legible(" ".join(text.split()))[:_REASON_LENGTH]


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return _one_line(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    return _one_line(str(error))


class _Session:
    """One process's work on a study."""

    def __init__(self, plan: Plan, store: Store, progress: Progress) -> None:
        self._plan = plan
        self._store = store
        self._progress = progress
        self._eta = Eta(plan)
        self._runs: dict[Cell, Run] = {}
        self._entries: dict[str, Entry] = {}
        self._prepared: dict[str, drivers.Prepared] = {}
        self._host = describe()
        self._started_at = datetime.datetime.now().astimezone().isoformat(timespec="seconds")

    def take_over(self, study: Study) -> None:
        """Keep what is stored; what was skipped then may be possible now."""
        self._runs = {run.cell: run for run in study.runs if run.status != "skipped"}
        self._entries = {entry.name: entry for entry in study.programs}
        for name in ("kernel", "machine", "cpu_model", "cpus_allowed"):
            there, here = getattr(study.host, name), getattr(self._host, name)
            if there != here:
                raise StudyError(
                    f"the study in {study.path} is of another machine: {name} is {there} there, {here} here"
                )
        self._started_at = study.started_at

    def run(self, programs: Mapping[str, drivers.Program]) -> None:
        order = cells(self._plan)
        left = [cell for cell in order if cell not in self._runs]
        progress = self._progress
        self._write()
        progress.begin(len(order), len(order) - len(left))
        try:
            needed = {cell.program for cell in left}
            for name, program in programs.items():
                if name in needed:
                    progress.preparing(name)
                    self._prepare(program)
            self._write()
            while left:
                cell = left[0]
                begun = time.monotonic()
                run = self._run(cell, left)
                self._store.add(run)
                self._runs[cell] = run
                took_s = time.monotonic() - begun
                self._eta.learn(run, took_s)
                del left[0]
                progress.finished(run, took_s, len(order) - len(left), len(order), self._eta.left_s(left))
        finally:
            progress.end()

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

    def _prepare(self, program: drivers.Program) -> None:
        """Build a program and run it once unrecorded, so that the page cache is as warm for its first run as later."""
        entry = Entry(
            name=program.name,
            title=program.title,
            language=program.language,
            kind=program.kind,
            variant=program.variant,
            begins_together=program.begins_together,
        )
        toolchain = drivers.detect(program)
        if isinstance(toolchain, drivers.Missing):
            missing = f"{toolchain.reason.rstrip('.')} ({toolchain.install})" if toolchain.install else toolchain.reason
            entry = attrs.evolve(entry, missing=_one_line(missing))
        else:
            entry = attrs.evolve(entry, toolchain=toolchain.label)
            self._same_toolchain(entry)
            try:
                prepared = drivers.prepare(program, toolchain)
            except drivers.BuildError as error:
                entry = attrs.evolve(entry, missing=_one_line(str(error)))
            else:
                self._prepared[program.name] = prepared
                self._warm_up(prepared)
        self._entries[program.name] = entry

    def _warm_up(self, prepared: drivers.Prepared) -> None:
        # What goes wrong here goes wrong in the run too, which keeps the reason.
        with contextlib.suppress(ConcmemError):
            attempt(prepared.command(1, 0.0), prepared.env, 1, _WARM_UP)

    def _same_toolchain(self, entry: Entry) -> None:
        before = self._entries.get(entry.name)
        ran = any(run.program == entry.name for run in self._runs.values())
        if before is not None and ran and before.toolchain != entry.toolchain:
            raise StudyError(
                f"the runs of {entry.name} in {self._store.path} were made with {before.toolchain}; "
                f"here is {entry.toolchain}: begin a new study"
            )

    def _run(self, cell: Cell, left: list[Cell]) -> Run:
        """One cell: checked, started, started again with a longer sleep where needed, judged."""
        run = Run(
            program=cell.program, tasks=cell.tasks, index=cell.index, status="skipped", sleep_s=self._plan.sleep_s
        )
        if cell.program not in self._prepared:
            return attrs.evolve(run, reason=f"could not run: {self._entries[cell.program].missing}")
        prepared = self._prepared[cell.program]
        run = attrs.evolve(run, flags=prepared.flags(cell.tasks))
        if too_large := self._too_large(cell):
            return attrs.evolve(run, reason=too_large)
        longest_s = max(self._plan.longest_sleep_s, self._plan.sleep_s)
        sleep_s = self._plan.sleep_s
        attempts = 1
        while True:
            self._progress.running(cell, sleep_s, attempts, self._eta.left_s(left))
            run = attrs.evolve(run, sleep_s=sleep_s, attempts=attempts)
            outcome = self._attempt(run, prepared)
            if outcome is not None:
                return outcome
            sleep_s = min(2 * sleep_s, longest_s)
            attempts += 1

    def _attempt(self, run: Run, prepared: drivers.Prepared) -> Run | None:
        """The run, judged, or None where it is to be repeated with a longer sleep."""
        plan, together = self._plan, prepared.program.begins_together
        # A task begins after the root does, so that whoever has launched all of them before `sleep_s` has passed since
        # the root's start had all of them alive at that moment. Later, the first may have ended before the last began.
        limits = Limits(
            launch_s=plan.launch_limit_s if together else run.sleep_s,
            finish_s=run.sleep_s + plan.finish_limit_s,
            memory_bytes=max(1, available_bytes() - margin_bytes()),
        )
        kills = oom_kills()
        try:
            seen = attempt(prepared.command(run.tasks, run.sleep_s), prepared.env, run.tasks, limits)
        except SamplerError as error:  # nothing is learnt about the program: a resumed study tries it again
            return attrs.evolve(run, status="skipped", reason=f"could not be measured: {_said(error)}")
        except ConcmemError as error:
            return attrs.evolve(run, status="failed", reason=_said(error))
        reason, kind = "", prepared.program.kind
        if not together and _late(seen, run.sleep_s):
            if run.sleep_s < plan.longest_sleep_s:
                return None
            reason = too_late(seen, kind, run.sleep_s)
        reason = reason or why_failed(
            seen,
            run.tasks,
            kind,
            finish_s=limits.finish_s,
            launch_s=limits.launch_s,
            oom_killed=oom_kills() > kills,
        )
        return attrs.evolve(
            run,
            status="failed" if reason else "ok",
            reason=reason,
            launch_s=seen.launch_s,
            done_s=seen.done_s,
            last_lines=seen.lines,
            exit=seen.measurement.exit,
            measurement=seen.measurement,
        )

    def _too_large(self, cell: Cell) -> str:
        """Why a run should not be started on a machine with so much memory; "" where nothing speaks against it."""
        estimate = estimate_bytes(self._runs.values(), cell.program, cell.tasks)
        if estimate is None:
            return ""
        needed, basis = estimate
        free = available_bytes()
        if needed <= free - margin_bytes():
            return ""
        if failed := self._failed_before(cell):
            # The line through what did run says nothing about what cannot.
            return (
                f"not tried: it could not run with {format_count(failed.tasks)} tasks already: "
                f"{failed.reason.removeprefix('could not run: ')}"
            )
        return (
            f"{format_count(cell.tasks)} tasks would need about {format_bytes(needed)}, judged by {basis}; "
            f"{format_bytes(free)} are free, of which {format_bytes(margin_bytes())} stay so"
        )

    def _failed_before(self, cell: Cell) -> Run | None:
        """A failed run of the largest smaller size at which the program has none that went well."""
        runs = [run for run in self._runs.values() if run.program == cell.program and run.tasks < cell.tasks]
        good = {run.tasks for run in runs if run.status == "ok"}
        failed = [run for run in runs if run.status == "failed" and run.tasks not in good]
        return max(failed, key=lambda run: run.tasks, default=None)


def _late(seen: Attempt, sleep_s: float) -> bool:
    return seen.ended == "launch" or (seen.launch_s is not None and seen.launch_s > sleep_s)
