"""One row of a study: a program at one number of tasks, and the names of its columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs

from concmem._escaping import escape_fields
from concmem.study.stats import ENOUGH_RUNS, WIDE_SPREAD

__all__ = ["COLUMNS", "Row", "RowStatus", "column_names", "joined"]

RowStatus = Literal["ok", "partly", "failed", "skipped", "not run"]


@attrs.frozen(kw_only=True, field_transformer=escape_fields)
class Row:
    """
    One program at one number of tasks.

    Attributes:
        program, title, language, kind, variant, toolchain: The program, and the toolchain that ran it.
        toolchain_name: The name of the toolchain in the language's manifest; no column.
        flags: Flags of the runtime that the table shows.
        remarks: Remarks from the program's manifest.
        tasks: The number of tasks that were alive at once.
        sleep_s: The longest sleep that a run needed.
        runs: The number of stored runs.
        status: ``ok``, ``partly`` (some runs failed: the figures are those of the others), ``failed``, ``skipped``,
            or ``not run`` (the study is not finished).
        good_runs: The number of runs that the figures come from. These are the runs with a figure, without those made
            while the machine was busy with other work, unless all were.
        busy_runs: The number of runs with a figure that were made while the machine was busy with other work.
        is_busy: Whether the figures come from such runs. The row is shown, but judges no claim and has no rank.
        other_share: The largest part of the CPU time that others took in a run that the figures come from; None if
            unknown.
        instead_of: The planned number of tasks that could not run, for which this is the largest number that ran.
        median_bytes, min_bytes, max_bytes: Of the peaks; None without a figure.
        error_bytes: By how much the true value can exceed a run's figure: the largest of the runs.
        over_bytes: By how much a run's figure can exceed the true value, likewise.
        figure_statuses, sources: The statuses and the kernel sources of the figures, each once. Their columns are
            `figure_status` and `source`.
        interval_low_bytes, interval_high_bytes: The interval for the median of many runs, the error of each figure
            included (`concmem.comparison.intervals.median_interval`); None with fewer than two runs.
        interval_confidence: How often such an interval holds the median: 0.75 with three runs, 0.94 with five.
        plateau_bytes: The median of the runs' plateaus (`Run.plateau`).
        left_over_bytes: The median of the memory left over after the tasks (`Run.left_over`).
        rate_per_s, rate_min_per_s, rate_max_per_s: Median, smallest and largest `Run.rate_per_s`.
        beyond_s: The median of how much longer the runs took than they slept.
        limit: The limit of the machine that this number of tasks exceeds, if runs failed or were skipped; "" if none.
        wall_s, cpu_s, launch_s, overshoot_s, peak_at_s: Medians; None without a figure.
        alive: The number of tasks that every run was seen to have at once, if they can be counted.
        threads: The most threads that any run had.
        minor_faults, major_faults: Medians of the page faults.
        reason: Why the status is not ``ok``, in one sentence.
        reason_limit: The limit that the reason names, in a few words; "" if it names none; no column.
    """

    program: str
    title: str
    language: str
    kind: str
    variant: str
    toolchain: str
    toolchain_name: str = attrs.field(default="", metadata={"column": ""})
    flags: tuple[str, ...]
    tasks: int
    sleep_s: float
    runs: int
    status: RowStatus
    good_runs: int
    busy_runs: int = 0
    is_busy: bool = False
    other_share: float | None = None
    median_bytes: int | None = None
    min_bytes: int | None = None
    max_bytes: int | None = None
    error_bytes: int = 0
    over_bytes: int = 0
    figure_statuses: tuple[str, ...] = attrs.field(default=(), metadata={"column": "figure_status"})
    sources: tuple[str, ...] = attrs.field(default=(), metadata={"column": "source"})
    interval_low_bytes: int | None = None
    interval_high_bytes: int | None = None
    interval_confidence: float | None = None
    plateau_bytes: int | None = None
    left_over_bytes: int | None = None
    rate_per_s: float | None = None
    rate_min_per_s: float | None = None
    rate_max_per_s: float | None = None
    beyond_s: float | None = None
    limit: str = ""
    wall_s: float | None = None
    cpu_s: float | None = None
    launch_s: float | None = None
    overshoot_s: float | None = None
    peak_at_s: float | None = None
    alive: int | None = None
    threads: int | None = None
    minor_faults: int | None = None
    major_faults: int | None = None
    reason: str = ""
    reason_limit: str = attrs.field(default="", metadata={"column": ""})
    instead_of: int | None = None
    remarks: tuple[str, ...] = ()

    @property
    def figure_status(self) -> str:
        """The statuses as text."""
        return joined(self.figure_statuses)

    @property
    def source(self) -> str:
        """The kernel sources as text."""
        return joined(self.sources)

    @property
    def figure_runs(self) -> int:
        """The number of runs with a figure."""
        return self.good_runs if self.is_busy else self.good_runs + self.busy_runs

    @property
    def has_rank(self) -> bool:
        """Whether the row has a figure that may be compared with other rows."""
        return self.median_bytes is not None and not self.is_busy

    @property
    def spread(self) -> float | None:
        """The range divided by the median; None without a figure."""
        if not self.median_bytes or self.min_bytes is None or self.max_bytes is None:
            return None
        return (self.max_bytes - self.min_bytes) / self.median_bytes

    @property
    def conditions(self) -> str:
        """Flags and remarks in one line; "" if there are none."""
        return "; ".join(filter(None, (" ".join(self.flags), *self.remarks)))

    @property
    def is_wide(self) -> bool:
        """Whether the range is so wide that it gets a remark."""
        return self.spread is not None and self.spread > WIDE_SPREAD

    @property
    def is_enough(self) -> bool:
        """Whether there are enough runs to publish the figure."""
        return self.good_runs >= ENOUGH_RUNS


def joined(texts: Iterable[str]) -> str:
    """Join texts, each once, for a cell of a table."""
    return " / ".join(dict.fromkeys(texts))


def column_names(kind: type[attrs.AttrsInstance]) -> tuple[str, ...]:
    """Return the names of the columns of a class: of its attributes, unless their metadata give another name or ""."""
    return tuple(name for field in attrs.fields(kind) if (name := field.metadata.get("column", field.name)))


COLUMNS = column_names(Row)
"""The columns of a row in files, in their order."""
