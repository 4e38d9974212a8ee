"""
Make one run of a study on this machine: check that it fits, start it, judge it.

A plan and a `Runner` are enough to make any run of the plan; no store is needed.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterable, Sequence

import attrs

from concmem._escaping import escape_text
from concmem.drivers import programs as drivers
from concmem.drivers.outside_programs import Watch, unwatched
from concmem.errors import ConcmemError, SamplerError
from concmem.host import threads_on_machine
from concmem.study.limits.kinds import MEMORY, Limit, limits_here, obstacles
from concmem.study.plan import Cell, Plan
from concmem.study.results.quantities import left_over, plateau
from concmem.study.running.attempt import Attempt, Limits, run_once
from concmem.study.running.memory_check import thread_memory_limit, too_large, tree_limit_bytes
from concmem.study.running.reasons import Reason, not_seen, too_late, too_soon, why_failed
from concmem.study.store.records import Entry, Run
from concmem.study.workloads import workload
from concmem.units import format_count

__all__ = ["OnStart", "Runner"]

_WARM_UP = Limits(launch_s=120.0, finish_s=60.0)
_REASON_LENGTH = 600
_SHORTEST_RATE_S = 0.01

OnStart = Callable[[Cell, float, int], None]
"""Called for each start with the run, the sleep of its tasks, and the number of the attempt."""


def _one_line(text: str) -> str:
    return escape_text(" ".join(text.split()))[:_REASON_LENGTH]


def _error_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return _one_line(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    return _one_line(str(error))


class Runner:
    """
    The programs that are ready on this machine; makes their runs.

    Args:
        plan: The study's plan.
        on_start: See `OnStart`.
        poll: Called several times a second while a program runs; an exception that it raises ends the program.
        watch: Called with the output of a compiler while it runs.
    """

    def __init__(
        self,
        plan: Plan,
        on_start: OnStart = lambda cell, sleep_s, attempt: None,
        poll: Callable[[], None] = lambda: None,
        watch: Watch = unwatched,
    ) -> None:
        self._plan = plan
        self._on_start = on_start
        self._poll = poll
        self._watch = watch
        self._workload = workload(plan.workload)
        self._missing: dict[str, str] = {}
        self._prepared: dict[str, drivers.Prepared] = {}
        self._cold: set[str] = set()

    def prepare(self, program: drivers.Program, check: Callable[[Entry], None] = lambda entry: None) -> Entry:
        """
        Build a program.

        Args:
            program: The program.
            check: Called with the entry before anything is built; it may raise an exception.

        Returns:
            The program's entry; `Entry.missing` says if its toolchain is missing or its build failed.
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
            missing = f"{toolchain.reason} ({toolchain.install})" if toolchain.install else toolchain.reason
            entry = attrs.evolve(entry, missing=_one_line(missing))
        else:
            entry = attrs.evolve(entry, toolchain=toolchain.label, toolchain_name=toolchain.name)
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
        """Run a program once unrecorded, so that the page cache is as warm for its first run as for later ones."""
        if prepared.program.name not in self._cold:
            return
        self._cold.remove(prepared.program.name)
        # An error here occurs in the run too, which stores the reason.
        with contextlib.suppress(ConcmemError):
            run_once(prepared.command(1, 0.0), prepared.env, 1, _WARM_UP, self._workload, self._poll)

    def run(self, cell: Cell, earlier_runs: Iterable[Run]) -> Run:
        """
        Make one run: check that it fits, start it, start it again with a longer sleep if needed, judge it.

        Args:
            cell: The run; its program has been prepared.
            earlier_runs: Runs of the same study on machines like this one, from which its memory is estimated.
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
            return _with(Reason("no_program", f"could not run: {self._missing[cell.program]}"), run)
        prepared = self._prepared[cell.program]
        run = attrs.evolve(run, flags=prepared.flags(cell.tasks))
        earlier = tuple(earlier_runs)
        limits = limits_here([prepared.program], of_others=threads_on_machine())
        memory = thread_memory_limit(prepared.program, earlier)
        run = attrs.evolve(run, obstacles=tuple(obstacles([*limits, *memory], cell.tasks)))
        if reason := too_large(cell, earlier):
            return _with(reason, run)
        # If another limit is narrower, the program fails by itself, and its output shows how far it came.
        if run.obstacles and run.obstacles[0].name == MEMORY:
            return _with(Reason("no_memory", f"{format_count(cell.tasks)} threads: {run.obstacles[0]}"), run)
        self._warm_up(prepared)
        longest_s = max(self._plan.longest_sleep_s, self._plan.sleep_s)
        # All runs of a cell sleep equally long, once a run has shown how long that must be.
        sleeps = [other.sleep_s for other in earlier if other.status == "ok" and _same(other, cell)]
        sleep_s = max(sleeps, default=self._plan.sleep_s)
        attempts = 1
        while True:
            self._on_start(cell, sleep_s, attempts)
            run = attrs.evolve(run, sleep_s=sleep_s, attempts=attempts)
            outcome = self._attempt(run, prepared, limits)
            if outcome is not None:
                return outcome
            sleep_s = min(2 * sleep_s, longest_s)
            attempts += 1

    def _attempt(self, run: Run, prepared: drivers.Prepared, of_machine: Sequence[Limit]) -> Run | None:
        """Make one attempt; return the judged run, or None if it must be repeated with a longer sleep."""
        plan, kind = self._plan, prepared.program.kind
        # Tasks begin after the root. So if all were launched within `sleep_s` from the root's start, none had ended by
        # then: all were alive at that moment. Later, the first may have ended before the last began.
        races = plan.workload == "sleep" and not prepared.program.begins_together
        limits = Limits(
            launch_s=run.sleep_s if races else plan.launch_limit_s,
            finish_s=run.sleep_s + plan.finish_limit_s,
            memory_bytes=tree_limit_bytes(run.tasks, kind),
        )
        command = prepared.command(run.tasks, run.sleep_s)
        try:
            result = run_once(command, prepared.env, run.tasks, limits, self._workload, self._poll)
        except SamplerError as error:  # this says nothing about the program, so a resumed study tries it again
            return _with(Reason("not_measured", f"could not be measured: {_error_line(error)}"), run)
        except ConcmemError as error:
            return attrs.evolve(_with(Reason("not_started", _error_line(error)), run), status="failed")
        reason: Reason | None = None
        if races and _late(result, run.sleep_s):
            if run.sleep_s < plan.longest_sleep_s:
                return None
            reason = too_late(result, kind, run.sleep_s)
        reason = (
            reason
            or why_failed(result, run.tasks, kind, self._workload, limits, of_machine=of_machine)
            or too_soon(result, self._workload, run.sleep_s)
            or (not_seen(result, run.tasks, kind, run.sleep_s) if plan.workload == "sleep" else None)
        )
        return self._judged(run, result, reason, kind)

    def _judged(self, run: Run, result: Attempt, reason: Reason | None, kind: str) -> Run:
        work, measurement = self._workload, result.measurement
        run = attrs.evolve(
            run,
            status="failed" if reason else "ok",
            launch_s=result.message_s(work.launched),
            done_s=result.message_s("done"),
            alive=measurement.max_threads if kind == "thread" else None,
            peak_at_s=measurement.timeline.peak_t_s,
            last_lines=result.lines,
            exit=measurement.exit,
            other_work=result.other_work,
            measurement=measurement,
        )
        if reason:
            return _with(reason, run)
        # The times of its lines count from just before its start, those of its timeline from its start.
        ahead_s = measurement.start_monotonic_s - result.begun_s
        begins_s, ends_s = (at_s - ahead_s for at_s in self._steady_s(run, result))
        run = attrs.evolve(run, plateau=plateau(measurement, begins_s, ends_s))
        if work.rate is not None:
            first, last = (result.messages[word] for word in work.rate)
            if last.at_s - first.at_s >= _SHORTEST_RATE_S:
                run = attrs.evolve(run, rate_per_s=last.count / (last.at_s - first.at_s))
        if work.name == "spawn" and run.plateau is not None:
            before_s = result.messages["ready"].at_s - ahead_s
            run = attrs.evolve(run, left_over=left_over(run.plateau, measurement.timeline, before_s))
        return run

    def _steady_s(self, run: Run, result: Attempt) -> tuple[float, float]:
        """Return the begin and end of the steady time, from just before the program's start."""
        begins_s, ends_s = result.messages[self._workload.begins].at_s, result.messages[self._workload.ends].at_s
        if self._workload.name == "sleep":
            # It ends when the first task may wake up: later if no task begins before all are created.
            together = self._prepared[run.program].program.begins_together
            ends_s = min(ends_s, run.sleep_s + (begins_s if together else 0.0))
        return begins_s, ends_s


def _with(reason: Reason, run: Run) -> Run:
    return attrs.evolve(run, reason=reason.sentence, reason_code=reason.code, reason_limit=reason.limit)


def _same(run: Run, cell: Cell) -> bool:
    return (run.program, run.tasks) == (cell.program, cell.tasks)


def _late(result: Attempt, sleep_s: float) -> bool:
    started_s = result.message_s("started")
    return result.ended == "launch" or (started_s is not None and started_s > sleep_s)
