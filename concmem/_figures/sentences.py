"""Describe a measurement in sentences: the headline, both ends of its range, and the processes that still run."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from concmem._escaping import escape_text
from concmem._figures.ended import ending_phrase
from concmem._figures.figure_source import UPPER_BOUNDS, FigureSource
from concmem.units import format_bytes, format_count, format_seconds

if TYPE_CHECKING:
    from concmem.model import Figure, Measurement

__all__ = ["counted", "explanation", "headline", "outcome", "remaining", "summary"]

_MOST_LISTED = 8
"""At most this many processes are named."""


def _program(command: tuple[str, ...] | str) -> str:
    return escape_text(PurePath(command[0]).name) if isinstance(command, tuple) else "the command"


def _amount(peak: Figure) -> str:
    """Return the amount with its range, as exactly as it is known."""
    low, high = format_bytes(peak.low_bytes or 0), format_bytes(peak.high_bytes or 0)
    if peak.status == "upper_bound":
        return f"no more than {high}"
    amount = format_bytes(peak.bytes or 0)
    return amount if low == high or peak.status == "exact" else f"{amount} ({low} to {high})"


def headline(measurement: Measurement) -> str:
    """
    Return one sentence on how much memory the command needed, as exactly as it is known.

    If processes of the tree still run, another sentence says how many.
    """
    left, survivors = len(measurement.left_running), len(measurement.sampler.survivors)
    sentences = [_needed(measurement)]
    if left:
        sentences.append(f"It left {counted(left, 'process', 'processes')} running.")
    if survivors:
        sentences.append(f"{counted(survivors, 'process', 'processes')} could not be killed.")
    return " ".join(sentences)


def remaining(measurement: Measurement) -> list[str]:
    """Return a line with the processes left running, and one for each that could not be killed, with the reason."""
    left, survivors = measurement.left_running, measurement.sampler.survivors
    lines = []
    if left:
        more = f" and {format_count(len(left) - _MOST_LISTED)} more" if len(left) > _MOST_LISTED else ""
        lines.append(f"left running: {', '.join(map(str, left[:_MOST_LISTED]))}{more}")
    lines += [f"could not be killed: {process}: {process.sentence}" for process in survivors[:_MOST_LISTED]]
    if len(survivors) > _MOST_LISTED:
        lines.append(f"could not be killed: {format_count(len(survivors) - _MOST_LISTED)} more")
    return lines


def _needed(measurement: Measurement) -> str:
    name, peak = _program(measurement.command), measurement.peak
    ended = ending_phrase(measurement.exit, measurement.oom, measurement.host.memory_limit_bytes)
    if peak.bytes is None:
        used = f"used until {ended}" if ended else "needed"
        return f"How much memory {name} {used} could not be measured: {peak.note}"
    if ended and peak.status == "upper_bound":
        return f"{name} used {_amount(peak)} until {ended}."
    if ended:
        return f"{name} used at least {format_bytes(peak.low_bytes or 0)} until {ended}."
    if peak.status == "sampled":
        upper = measurement.tree_upper_bound
        reason = upper.note if upper.bytes is None else ""
        needed = f"{name} needed at least {format_bytes(peak.low_bytes or 0)}"
        return f"{needed}: {reason}." if reason else f"{needed}."
    return f"{name} needed {_amount(peak)}."


def counted(count: int, singular: str, plural: str) -> str:
    """``counted(2, "process", "processes")`` -> ``"2 processes"``."""
    return f"{format_count(count)} {singular if count == 1 else plural}"


def outcome(m: Measurement) -> str:
    """Return how it ended, how long it took, its CPU time, and how many processes and threads it had."""
    tree = f" (with its other processes: {format_seconds(m.tree_wall_s)})" if m.tree_wall_s > m.wall_s + 0.1 else ""
    return (
        f"{m.exit}; {format_seconds(m.wall_s)}{tree}, CPU {format_seconds(m.user_s)} user"
        f" and {format_seconds(m.system_s)} system; at most {counted(m.max_alive, 'process', 'processes')}"
        f" and {counted(m.max_threads, 'thread', 'threads')} at once"
    )


def summary(measurement: Measurement[Any]) -> str:
    """Return a measurement in a few lines: the headline, the available figures, and how it ended."""
    figures = (f"{name}: {figure}" for name, figure in measurement.figures.items() if figure.bytes is not None)
    lines = (headline(measurement), *figures, outcome(measurement), *remaining(measurement))
    return "\n".join(map(escape_text, lines))


def _when(measurement: Measurement) -> str:
    t_s = measurement.timeline.peak_t_s
    return "" if t_s is None else f"; the sum of RSS was largest {format_seconds(t_s)} after the start"


def _by_one_process(measurement: Measurement) -> str:
    """Return what a lower end from the high-water mark of one process is."""
    peak, largest = measurement.peak, measurement.largest_peak_rss
    twice_bytes = (largest.low_bytes or 0) - (peak.low_bytes or 0)
    less = [f"{format_bytes(twice_bytes)} that it may map twice"] if twice_bytes > 0 else []
    less += [f"its possible error of {format_bytes(largest.over_bytes)}"] if largest.over_bytes else []
    return f"the largest size of one process ({peak.source})" + (f", less {' and '.join(less)}" if less else "")


def explanation(measurement: Measurement) -> list[str]:
    """Return how the lower and the upper end of `peak` were found, in one sentence each."""
    peak, upper, sampler = measurement.peak, measurement.tree_upper_bound, measurement.sampler
    low_bytes = peak.low_bytes or 0
    source = FigureSource.of(peak.source)
    if peak.bytes is None:
        return [f"there is no figure: {peak.note}"]
    low = f"at least {format_bytes(low_bytes)}: "
    if peak.status == "upper_bound":
        low += f"only the upper end is known: {peak.note}"
    elif source is FigureSource.PSS:
        readings = f"{sampler.pss_readings} readings of every process's PSS (smaps_rollup)"
        outside = ", with huge pages and swap" if low_bytes > (measurement.tree_peak_pss.bytes or 0) else ""
        low += f"the largest of {readings}, shared pages counted once{outside}{_when(measurement)}"
    elif source is FigureSource.LOWER_BOUND:
        outside = ", with memory outside of RSS" if low_bytes > (measurement.tree_peak_rss_sum.bytes or 0) else ""
        low += f"the sum of RSS (statm) less everything that can be shared{outside}{_when(measurement)}"
    elif source is FigureSource.CGROUP_HELD:
        low += "the charge of its control group without page cache and kernel memory"
    else:
        low += _by_one_process(measurement)
    if peak.high_bytes is None:
        return [low, f"no upper end: {upper.note if upper.bytes is None else peak.note}"]
    high = f"at most {format_bytes(peak.high_bytes)}: "
    if upper.bytes is not None and FigureSource.of(peak.high_source) in UPPER_BOUNDS:
        error = upper.error_bytes
        counters = f", plus {format_bytes(error)} for the error of the kernel's counters" if error else ""
        return [low, f"{high}{upper.note}{counters}"]
    outside_bytes = peak.high_bytes - (measurement.largest_peak_rss.high_bytes or peak.high_bytes)
    outside = f", plus {format_bytes(outside_bytes)} outside of RSS" if outside_bytes > 0 else ""
    source_text = peak.high_source or peak.source
    return [low, f"{high}the kernel's mark at its end ({source_text}) plus the error of its counters{outside}"]
