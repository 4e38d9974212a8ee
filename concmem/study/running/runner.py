"""
One run of a study on this machine: checked before it starts, started, judged.

Whoever has a plan and a `Runner` can make any of its runs; nothing here knows of a store.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from concmem._escaping import escape_text
from concmem.drivers import programs as drivers
from concmem.drivers.long_command import Watch, unwatched
from concmem.errors import ConcmemError, SamplerError
from concmem.host import threads_on_machine
from concmem.study.limits.kinds import KERNEL_BYTES_EACH, MEMORY, Limit, limits_here, memory_limit, obstacles
from concmem.study.limits.memory import available_bytes, each_bytes, estimate_bytes, margin_bytes
from concmem.study.plan import Cell, Plan
from concmem.study.results.quantities import left_over, plateau
from concmem.study.running.attempt import Attempt, Limits, attempt
from concmem.study.running.reasons import not_seen, too_late, too_soon, why_failed
from concmem.study.store.records import Entry, Run
from concmem.study.workloads import workload
from concmem.units import format_bytes, format_count

__all__ = ["Runner", "Tell"]

_WARM_UP = Limits(launch_s=120.0, finish_s=60.0)
_REASON_LENGTH = 600
_SHORTEST_RATE_S = 0.01

Tell = Callable[[Cell, float, int], None]
"""Told of each start: which run, how long its tasks sleep, which attempt."""


def _one_line(text: str) -> str:
    return escape_text(" ".join(text.split()))[:_REASON_LENGTH]


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return _one_line(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    return _one_line(str(error))


class Runner:
    """
    Programs that are ready on this machine, and the way to make one run of one of them.

    Args:
        plan: The study's.
        tell: See `Tell`.
        look: Called several times a second while a program runs; what it raises ends the program and travels on.
        watch: Is given what a compiler says while it works.
    """

    def __init__(
        self,
        plan: Plan,
        tell: Tell = lambda cell, sleep_s, attempt: None,
        look: Callable[[], None] = lambda: None,
        watch: Watch = unwatched,
    ) -> None:
        self._plan = plan
        self._tell = tell
        self._look = look
        self._watch = watch
        self._workload = workload(plan.workload)
        self._missing: dict[str, str] = {}
        self._prepared: dict[str, drivers.Prepared] = {}
        self._cold: set[str] = set()

    def prepare(self, program: drivers.Program, check: Callable[[Entry], None] = lambda entry: None) -> Entry:
        """
        Build a program.

        Args:
            program: Which.
            check: Called with what was found before anything is built; what it raises travels on.

        Returns:
            What was found: a missing toolchain and a build that fails are `Entry.missing`.
        """
        entry = Entry(
            name=program.name,
            title=program.title,
            language=program.language,
            kind=program.kind,
            variant=program.variant,
            begins_together=program.begins_together,
            remarks=program.remarks,
        )
        toolchain = drivers.detect(program)
        if isinstance(toolchain, drivers.Missing):
            missing = f"{toolchain.reason.rstrip('.')} ({toolchain.install})" if toolchain.install else toolchain.reason
            entry = attrs.evolve(entry, missing=_one_line(missing))
        else:
            entry = attrs.evolve(entry, toolchain=toolchain.label)
            check(entry)
            try:
                prepared = drivers.prepare(program, toolchain, self._plan.workload, self._watch)
            except drivers.BuildError as error:
                entry = attrs.evolve(entry, missing=_one_line(str(error)))
            else:
                self._prepared[program.name] = prepared
                self._cold.add(program.name)
        self._missing[program.name] = entry.missing
        return entry

    def _warm_up(self, prepared: drivers.Prepared) -> None:
        """Run it once unrecorded, so that the page cache is as warm for its first run as later."""
        if prepared.program.name not in self._cold:
            return
        self._cold.remove(prepared.program.name)
        # What goes wrong here goes wrong in the run too, which keeps the reason.
        with contextlib.suppress(ConcmemError):
            attempt(prepared.command(1, 0.0), prepared.env, 1, _WARM_UP, self._workload, self._look)

    def run(self, cell: Cell, before: Iterable[Run]) -> Run:
        """
        One cell: checked, started, started again with a longer sleep where needed, judged.

        Args:
            cell: Which; its program has been prepared.
            before: Runs of the same study on machines like this one, which tell how much memory this one will need.
        """
        run = Run(
            program=cell.program,
            tasks=cell.tasks,
            index=cell.index,
            status="skipped",
            sleep_s=self._plan.sleep_s,
            machine=platform.node(),
        )
        if cell.program not in self._prepared:
            return attrs.evolve(run, reason=f"could not run: {self._missing[cell.program]}")
        prepared = self._prepared[cell.program]
        run = attrs.evolve(run, flags=prepared.flags(cell.tasks))
        made = tuple(before)
        limits = limits_here([prepared.program], of_others=threads_on_machine())
        run = attrs.evolve(run, obstacles=tuple(obstacles([*limits, *_memory(prepared.program, made)], cell.tasks)))
        if too_large := _too_large(cell, made):
            return attrs.evolve(run, reason=too_large)
        # Where another limit stops it sooner, it stops by itself, and says where.
        if run.obstacles and run.obstacles[0].name == MEMORY:
            return attrs.evolve(run, reason=f"{format_count(cell.tasks)} threads: {run.obstacles[0]}")
        self._warm_up(prepared)
        longest_s = max(self._plan.longest_sleep_s, self._plan.sleep_s)
        # All runs of a cell sleep equally long, once it is known how long that must be.
        alike = [other.sleep_s for other in made if other.status == "ok" and _same(other, cell)]
        sleep_s = max(alike, default=self._plan.sleep_s)
        attempts = 1
        while True:
            self._tell(cell, sleep_s, attempts)
            run = attrs.evolve(run, sleep_s=sleep_s, attempts=attempts)
            outcome = self._attempt(run, prepared, limits)
            if outcome is not None:
                return outcome
            sleep_s = min(2 * sleep_s, longest_s)
            attempts += 1

    def _attempt(self, run: Run, prepared: drivers.Prepared, of_machine: Sequence[Limit]) -> Run | None:
        """The run, judged, or None where it is to be repeated with a longer sleep."""
        plan, kind = self._plan, prepared.program.kind
        # A task begins after the root does, so that whoever has launched all of them before `sleep_s` has passed since
        # the root's start had all of them alive at that moment. Later, the first may have ended before the last began.
        races = plan.workload == "sleep" and not prepared.program.begins_together
        limits = Limits(
            launch_s=run.sleep_s if races else plan.launch_limit_s,
            finish_s=run.sleep_s + plan.finish_limit_s,
            memory_bytes=self._memory_limit_bytes(run, kind),
        )
        command = prepared.command(run.tasks, run.sleep_s)
        try:
            seen = attempt(command, prepared.env, run.tasks, limits, self._workload, self._look)
        except SamplerError as error:  # nothing is learnt about the program: a resumed study tries it again
            return attrs.evolve(run, status="skipped", reason=f"could not be measured: {_said(error)}")
        except ConcmemError as error:
            return attrs.evolve(run, status="failed", reason=_said(error))
        reason = ""
        if races and _late(seen, run.sleep_s):
            if run.sleep_s < plan.longest_sleep_s:
                return None
            reason = too_late(seen, kind, run.sleep_s)
        reason = (
            reason
            or why_failed(seen, run.tasks, kind, self._workload, limits, of_machine=of_machine)
            or too_soon(seen, self._workload, run.sleep_s)
            or (not_seen(seen, run.tasks, kind, run.sleep_s) if plan.workload == "sleep" else "")
        )
        return self._judged(run, seen, reason, kind)

    def _memory_limit_bytes(self, run: Run, kind: str) -> int:
        """What the tree may have resident; threads must leave room for what the kernel keeps for them."""
        kernel_bytes = run.tasks * KERNEL_BYTES_EACH if kind == "thread" else 0
        return max(1, available_bytes() - margin_bytes() - min(kernel_bytes, available_bytes() // 2))

    def _judged(self, run: Run, seen: Attempt, reason: str, kind: str) -> Run:
        work, measurement = self._workload, seen.measurement
        run = attrs.evolve(
            run,
            status="failed" if reason else "ok",
            reason=reason,
            launch_s=seen.said_s(work.launched),
            done_s=seen.said_s("done"),
            alive=measurement.max_threads if kind == "thread" else None,
            peak_at_s=measurement.timeline.peak_t_s,
            last_lines=seen.lines,
            exit=measurement.exit,
            other_work=seen.other_work,
            measurement=measurement,
        )
        if reason:
            return run
        # What it said is timed from just before its start, its timeline from its start.
        ahead_s = measurement.start_monotonic_s - seen.begun_s
        begins_s, ends_s = (at_s - ahead_s for at_s in self._steady_s(run, seen))
        run = attrs.evolve(run, plateau=plateau(measurement, begins_s, ends_s))
        if work.rate is not None:
            from_, to = (seen.said[word] for word in work.rate)
            if to.at_s - from_.at_s >= _SHORTEST_RATE_S:
                run = attrs.evolve(run, rate_per_s=to.count / (to.at_s - from_.at_s))
        if work.name == "spawn" and run.plateau is not None:
            before_s = seen.said["ready"].at_s - ahead_s
            run = attrs.evolve(run, left_over=left_over(run.plateau, measurement.timeline, before_s))
        return run

    def _steady_s(self, run: Run, seen: Attempt) -> tuple[float, float]:
        """From when to when nothing should have happened, from just before the program's start."""
        begins_s, ends_s = seen.said[self._workload.begins].at_s, seen.said[self._workload.ends].at_s
        if self._workload.name == "sleep":
            # Once the first task may be awake, not all sleep; where none begins before all are there, that is later.
            together = self._prepared[run.program].program.begins_together
            ends_s = min(ends_s, run.sleep_s + (begins_s if together else 0.0))
        return begins_s, ends_s


