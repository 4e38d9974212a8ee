"""Why a run has no figure: it was not a run of N tasks that were alive at once and ended well."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

import attrs

from concmem.model import Measurement
from concmem.study.limits.kinds import Limit, is_near
from concmem.study.running.attempt import Attempt, Limits
from concmem.study.workloads import Workload
from concmem.units import format_bytes, format_count, format_seconds, signal_name

__all__ = ["Reason", "ReasonCode", "limit_reached", "not_seen", "own_message", "too_late", "too_soon", "why_failed"]

ReasonCode = Literal[
    "no_program", "too_large", "smaller_failed", "no_memory", "not_measured", "lost", "not_started", "wrong_line",
    "missing_line", "launch_limit", "finish_limit", "memory_limit", "late", "early", "not_seen", "exit_code", "signal",
    "oom", "still_running",
]  # fmt: skip
"""
The kinds of reasons. Of skipped runs: there is no toolchain, or the build failed; its estimated memory is not free; a
smaller number of tasks failed; the memory of its threads is not free; the sampler failed; its workers were lost. Of
failed runs: it was not started; what the program did wrong, or which limit it exceeded; how it ended.
"""

# First the words of a cause, then the words of any failure.
_FAILURE_WORDS = (
    re.compile(r"could not|cannot|can't|unable|limit|denied|not found|out of|too many|os error|errno", re.I),
    re.compile(r"error|exception|panic|fatal|killed|\*\*", re.I),
)
_TRACE = re.compile(r"\s|at \S+\(|note: |goroutine \d|exit status|[-=#]{3}")
_THREAD_KINDS = frozenset({"thread"})
_QUOTED = 240
_ARRIVAL_S = 0.05
_SEEN_S = 0.2
"""Threads that sleep for a shorter time than this need not be seen."""


@attrs.frozen
class Reason:
    """
    Why a run has no figure.

    Attributes:
        code: Its kind.
        sentence: One sentence.
        limit: The limit that the sentence names, in a few words: ``kernel.pid_max is 32768``; "" if it names none.
    """

    code: ReasonCode
    sentence: str
    limit: str = ""


def own_message(attempt: Attempt) -> str:
    """
    Return the line in which the program itself says what went wrong, or "".

    This is the last line that is not indented and has a word of a cause, else one of a failure. Stack traces and hints
    are printed below it. Some runtimes write to standard output, so that is searched too, after standard error.
    """
    for lines in (attempt.errors, attempt.lines):
        plain = [line for line in lines if not _TRACE.match(line) and not re.fullmatch(r"(started|done) \d+", line)]
        if plain:
            matching = ([line for line in plain if pattern.search(line)] for pattern in _FAILURE_WORDS)
            return next(filter(None, matching), plain)[-1].rstrip(".")[:_QUOTED]
    return ""


def why_failed(
    attempt: Attempt,
    tasks: int,
    kind: str,
    work: Workload,
    limits: Limits,
    *,
    of_machine: Sequence[Limit] = (),
) -> Reason | None:
    """
    Return why an attempt failed; None if the program did what it must, however late it launched its tasks.

    Args:
        attempt: The attempt.
        tasks: The number of tasks that it had to start.
        kind: The program's kind.
        work: The workload.
        limits: The limits of the attempt.
        of_machine: The limits of the machine on these tasks.
    """
    reason = _why_failed(attempt, tasks, kind, work, limits, of_machine)
    survivors = attempt.measurement.sampler.survivors
    if not survivors:
        return reason
    more = f" (and {format_count(len(survivors) - 1)} more)" if len(survivors) > 1 else ""
    not_killed = f"could not be killed: {survivors[0]}: {survivors[0].sentence}{more}"
    if reason is None:
        return Reason("still_running", not_killed)
    return attrs.evolve(reason, sentence=f"{reason.sentence}; {not_killed}")


def _why_failed(
    attempt: Attempt,
    tasks: int,
    kind: str,
    work: Workload,
    limits: Limits,
    of_machine: Sequence[Limit],
) -> Reason | None:
    measurement = attempt.measurement
    done = measurement.exit
    if attempt.wrong:
        return Reason("wrong_line", attempt.wrong)
    if attempt.ended == "finish":
        late = f"did not end within {format_seconds(limits.finish_s)} after its last task was launched"
        return Reason("finish_limit", f"{late}, and was stopped{_used(measurement)}")
    if attempt.ended == "launch":
        late = f"did not launch all tasks within {format_seconds(limits.launch_s)}"
        return Reason("launch_limit", f"{late}, and was stopped{_used(measurement)}")
    if done.reason == "memory_limit":
        return Reason("memory_limit", f"used more memory than was free, and was stopped{_used(measurement)}")
    if done.ok:
        for word in work.words[:-1]:
            if word not in attempt.messages:
                return Reason("missing_line", f"exited with 0 but did not print '{work.line(word, tasks)}'")
        if attempt.last_line != f"done {tasks}":
            last = attempt.last_line[:_QUOTED]
            return Reason("missing_line", f"exited with 0 but its last line is not 'done {tasks}': {last!r}")
        return None
    code, how = _how_ended(attempt)
    limit = ""
    parts = [f"{own_message(attempt) or 'it printed no reason'} ({how})"]
    if kind in _THREAD_KINDS and measurement.max_threads > 1:
        parts.append(f"most threads alive at once: {format_count(measurement.max_threads)}")
        limit = limit_reached(measurement.max_threads, of_machine, attempt.max_machine_threads)
    return Reason(code, "; ".join(filter(None, (*parts, limit))), limit)


def _how_ended(attempt: Attempt) -> tuple[ReasonCode, str]:
    """Return how a program that did not exit with 0 ended."""
    measurement = attempt.measurement
    done = measurement.exit
    code: ReasonCode = "exit_code"
    how = f"exit code {done.code}"
    if done.code is None:
        code, how = "still_running", "still running"
    if done.signal is not None:
        code, how = "signal", f"killed by {signal_name(done.signal)}"
    if measurement.oom is not None:
        code = "oom"
        child = "" if done.reason in ("oom", "cgroup_limit") else "one of its processes was killed "
        how += f", {child}{'' if measurement.oom.certain else 'probably '}by the kernel because memory ran out"
    if done.signal is not None or measurement.oom is not None:
        how += _used(measurement)
    return code, how


def too_late(attempt: Attempt, kind: str, sleep_s: float) -> Reason:
    """Return the reason that launching took longer than the longest sleep."""
    sentence = f"not all tasks were alive at once: launching took longer than the sleep of {sleep_s:g} s"
    if kind in _THREAD_KINDS:
        sentence += f" (most threads alive at once: {format_count(attempt.measurement.max_threads)})"
    return Reason("late", sentence)


def too_soon(attempt: Attempt, work: Workload, seconds: float) -> Reason | None:
    """Return the reason that the program finished sooner than its tasks can have; None if it took long enough."""
    before, last = work.words[-2:]
    took_s = attempt.messages[last].at_s - (attempt.messages[before].at_s if work.name == "spawn" else 0.0)
    # A line arrives later than it is printed, and how much later depends on the pipe and on how busy the machine is.
    if took_s < 0.99 * seconds - _ARRIVAL_S:
        times = f"after {format_seconds(took_s)} instead of {format_seconds(seconds)}"
        return Reason("early", f"printed 'done' too soon: {times}")
    return None


def not_seen(attempt: Attempt, tasks: int, kind: str, sleep_s: float) -> Reason | None:
    """Return the reason that too few threads were seen; None if all were seen, or slept too briefly to be seen."""
    threads = attempt.measurement.max_threads
    slept_s = sleep_s - attempt.messages["started"].at_s
    if kind not in _THREAD_KINDS or threads >= tasks or slept_s < _SEEN_S:
        return None
    sentence = f"printed 'started {tasks}', but its highest number of threads was {format_count(threads)}"
    return Reason("not_seen", sentence)


def limit_reached(threads: int, limits: Iterable[Limit], on_machine: int) -> str:
    """
    Name the limit that a program with this number of threads has reached, or return "" if none is near.

    Args:
        threads: The most threads that the program had at once.
        limits: The limits of the machine, read before the start.
        on_machine: The most threads that the whole machine had.
    """
    for limit in limits:
        used = max(threads, on_machine) if limit.of_machine else threads * limit.each + limit.taken
        if is_near(used, limit.value):
            others = on_machine - threads if limit.of_machine else 0
            shared = f", and other processes had {format_count(others)} threads" if others > 0.05 * on_machine else ""
            return f"{limit.name} is {limit.value}{shared}"
    return ""


def _used(measurement: Measurement) -> str:
    low_bytes = measurement.peak.low_bytes
    return "" if not low_bytes else f"; it used at least {format_bytes(low_bytes)} until then"
