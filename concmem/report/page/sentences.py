"""The sentences of the page: titles that state findings, and the commands that repeat the study."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from concmem.report.charts.lines import Quantity
from concmem.report.charts.study import finding
from concmem.report.sentences import number_of
from concmem.report.tables.extra import format_rate
from concmem.report.ties import Standing, by_run, ends, in_words, named, need, of_rows
from concmem.study import Cost, Row, Study
from concmem.study.judging.verdicts import Span, largest, least, span
from concmem.study.plan import Plan
from concmem.study.stats import ENOUGH_RUNS, WIDE_SPREAD
from concmem.study.workloads import workload
from concmem.units import format_bytes, format_count, format_seconds

__all__ = [
    "bars_title",
    "commands",
    "cost_title",
    "costs_title",
    "deck",
    "growth_title",
    "headline",
    "quantity_title",
    "start_title",
    "table_title",
    "timelines_title",
]

Runs = Mapping[tuple[str, int], Sequence[Row]]
"""The rows of single runs, as from `concmem.study.rows_of_runs`."""

_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def _count(number: int, what: str) -> str:
    """Return a count in words: ``three programs``."""
    word = _SMALL[number] if number < len(_SMALL) else format_count(number)
    return f"{word} {what}{'' if number == 1 else 's'}"


def _largest(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with a comparable figure at the largest number of tasks that has one."""
    good = [row for row in rows if row.has_rank]
    most = max((row.tasks for row in good if row.instead_of is None), default=0)
    return [row for row in good if row.tasks == most]


def headline(rows: Sequence[Row]) -> str:
    """Return the study in one sentence."""
    good = _largest(rows)
    both = ends(of_rows(good))
    if both is None:
        return finding(good or rows)
    lean, fat = both
    tasks = good[0].tasks
    take = f"{number_of(tasks)} take{'s' if tasks == 1 else ''}"
    amounts = f"{in_words(lean, format_bytes)} in {named(lean)}, {in_words(fat, format_bytes)} in {named(fat)}"
    failed = [row for row in rows if row.tasks == tasks and row.status in ("failed", "skipped") and row.toolchain]
    return f"{take} {amounts}; {_count(len(failed), 'program')} cannot run them" if failed else f"{take} {amounts}"


def deck(study: Study, rows: Sequence[Row]) -> str:
    """Return what was done, in a few sentences."""
    plan = study.plan
    sizes = [format_count(tasks) for tasks in plan.tasks]
    listed = sizes[0] if len(sizes) == 1 else f"{', '.join(sizes[:-1])} and {sizes[-1]}"
    programs, languages = len({row.program for row in rows}), len({row.language for row in rows})
    does = workload(plan.workload).title.format(seconds=plan.sleep_s)
    made = sum(run.status != "skipped" for run in study.runs)
    begun = f"{_count(programs, 'program')} in {_count(languages, 'language')}"
    return (
        f"{begun[0].upper()}{begun[1:]} start {listed} {does}. Each figure is the peak memory of a program and "
        f"everything that it started. It is read from the kernel, not from the runtime. {_run_count(made)}."
    )


def _run_count(made: int) -> str:
    return "1 run was made" if made == 1 else f"{format_count(made)} runs were made, one after another"


def bars_title(rows: Sequence[Row]) -> str:
    """Return the programs that need least with few tasks, and with many."""
    sizes = sorted({row.tasks for row in rows if row.has_rank and row.instead_of is None})
    tied = [_least([row for row in rows if row.tasks == size and row.has_rank]) for size in sizes]
    first_of = [need(each) for each in tied]
    if len(sizes) < 2:
        return finding(rows)
    if len({row.program for row in rows}) == 1:
        return growth_title(rows)
    if len(set(first_of)) == 1:
        return f"{first_of[0]} least with every number of tasks"
    first, last = number_of(sizes[0]), format_count(sizes[-1])
    if first_of[0] == first_of[-1]:
        return f"{first_of[0]} least with {first} and with {last}, but not with every number between"
    return f"{first_of[0]} least with {first}, {named(tied[-1])} with {last}"