def _same(run: Run, cell: Cell) -> bool:
    return (run.program, run.tasks) == (cell.program, cell.tasks)


def _memory(program: drivers.Program, before: Sequence[Run]) -> Iterator[Limit]:
    """What is free, where the kernel takes memory for each task that the figures of its runs do not show."""
    if program.kind == "thread":
        yield memory_limit(each_bytes(before, program.name), max(0, available_bytes() - margin_bytes()))


def _too_large(cell: Cell, before: Sequence[Run]) -> str:
    """Why a run should not be started on a machine with so much memory; "" where nothing speaks against it."""
    estimate = estimate_bytes(before, cell.program, cell.tasks)
    if estimate is None:
        return ""
    needed, basis = estimate
    free = available_bytes()
    if needed <= free - margin_bytes():
        return ""
    if failed := _failed_before(cell, before):
        # The line through what did run says nothing about what cannot.
        return (
            f"not tried: it could not run with {format_count(failed.tasks)} tasks already: "
            f"{failed.reason.removeprefix('could not run: ')}"
        )
    return (
        f"{format_count(cell.tasks)} tasks would need about {format_bytes(needed)}, judged by {basis}; "
        f"{format_bytes(free)} are free, of which {format_bytes(margin_bytes())} stay so"
    )


def _failed_before(cell: Cell, before: Sequence[Run]) -> Run | None:
    """A failed run of the largest smaller size at which the program has none that went well."""
    runs = [run for run in before if run.program == cell.program and run.tasks < cell.tasks]
    good = {run.tasks for run in runs if run.status == "ok"}
    failed = [run for run in runs if run.status == "failed" and run.tasks not in good]
    return max(failed, key=lambda run: run.tasks, default=None)


def _late(seen: Attempt, sleep_s: float) -> bool:
    started_s = seen.said_s("started")
    return seen.ended == "launch" or (started_s is not None and started_s > sleep_s)
