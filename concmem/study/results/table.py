"""The rows of a study: one for each program and number of tasks, computed from all its runs."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence

import attrs

from concmem.comparison.intervals import Sample, median_interval
from concmem.study.results.row import Row, RowStatus, joined
from concmem.study.stats import Cost, cost
from concmem.study.store.records import Entry, Run, Study

__all__ = ["by_memory", "costs", "costs_of", "counted_runs", "largest_rows", "rows", "rows_of_runs"]


def rows(study: Study) -> list[Row]:
    """Return all rows of a study: programs in the plan's order, for each the numbers of tasks in ascending order."""
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


def largest_rows(study: Study) -> list[Row]:
    """Return a row for the largest number of tasks that ran, for each program that could not run a planned number."""
    entries = {entry.name: entry for entry in study.programs}
    groups: dict[tuple[str, int, int], list[Run]] = {}
    for run in study.runs:
        if run.instead_of is not None:
            groups.setdefault((run.program, run.tasks, run.instead_of), []).append(run)
    return [
        attrs.evolve(_row(entries[program], tasks, runs, study.plan.sleep_s), instead_of=instead_of)
        for (program, tasks, instead_of), runs in groups.items()
    ]


def rows_of_runs(study: Study) -> dict[tuple[str, int], list[Row]]:
    """Return a row for each single run with a figure, by program and number of tasks."""
    entries = {entry.name: entry for entry in study.programs}
    run_rows: dict[tuple[str, int], list[Row]] = {}
    for run in study.runs:
        if run.peak is not None and not run.was_busy and run.program in entries:
            row = _row(entries[run.program], run.tasks, [run], study.plan.sleep_s)
            run_rows.setdefault((run.program, run.tasks), []).append(row)
    return run_rows


def costs(study: Study) -> dict[str, Cost]:
    """
    Return the cost of a task in each program with figures at two or more numbers of tasks.

    Programs whose memory does not grow with the number of tasks are left out. With the workload ``spawn`` there are no
    costs: its tasks are never alive together.
    """
    return costs_of([*rows(study), *largest_rows(study)], study.plan.workload)


def costs_of(every: Iterable[Row], workload: str) -> dict[str, Cost]:
    """Return the same as `costs`, from the rows of a study, those of `largest_rows` included."""
    if workload == "spawn":
        return {}
    medians: dict[str, dict[int, int]] = {}
    errors: dict[str, dict[int, int]] = {}
    for row in every:
        if row.has_rank and row.median_bytes is not None:
            medians.setdefault(row.program, {})[row.tasks] = row.median_bytes
            errors.setdefault(row.program, {})[row.tasks] = max(row.over_bytes, row.error_bytes)
    fitted = {program: cost(by_tasks, errors[program]) for program, by_tasks in medians.items()}
    lines = {program: line for program, line in fitted.items() if line is not None}
    return {program: line for program, line in lines.items() if line.each_bytes > 0}


