"""Every program at every number of tasks as one row, all its runs taken together."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Literal

import attrs

from concmem.study.records import Entry, Run, Study

__all__ = ["Row", "rows"]

RowStatus = Literal["ok", "partly", "failed", "skipped", "not run"]


@attrs.frozen(kw_only=True)
class Row:
    """
    One program at one number of tasks.

    Attributes:
        program, title, language, kind, toolchain: Which program, and what ran it.
        flags: Flags of the runtime that belong to the row.
        tasks: How many tasks were alive at once.
        sleep_s: The longest sleep that a run needed.
        runs: How many runs are stored.
        status: ``ok``, ``partly`` (some runs failed: the figures are those of the others), ``failed``, ``skipped``,
            or ``not run`` (the study is not finished).
        good_runs: How many of them have a figure.
        median_bytes, min_bytes, max_bytes: Of the peaks; None without a figure.
        error_bytes: By how much the truth can exceed a run's figure: the largest of the runs.
        over_bytes: By how much a figure can exceed the truth.
        figure_status, source: Of the figures; several are joined by " / ".
        wall_s, launch_s: Medians; None without a figure.
        reason: Why not ``ok``, in one sentence.
    """

    program: str
    title: str
    language: str
    kind: str
    toolchain: str
    flags: tuple[str, ...]
    tasks: int
    sleep_s: float
    runs: int
    status: RowStatus
    good_runs: int
    median_bytes: int | None = None
    min_bytes: int | None = None
    max_bytes: int | None = None
    error_bytes: int = 0
    over_bytes: int = 0
    figure_status: str = ""
    source: str = ""
    wall_s: float | None = None
    launch_s: float | None = None
    reason: str = ""


def rows(study: Study) -> list[Row]:
    """All rows of a study: programs in the plan's order, for each the numbers of tasks in ascending order."""
    entries = {entry.name: entry for entry in study.programs}
    stored: dict[tuple[str, int], list[Run]] = {}
    for run in study.runs:
        stored.setdefault((run.program, run.tasks), []).append(run)
    return [
        _row(entries[program], tasks, stored.get((program, tasks), []), study.plan.sleep_s)
        for program in study.plan.programs
        if program in entries
        for tasks in study.plan.tasks
    ]


def _row(entry: Entry, tasks: int, runs: Sequence[Run], sleep_s: float) -> Row:
    figures = [figure for run in runs if (figure := run.peak) is not None and figure.bytes is not None]
    good = [run for run in runs if run.peak is not None and run.peak.bytes is not None]
    row = Row(
        program=entry.name,
        title=entry.title,
        language=entry.language,
        kind=entry.kind,
        toolchain=entry.toolchain,
        flags=next((run.flags for run in runs), ()),
        tasks=tasks,
        sleep_s=max((run.sleep_s for run in good or runs), default=sleep_s),
        runs=len(runs),
        status=_status(runs, len(good)),
        good_runs=len(good),
        reason=_joined(_why_none(run) for run in runs if run not in good) if runs else "the study has not come to it",
    )
    if not figures:
        return row
    peaks = [figure.bytes for figure in figures if figure.bytes is not None]
    return attrs.evolve(
        row,
        median_bytes=round(statistics.median(peaks)),
        min_bytes=min(peaks),
        max_bytes=max(peaks),
        error_bytes=max(figure.error_bytes for figure in figures),
        over_bytes=max(figure.over_bytes for figure in figures),
        figure_status=_joined(figure.status for figure in figures),
        source=_joined(figure.source for figure in figures),
        wall_s=statistics.median(run.measurement.wall_s for run in good if run.measurement is not None),
        launch_s=statistics.median(run.launch_s for run in good if run.launch_s is not None),
    )


def _status(runs: Sequence[Run], good: int) -> RowStatus:
    if not runs:
        return "not run"
    if good:
        return "ok" if good == len(runs) else "partly"
    return "failed" if any(run.status != "skipped" for run in runs) else "skipped"


def _why_none(run: Run) -> str:
    if run.reason:
        return run.reason
    figure = run.peak
    return f"its peak is unavailable: {figure.note}" if figure is not None else run.status


def _joined(texts: Iterable[str]) -> str:
    return " / ".join(dict.fromkeys(texts))
