"""The page's whole table: a line for every row, and what its columns mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from concmem.study import Row
from concmem.study.running.other_work import BUSY_SHARE
from concmem.study.stats import ENOUGH_RUNS, WIDE_SPREAD
from concmem.study.workloads import Workload
from concmem.units import format_bytes, format_count, format_error, format_seconds

__all__ = ["Cell", "Column", "columns"]


@attrs.frozen
class Cell:
    """
    One cell.

    Attributes:
        text: What is written.
        key: By what it is sorted: a number where the column is of numbers; None comes last in either order.
        warning: What a reader must know of it, in a few words.
    """

    text: str
    key: float | str | None = None
    warning: str = ""


@attrs.frozen
class Column:
    """
    One column.

    Attributes:
        title: Its heading.
        means: What stands in it, in one sentence.
        cell: A row's cell.
        numeric: Whether its cells are amounts.
    """

    title: str
    means: str
    cell: Callable[[Row], Cell]
    numeric: bool = True


def columns(workload: Workload, rows: Sequence[Row]) -> list[Column]:
    """All columns of a study with that workload; those in which none of the rows has anything are left out."""
    found = [
        _words("program", "title", "What ran."),
        _amount("tasks", "tasks", "How many were alive at once.", format_count),
        Column("peak", "The median of the runs' peaks.", _peak),
        Column("range", "Of the runs' peaks.", _range),
        Column("interval", "Where the median of many runs would lie, with 95 % confidence.", _interval),
        Column("error", "Where the truth lies, seen from the figure.", _error, numeric=False),
        Column("runs", "How many were made, or how many of them have a figure.", _runs),
        _amount("others", "other_share", _OTHERS, "{:.0%}".format),
        _amount("plateau", "plateau_bytes", _PLATEAU[workload.name], format_bytes),
        _amount(
            "left over", "left_over_bytes", "How much more it held after its tasks than before them.", format_bytes
        ),
        _amount("rate", "rate_per_s", f"{workload.rate_of.capitalize()} a second.", _rate),
        _amount("launch", "launch_s", _LAUNCH[workload.launched], _time),
        _amount("overshoot", "overshoot_s", _OVERSHOOT, _time),
        _amount("peak at", "peak_at_s", "When its memory was largest.", _time),
        _amount("wall", "wall_s", "From its start to its end.", _time),
        _amount("CPU", "cpu_s", "User and system time.", _time),
        _amount("alive", "alive", "Tasks that were seen alive at once, where they can be counted.", format_count),
        _amount("threads", "threads", "The most that any run had.", format_count),
        _amount("minor faults", "minor_faults", "Page faults without reading from a disk.", format_count),
        _amount("major faults", "major_faults", "Page faults with it.", format_count),
        _amount(
            "slept", "sleep_s", "The longest sleep that a run needed for all to be alive at once.", "{:g} s".format
        ),
        _words("status", "figure_status", "Of the figure."),
        _words("source", "source", "The kernel interface that it was read from."),
        _words("toolchain", "toolchain", "What built and ran it."),
        Column(
            "flags",
            "Of the runtime, and what else sets the row apart.",
            lambda row: _text(row.conditions),
            numeric=False,
        ),
        _words("variant", "variant", "The article's program, or another way to write it."),
        _words("kind", "kind", "What a task is."),
        _words("remarks", "reason", "Why there is no figure, or none of some runs."),
    ]
    return [column for column in found if any(column.cell(row).text for row in rows)]


_LAUNCH = {
    "started": "Until the program said that all tasks are started, its own start included.",
    "ended": "Until the program said that all tasks have ended, its own start included.",
}
_OVERSHOOT = (
    "By how much it ended later than the last task's sleep allows; below 0 where the last tasks slept before the "
    "program could say that all are started."
)
_OTHERS = (
    f"The most of the CPU time that other processes and the hypervisor took in a run that counts; above "
    f"{BUSY_SHARE:.0%} a run counts for nothing where another does."
)
_PLATEAU = {
    "sleep": "The median of its memory while all tasks sleep.",
    "spawn": "The median of its memory after all tasks have ended.",
    "channel": "The median of its memory while the message goes round.",
}


def _words(title: str, name: str, means: str) -> Column:
    return Column(title, means, lambda row: _text(getattr(row, name)), numeric=False)


def _text(text: str) -> Cell:
    return Cell(text, text.casefold() or None)


def _amount(title: str, name: str, means: str, text: Callable[[Any], str]) -> Column:
    def cell(row: Row) -> Cell:
        amount = getattr(row, name)
        return Cell("" if amount is None else text(amount), amount)

    return Column(title, means, cell)


def _time(seconds: float) -> str:
    return f"{'-' if seconds < 0 else ''}{format_seconds(abs(seconds))}"


def _rate(per_s: float) -> str:
    return f"{format_count(round(per_s))}/s"


def _peak(row: Row) -> Cell:
    if row.median_bytes is None:
        return Cell(row.status)
    return Cell(format_bytes(row.median_bytes), row.median_bytes, "the machine was busy" if row.is_busy else "")


def _range(row: Row) -> Cell:
    if row.good_runs < 2 or row.min_bytes is None or row.max_bytes is None or row.spread is None:
        return Cell("")
    warning = f"{row.spread:.1%}: over {WIDE_SPREAD:.0%}" if row.is_wide else ""
    return Cell(f"{format_bytes(row.min_bytes)} to {format_bytes(row.max_bytes)}", row.spread, warning)


def _interval(row: Row) -> Cell:
    low, high = row.interval_low_bytes, row.interval_high_bytes
    if low is None or high is None or row.median_bytes is None:
        return Cell("")
    return Cell(f"{format_bytes(low)} to {format_bytes(high)}", (high - low) / row.median_bytes)


def _runs(row: Row) -> Cell:
    few = row.median_bytes is not None and not row.is_enough
    text = str(row.runs) if row.good_runs == row.runs else f"{row.good_runs} of {row.runs}"
    return Cell(text, row.good_runs, f"fewer than {ENOUGH_RUNS}" if few else "")


def _error(row: Row) -> Cell:
    if row.median_bytes is None:
        return Cell("")
    # One for each status, as these are joined.
    errors = dict.fromkeys(format_error(s, row.error_bytes, row.over_bytes) for s in row.figure_status.split(" / "))
    return Cell(" / ".join(errors), row.error_bytes + row.over_bytes)