def by_memory(of_study: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    """
    Return the programs with their rows, least memory first.

    Programs are compared at the largest number of tasks, then at the next smaller one. At each size, programs that were
    only measured on a busy machine come after the others, and programs without a figure come last.
    """
    grouped: dict[str, list[Row]] = {}
    for row in of_study:
        grouped.setdefault(row.program, []).append(row)

    def key(item: tuple[str, list[Row]]) -> list[tuple[bool, float]]:
        return [(not row.has_rank, row.median_bytes or float("inf")) for row in reversed(item[1])]

    return sorted(grouped.items(), key=key)


def counted_runs(runs: Sequence[Run]) -> list[Run]:
    """Return the runs of a cell that its figures come from: runs on a busy machine only if there are no others."""
    with_figure = [run for run in runs if run.peak is not None and run.peak.bytes is not None]
    return [run for run in with_figure if not run.was_busy] or with_figure


def _row(entry: Entry, tasks: int, runs: Sequence[Run], sleep_s: float) -> Row:
    with_figure = [run for run in runs if run.peak is not None and run.peak.bytes is not None]
    good = counted_runs(with_figure)
    figures = [figure for run in good if (figure := run.peak) is not None]
    without = [run for run in runs if run not in with_figure]
    shares = [run.other_work.taken_share for run in good if run.other_work is not None]
    row = Row(
        program=entry.name,
        title=entry.title,
        language=entry.language,
        kind=entry.kind,
        variant=entry.variant,
        toolchain=entry.toolchain,
        toolchain_name=entry.toolchain_name,
        remarks=entry.remarks,
        flags=next((run.flags for run in runs), ()),
        tasks=tasks,
        sleep_s=max((run.sleep_s for run in good or runs), default=sleep_s),
        runs=len(runs),
        status=_status(runs, len(with_figure)),
        good_runs=len(good),
        busy_runs=sum(run.was_busy for run in with_figure),
        is_busy=bool(good) and all(run.was_busy for run in good),
        other_share=max(shares, default=None),
        limit=next((str(run.obstacles[0]) for run in runs if run.status != "ok" and run.obstacles), ""),
        reason=_reasons(map(_why_no_figure, without)) if runs else "the study is not finished",
        reason_limit=_reasons(run.named_limit for run in without if run.named_limit),
    )
    if not figures:
        return row
    peaks = [figure.bytes for figure in figures if figure.bytes is not None]
    interval = median_interval(Sample.of_figures(figures))
    measurements = [run.measurement for run in good if run.measurement is not None]
    rates = [run.rate_per_s for run in good if run.rate_per_s is not None]
    return attrs.evolve(
        row,
        median_bytes=round(statistics.median(peaks)),
        min_bytes=min(peaks),
        max_bytes=max(peaks),
        interval_low_bytes=round(interval.low) if interval else None,
        interval_high_bytes=round(interval.high) if interval else None,
        interval_confidence=interval.confidence if interval else None,
        error_bytes=max(figure.error_bytes for figure in figures),
        over_bytes=max(figure.over_bytes for figure in figures),
        figure_statuses=tuple(dict.fromkeys(figure.status for figure in figures)),
        sources=tuple(dict.fromkeys(figure.source for figure in figures)),
        plateau_bytes=_median_int(run.plateau.bytes for run in good if run.plateau is not None),
        left_over_bytes=_median_int(run.left_over.bytes for run in good if run.left_over is not None),
        rate_per_s=_median(rates),
        rate_min_per_s=min(rates, default=None),
        rate_max_per_s=max(rates, default=None),
        beyond_s=_median(run.measurement.wall_s - run.sleep_s for run in good if run.measurement is not None),
        wall_s=_median(each.wall_s for each in measurements),
        cpu_s=_median(each.user_s + each.system_s for each in measurements),
        launch_s=_median(run.launch_s for run in good),
        overshoot_s=_median(run.overshoot_s for run in good),
        peak_at_s=_median(run.peak_at_s for run in good),
        alive=min((run.alive for run in good if run.alive is not None), default=None),
        threads=max(each.max_threads for each in measurements),
        minor_faults=_median_int(each.minor_faults for each in measurements),
        major_faults=_median_int(each.major_faults for each in measurements),
    )


def _median(values: Iterable[float | None]) -> float | None:
    """Return the median of the values that are not None; None if all are."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _median_int(values: Iterable[int | None]) -> int | None:
    middle = _median(values)
    return None if middle is None else round(middle)


def _status(runs: Sequence[Run], good: int) -> RowStatus:
    if not runs:
        return "not run"
    if good:
        return "ok" if good == len(runs) else "partly"
    return "failed" if any(run.status != "skipped" for run in runs) else "skipped"


def _why_no_figure(run: Run) -> str:
    if run.reason:
        return run.reason
    figure = run.peak
    return f"its peak is unavailable: {figure.note}" if figure is not None else run.status


def _reasons(texts: Iterable[str]) -> str:
    """Join the reasons. If several differ only in numbers, keep the first of them."""
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(re.sub(r"\d[\d ,.]*", "0", text), text)
    return joined(first.values())