def _least(rows: Sequence[Row]) -> list[Standing]:
    """Return the programs that may need least."""
    standings = of_rows(rows)
    return [standings[i] for i in least([each.span for each in standings])]


def quantity_title(rows: Sequence[Row], runs: Runs, quantity: Quantity) -> str:
    """Return the programs with the smallest and the largest amount, at the largest number of tasks."""
    good = _largest([row for row in rows if quantity.of(row) is not None])
    title = f"{quantity.title[0].upper()}{quantity.title[1:]}"
    both = ends(by_run(good, runs, quantity.of))
    if both is None:
        return title
    low, high = both
    text = quantity.scale.text
    return f"{title}: {named(low)} {in_words(low, text)}, {named(high)} {in_words(high, text)}"


def growth_title(rows: Sequence[Row]) -> str:
    """Return the programs with the fastest and the slowest growth of memory with the number of tasks."""
    found = []
    for program in dict.fromkeys(row.program for row in rows):
        good = [row for row in rows if row.program == program and row.has_rank]
        if len(good) > 1 and good[-1].tasks == max(row.tasks for row in rows):
            factor = (good[-1].median_bytes or 0) / (good[0].median_bytes or 1)
            found.append(Standing(good[-1].title, factor, span(good[-1]) / span(good[0])))
    sizes = sorted({row.tasks for row in rows if row.instead_of is None})
    if not found:
        which = "These figures do" if len(sizes) > 1 else "One number of tasks does"
        return f"{which} not show how memory grows"
    between = f"From {number_of(sizes[0])} to {format_count(sizes[-1])}"
    found.sort(key=lambda each: each.amount)
    both = ends(found)
    if both is None:
        return f"{between}, {need(found, 'grow')} {in_words(found, _times)}"
    slow, fast = both
    return f"{between}, {need(fast, 'grow')} {in_words(fast, _times)}, {named(slow)} {in_words(slow, _times)}"


def _times(factor: float) -> str:
    return f"{factor:.{1 if factor < 9.95 else 0}f}-fold" if factor < 999.5 else f"{format_count(round(factor))}-fold"


def costs_title(costs: Mapping[str, Cost], titles: Mapping[str, str]) -> str:
    """Return the programs with the least and the most memory per task."""
    found = sorted((_price(titles[program], cost) for program, cost in costs.items()), key=lambda each: each.amount)
    if not found:
        return "These sizes do not show the cost of a task"
    both = ends(found)
    if both is None:
        return f"A task costs {in_words(found, format_bytes)} in {named(found)}"
    lean, fat = both
    return (
        f"A task costs {in_words(lean, format_bytes)} in {named(lean)}, {in_words(fat, format_bytes)} in {named(fat)}"
    )


def _price(title: str, cost: Cost) -> Standing:
    low, high = cost.each_low_bytes, cost.each_high_bytes
    each = cost.each_bytes
    return Standing(title, each, Span(each if low is None else low, each if high is None else high))


def cost_title(costs: Mapping[str, Cost], part: str) -> str:
    """Return the range of one part of the cost: ``each`` or ``floor``."""
    what = {"each": "A task adds", "floor": "Without a task, a program takes"}[part]
    found = [amount for cost in costs.values() if (amount := getattr(cost, f"{part}_bytes")) > 0]
    return f"{what} {format_bytes(min(found))} to {format_bytes(max(found))}" if len(found) > 1 else what


