"""Why a run is not one of N tasks alive at once, in one sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from concmem.model import Measurement
from concmem.study.limits.kinds import Limit
from concmem.study.running.attempt import Attempt, Limits
from concmem.study.workloads import Workload
from concmem.units import format_bytes, format_count, format_seconds, signal_name

__all__ = ["limit_reached", "not_seen", "own_message", "too_late", "too_soon", "why_failed"]

# First what names a cause, then what only names the failure.
_TELLING = (
    re.compile(r"could not|cannot|can't|unable|limit|denied|not found|out of|too many|os error|errno", re.I),
    re.compile(r"error|exception|panic|fatal|killed|\*\*", re.I),
)
_TRACE = re.compile(r"\s|at \S+\(|note: |goroutine \d|exit status|[-=#]{3}")
_THREAD_KINDS = frozenset({"thread"})
_QUOTED = 240
_ARRIVAL_S = 0.05
_NEAR = 0.98
_SEEN_S = 0.2


def own_message(attempt: Attempt) -> str:
    """
    The line in which the program itself says what went wrong, or "".

    The last unindented line that sounds like a cause, else like a failure: below it stand stack traces and hints. Some
    runtimes write theirs to standard output, so that is looked through too, after standard error.
    """
    for lines in (attempt.errors, attempt.lines):
        plain = [line for line in lines if not _TRACE.match(line) and not re.fullmatch(r"(started|done) \d+", line)]
        if plain:
            telling = ([line for line in plain if pattern.search(line)] for pattern in _TELLING)
            return next(filter(None, telling), plain)[-1].rstrip(".")[:_QUOTED]
    return ""


def why_failed(
    attempt: Attempt,
    tasks: int,
    kind: str,
    work: Workload,
    limits: Limits,
    *,
    of_machine: Sequence[Limit] = (),
) -> str:
    """
    Why an attempt failed; "" where it did what a program must do, whenever it launched.

    Args:
        attempt: What happened.
        tasks: How many tasks it had to start.
        kind: The program's kind.
        work: What they had to do.
        limits: How long it had for that.
        of_machine: The limits that its tasks meet.
    """
    reason = _why_failed(attempt, tasks, kind, work, limits, of_machine)
    survivors = attempt.measurement.sampler.survivors
    if not survivors:
        return reason
    more = f" (and {format_count(len(survivors) - 1)} more)" if len(survivors) > 1 else ""
    return "; ".join(filter(None, (reason, f"could not be killed: {survivors[0]}: {survivors[0].sentence}{more}")))


def _why_failed(
    attempt: Attempt,
    tasks: int,
    kind: str,
    work: Workload,
    limits: Limits,
    of_machine: Sequence[Limit],
) -> str:
    measurement = attempt.measurement
    done = measurement.exit
    if attempt.wrong:
        return attempt.wrong
    if attempt.ended == "finish":
        late = f"had not ended {format_seconds(limits.finish_s)} after its last task was launched"
        return f"{late}, and was stopped{_used(measurement)}"
    if attempt.ended == "launch":
        late = f"had not launched all tasks after {format_seconds(limits.launch_s)}"
        return f"{late}, and was stopped{_used(measurement)}"
    if done.reason == "memory_limit":
        return f"used more memory than was free, and was stopped{_used(measurement)}"
    if done.ok:
        for word in work.words[:-1]:
            if word not in attempt.said:
                return f"exited with 0 but never said '{work.line(word, tasks)}'"
        if attempt.last_line != f"done {tasks}":
            return f"exited with 0 but its last line is not 'done {tasks}': {attempt.last_line[:_QUOTED]!r}"
        return ""
    how = "it has not ended" if done.code is None else f"exit code {done.code}"
    if done.signal is not None:
        how = f"killed by {signal_name(done.signal)}"
    if measurement.oom is not None:
        child = "" if done.reason == "oom" else "a process of it was killed "
        how += f", {child}{'' if measurement.oom.certain else 'probably '}by the kernel for want of memory"
    if done.signal is not None or measurement.oom is not None:
        how += _used(measurement)
    parts = [f"{own_message(attempt) or 'it gave no reason'} ({how})"]
    if kind in _THREAD_KINDS and measurement.max_threads > 1:
        parts.append(f"most threads alive at once: {format_count(measurement.max_threads)}")
        if limit := limit_reached(measurement.max_threads, of_machine, attempt.most_on_machine):
            parts.append(limit)
    return "; ".join(parts)


def too_late(attempt: Attempt, kind: str, sleep_s: float) -> str:
    """Why a program that launched too slowly even for the longest sleep has no figure."""
    reason = f"not all alive at once: launching took longer than {sleep_s:g} s"
    if kind in _THREAD_KINDS:
        reason += f" (most threads alive at once: {format_count(attempt.measurement.max_threads)})"
    return reason


def too_soon(attempt: Attempt, work: Workload, seconds: float) -> str:
    """Why a program that did all in less time than it needs did not do it; "" where it took that long."""
    before, last = work.words[-2:]
    resting_s = attempt.said[last].at_s - (attempt.said[before].at_s if work.name == "spawn" else 0.0)
    # Arrival is later than the saying, by what the pipe and a busy machine take, and not always by the same.
    if resting_s < 0.99 * seconds - _ARRIVAL_S:
        return f"said 'done' after {format_seconds(resting_s)}, too soon for what takes {format_seconds(seconds)}"
    return ""


def not_seen(attempt: Attempt, tasks: int, kind: str, sleep_s: float) -> str:
    """Why a program that says that all its threads sleep is not believed; "" where they were seen, or had no time."""
    threads = attempt.measurement.max_threads
    slept_s = sleep_s - attempt.said["started"].at_s
    if kind not in _THREAD_KINDS or threads >= tasks or slept_s < _SEEN_S:
        return ""
    return f"said that {format_count(tasks)} threads sleep, but no more than {format_count(threads)} were seen at once"


def limit_reached(threads: int, limits: Iterable[Limit], on_machine: int) -> str:
    """
    Which limit a program met that had so many threads, or "" where none is near.

    Args:
        threads: The most threads that it had at once.
        limits: Those of the machine, as they were before its start.
        on_machine: The most that the whole machine had.
    """
    for limit in limits:
        used = max(threads, on_machine) if limit.of_machine else threads * limit.each + limit.taken
        if _NEAR * limit.value <= used <= limit.value / _NEAR:
            others = on_machine - threads if limit.of_machine else 0
            shared = f", and others had {format_count(others)} threads" if others > 0.05 * on_machine else ""
            return f"{limit.name} is {limit.value}{shared}"
    return ""


def _used(measurement: Measurement) -> str:
    low_bytes = measurement.peak.low_bytes
    return "" if not low_bytes else f"; it used at least {format_bytes(low_bytes)} until it was ended"
