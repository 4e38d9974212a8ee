"""The page's table of all figures: one line per row, and the meaning of each column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from concmem.report.sentences import errors_text
from concmem.study import Row
from concmem.study.running.other_work import BUSY_SHARE
from concmem.study.stats import ENOUGH_RUNS, WIDE_SPREAD
from concmem.study.workloads import Workload
from concmem.units import format_bytes, format_count, format_seconds

__all__ = ["Cell", "Column", "columns"]


@attrs.frozen
class Cell:
    """
    One cell.

    Attributes:
        text: The text.
        key: The sort key, a number in numeric columns. None is last in both orders.
        warning: A warning in a few words, or "".
        tooltip: A text that appears when the pointer is on the cell, or "".
    """

    text: str
    key: float | str | None = None
    warning: str = ""
    tooltip: str = ""


@attrs.frozen
class Column:
    """
    One column.

    Attributes:
        title: The heading.
        means: The meaning in one sentence.
        cell: Returns the cell of a row.
        numeric: Whether the cells are amounts.
    """

    title: str
    means: str
    cell: Callable[[Row], Cell]
    numeric: bool = True


def columns(workload: Workload, rows: Sequence[Row]) -> list[Column]:
    """Return all columns of a study with that workload, without those that are empty in all rows."""
    found = [
        _words("program", "title", "The program that ran."),
        _amount("tasks", "tasks", "The number of tasks that were alive at once.", format_count),
        Column("peak", "The median of the runs' peaks.", _peak),
        Column("range", "The smallest and the largest of the runs' peaks.", _range),
        Column(
            "interval", "The interval of the median, errors included, and how often it holds the median.", _interval
        ),
        Column("error", "By how much the truth may differ from the figure.", _error, numeric=False),
        Column("runs", "The number of runs, or how many of them have a figure.", _runs),
        _amount("others", "other_share", _OTHERS, "{:.0%}".format),
        _amount("plateau", "plateau_bytes", _PLATEAU[workload.name], format_bytes),
        _amount("left over", "left_over_bytes", "Memory after the tasks minus memory before them.", format_bytes),
        _amount("rate", "rate_per_s", f"{workload.rate_of.capitalize()} a second.", _rate),
        _amount("launch", "launch_s", _LAUNCH[workload.launched], _time),
        _amount("overshoot", "overshoot_s", _OVERSHOOT, _time),
        _amount("peak at", "peak_at_s", "The time of the largest memory.", _time),
        _amount("wall", "wall_s", "Time from the start to the end of the program.", _time),
        _amount("CPU", "cpu_s", "User and system time.", _time),
        _amount("alive", "alive", "Tasks that were seen alive at once, if they can be counted.", format_count),
        _amount("threads", "threads", "The largest number of threads of any run.", format_count),
        _amount("minor faults", "minor_faults", "Page faults that read nothing from a disk.", format_count),
        _amount("major faults", "major_faults", "Page faults that read from a disk.", format_count),
        _amount(
            "slept",
            "sleep_s",
            "The longest sleep of a run, needed for all tasks to be alive at once.",
            "{:g} s".format,
        ),
        _words("status", "figure_status", "The status of the figure."),
        _words("source", "source", "The kernel interface that the figure was read from."),
        _words("toolchain", "toolchain", "The toolchain that built and ran the program."),
        Column(
            "flags",
            "Arguments of the runtime, and other conditions of the row.",
            lambda row: _text(row.conditions),
            numeric=False,
        ),
        _words("variant", "variant", "The article's program, or another way to write it."),
        _words("kind", "kind", "What a task is."),
        _words("remarks", "reason", "Why there is no figure, or why some runs have none."),
    ]
    return [column for column in found if any(column.cell(row).text for row in rows)]


_LAUNCH = {
    "started": "Time until the program printed that all tasks were started, including its own start.",
    "ended": "Time until the program printed that all tasks had ended, including its own start.",
}
_OVERSHOOT = (
    "How much later the program ended than the last task's sleep requires. Negative if the last tasks slept before the "
    "program could print that all were started."
)
_OTHERS = (
    f"The largest share of CPU time that other processes and the hypervisor took in a counted run. A run above "
    f"{BUSY_SHARE:.0%} is not counted if another run is below."
)
_PLATEAU = {
    "sleep": "The median of memory while all tasks sleep.",
    "spawn": "The median of memory after all tasks have ended.",
    "channel": "The median of memory while the message is passed on.",
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
        return Cell(row.status, tooltip=row.reason if row.status in ("failed", "skipped") else "")
    return Cell(format_bytes(row.median_bytes), row.median_bytes, "the machine was busy" if row.is_busy else "")


def _range(row: Row) -> Cell:
    if row.good_runs < 2 or row.min_bytes is None or row.max_bytes is None or row.spread is None:
        return Cell("")
    warning = f"{row.spread:.1%}: over {WIDE_SPREAD:.0%}" if row.is_wide else ""
    return Cell(f"{format_bytes(row.min_bytes)} to {format_bytes(row.max_bytes)}", row.spread, warning)


def _interval(row: Row) -> Cell:
    low, high, confidence = row.interval_low_bytes, row.interval_high_bytes, row.interval_confidence
    if low is None or high is None or confidence is None or row.median_bytes is None:
        return Cell("")
    text = f"{format_bytes(low)} to {format_bytes(high)} ({confidence:.0%})"
    return Cell(text, (high - low) / row.median_bytes)


def _runs(row: Row) -> Cell:
    few = row.median_bytes is not None and not row.is_enough
    text = str(row.runs) if row.good_runs == row.runs else f"{row.good_runs} of {row.runs}"
    return Cell(text, row.good_runs, f"fewer than {ENOUGH_RUNS}" if few else "")


def _error(row: Row) -> Cell:
    if row.median_bytes is None:
        return Cell("")
    return Cell(errors_text(row), row.error_bytes + row.over_bytes)