def start_title(study: Study, rows: Sequence[Row], runs: Runs) -> str:
    """Return the programs that start their tasks first and last, or pass most and fewest messages."""
    good, does = _largest(rows), workload(study.plan.workload)
    both = ends(by_run(good, runs, lambda row: row.launch_s if does.rate is None else row.rate_per_s))
    if both is None:
        return "Starting the tasks"
    low, high = both
    if does.rate is None:
        have = "has" if len(low) == 1 else "have"
        start = f"{named(low)} {have} started {number_of(good[0].tasks)} after {in_words(low, format_seconds)}"
        return f"{start}, {named(high)} after {in_words(high, format_seconds)}"
    fast, slow = in_words(high, format_rate), in_words(low, format_rate)
    most = need(high, "make")
    return f"With {number_of(good[0].tasks)}, {most} {fast} {does.rate_of} a second, {named(low)} {slow}"


_STEADY = {"sleep": "while tasks sleep", "spawn": "after all tasks", "channel": "while the message is passed on"}


def timelines_title(study: Study) -> str:
    """Return the program with the highest peak, relative to its memory in the steady phase."""
    titles = {entry.name: entry.title for entry in study.programs}
    of_cells: dict[tuple[str, int], list[float]] = {}
    for run in study.runs:
        if run.was_busy or run.peak is None or run.plateau is None:
            continue
        if run.peak.bytes and run.plateau.bytes:
            of_cells.setdefault((run.program, run.tasks), []).append(run.peak.bytes / run.plateau.bytes)
    if not of_cells:
        return "Memory over time, run by run"
    standings = [
        (tasks, Standing(titles.get(program, program), max(found), Span(min(found), max(found))))
        for (program, tasks), found in of_cells.items()
    ]
    first = [standings[i] for i in largest([each.span for _, each in standings])]
    factor = max(each.amount for _, each in first)
    # Each program once, even if several of its sizes tie.
    tied = list({each.title: each for _, each in sorted(first, key=lambda pair: pair[1].amount)}.values())
    held = _STEADY[study.plan.workload]
    if factor < 1.005:
        return f"No program's peak is above the memory that it holds {held}"
    if factor < 1 + WIDE_SPREAD:
        return f"No program's peak is more than {factor - 1:.0%} above the memory that it holds {held}"
    by = in_words(tied, lambda factor: f"{factor - 1:.0%}")
    hold = "it holds" if len(tied) == 1 else "they hold"
    where = f", at {number_of(first[0][0])}" if len(first) == 1 else ""
    return f"{need(tied, 'peak')} highest above the memory that {hold} {held}: by {by}{where}"


def table_title(rows: Sequence[Row]) -> str:
    """Return how reliable the figures are."""
    good = [row for row in rows if row.median_bytes is not None]
    wide, few = sum(row.is_wide for row in good), sum(not row.is_enough for row in good)
    parts = [f"{len(good)} of {len(rows)} rows have a figure"]
    parts.append(f"{few} of fewer than {ENOUGH_RUNS} runs" if few else f"all of {ENOUGH_RUNS} runs or more")
    if busy := sum(row.is_busy for row in good):
        parts.append(f"{busy} measured on a busy machine")
    parts.append(f"{wide or 'none'} with a range above {WIDE_SPREAD:.0%}")
    return ", ".join(parts)


def commands(study: Study) -> list[str]:
    """Return the commands that repeat the study."""
    plan = study.plan
    further = plan.programs if any(entry.variant != "article" for entry in study.programs) else ()
    runs = ",".join([str(plan.runs), *(f"{_short(tasks)}:{runs}" for tasks, runs in plan.runs_at)])
    bench = ["concmem", "bench", "--programs", ",".join(plan.programs), "--tasks", ",".join(map(_short, plan.tasks))]
    bench += ["--runs", runs, "--sleep", f"{plan.sleep_s:g}", "--seed", str(plan.seed)]
    if plan.workload != Plan().workload:
        bench += ["--workload", plan.workload]
    places = [word for directory in plan.programs_dirs for word in ("--programs-dir", directory)]
    return [
        shlex.join(["concmem", "toolchains", "install", *further, *places]),
        shlex.join([*bench, *places, "--out", "again"]),
        "concmem report again",
    ]


def _short(count: int) -> str:
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if count % size == 0:
            return f"{count // size}{letter}"
    return str(count)
