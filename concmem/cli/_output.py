"""Print a measurement: the headline, the figures, the curve, and what measuring cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TextIO

from concmem._figures.sentences import counted, explanation, headline, outcome, remaining
from concmem._figures.table import FIGURES
from concmem.cli._layout import Layout
from concmem.units import format_bytes, format_count, format_error, format_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from concmem.model import Figure, Measurement

__all__ = ["report"]

_WIDEST = 120


def _shown(measurement: Measurement) -> Iterator[tuple[str, Figure]]:
    """Yield the figures that the machine can have."""
    for name, entry in FIGURES.items():
        if entry.is_shown(measurement.host):
            yield name, measurement.figures[name]


def _figures(measurement: Measurement) -> list[tuple[str, ...]]:
    """Return the rows of the table of figures. The first has the titles of its columns."""
    rows: list[tuple[str, ...]] = [("figure", "amount", "error", "status", "source")]
    for name, figure in _shown(measurement):
        amount, error = "-", ""
        if figure.bytes is not None:
            amount = format_bytes(figure.bytes)
            error = format_error(figure.status, figure.error_bytes, figure.over_bytes)
        rows.append((name, amount, error, figure.status.replace("_", " "), figure.source))
    return rows


def _notes(measurement: Measurement) -> list[tuple[str, str]]:
    notes = [(name, figure.note) for name, figure in _shown(measurement) if figure.note]
    for name, why in measurement.sampler.missing.items():
        if name != "cgroup":  # the figure cgroup_peak has this note already
            notes.append((name, f"not available: {why}"))
    if measurement.swapped_bytes:
        swapped = format_bytes(measurement.swapped_bytes)
        what = f"the machine swapped {swapped} in or out during the run; RSS and PSS do not include swapped-out memory"
        notes.append(("swap", what))
    return notes


def _cost(measurement: Measurement) -> str:
    """Return in one line how often the sampler read, and what that cost."""
    m, sampler = measurement, measurement.sampler
    often = f", one every {format_seconds(m.tree_wall_s / sampler.ticks)}" if sampler.ticks else ""
    share = sampler.cpu_s / m.tree_wall_s if m.tree_wall_s > 0 else math.nan
    budget = f"; budget 20 ms and {sampler.cpu_budget * 100:.3g}%" if sampler.cpu_budget is not None else ""
    own_size = f", {format_bytes(sampler.rss_bytes)}" if sampler.rss_bytes is not None else ""
    dropped = f", {format_count(sampler.dropped_rows)} dropped" if sampler.cpu_budget is None else ""
    return (
        f"sampler: {counted(sampler.ticks, 'reading', 'readings')}{often}; CPU {format_seconds(sampler.cpu_s)}"
        f" ({share:.1%} of one{budget}){own_size}; longest gap {format_seconds(sampler.longest_gap_s)}"
        f", {format_count(sampler.late_ticks)} late{dropped}"
    )


def _facts(measurement: Measurement) -> list[str]:
    m, sampler = measurement, measurement.sampler
    lines = [outcome(m), _cost(m)]
    lost = {
        "readings refused by the kernel": sampler.refused_readings,
        "windows reset late": sampler.inexact_windows,
        "times that exit records were lost": sampler.lost_exit_records,
        "processes not listed": sampler.dropped_processes,
    }
    lines += [f"missed: {format_count(count)} {what}" for what, count in lost.items() if count]
    lines += remaining(m)
    if sampler.unseen:
        seen = counted(len(m.processes), "process", "processes")
        more = f"up to {format_count(sampler.unseen)} more started and ended between two readings"
        why = m.sampler.missing.get("taskstats", "")
        lines.append(f"{seen} seen; {more}" + (f" (no exit records: {why})" if why else ""))
    return lines


def _curve(measurement: Measurement, width: int, ascii_only: bool) -> list[str]:
    from concmem.cli._chart import area_chart

    timeline = measurement.timeline
    amounts = timeline.values("statm", "rss_max")
    peak_t_s = timeline.peak_t_s
    if peak_t_s is None or len(amounts) < 2 or not max(amounts):
        return []
    t_s = [t_ns / 1e9 for t_ns in timeline.values("statm", "t_ns")]
    end_s = max(t_s[-1], measurement.tree_wall_s)
    title = f"RSS of all its processes over time, largest {format_bytes(max(amounts))} at {format_seconds(peak_t_s)}"
    chart = area_chart(t_s, amounts, end_s, width=width, ascii_only=ascii_only)
    return [title, *chart]


def report(measurement: Measurement, stream: TextIO, *, explain: bool = False) -> str:
    """
    Return a measurement as text, with the width, styles and characters of `stream`.

    Args:
        measurement: The measurement.
        stream: Where the caller will write the text. This function writes nothing to it.
        explain: Add how both ends of the range were found.
    """
    layout = Layout(stream, _WIDEST)
    layout.text()
    layout.text(headline(measurement), bold=True)
    for sentence in explanation(measurement) if explain else ():
        layout.text(f"- {sentence}")
    layout.text()
    layout.table(_figures(measurement), right=(1,), has_titles=True, bold=("peak",))
    layout.text()
    if notes := _notes(measurement):
        layout.table(notes)
        layout.text()
    if curve := _curve(measurement, layout.width, layout.ascii_only):
        for line in curve:
            layout.line(line)
        layout.text()
    for fact in _facts(measurement):
        layout.text(fact)
    return str(layout)
