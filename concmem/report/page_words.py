"""What the page says of a study: titles that are findings, and how it is repeated."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

from concmem.report._words import number_of
from concmem.report.charts_bars import in_order
from concmem.report.charts_lines import Quantity
from concmem.report.figures import finding
from concmem.report.grids import format_rate
from concmem.study import Cost, Row, Study
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

_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def _count(number: int, what: str) -> str:
    """``three programs``."""
    word = _SMALL[number] if number < len(_SMALL) else format_count(number)
    return f"{word} {what}{'' if number == 1 else 's'}"


def _ends(found: Iterable[tuple[float, str]]) -> tuple[tuple[float, str], tuple[float, str]] | None:
    """The least and the largest; None with fewer than two."""
    ordered = sorted(found)
    return (ordered[0], ordered[-1]) if len(ordered) > 1 else None


def _largest(rows: Sequence[Row]) -> list[Row]:
    """The rows with a figure to compare at the largest number of tasks that any has one at."""
    good = [row for row in rows if row.has_rank]
    most = max((row.tasks for row in good if row.instead_of is None), default=0)
    return [row for row in good if row.tasks == most]


def headline(rows: Sequence[Row]) -> str:
    """The study in one sentence."""
    good = _largest(rows)
    ends = _ends((row.median_bytes or 0, row.title) for row in good)
    if not ends:
        return finding(good or rows)
    (least, lean), (most, fat) = ends
    tasks = good[0].tasks
    take = f"{number_of(tasks)} take{'s' if tasks == 1 else ''}"
    said = f"{take} {format_bytes(least)} in {lean}, {format_bytes(most)} in {fat}"
    failed = [row for row in rows if row.tasks == tasks and row.status in ("failed", "skipped") and row.toolchain]
    return f"{said}; {_count(len(failed), 'program')} cannot run them" if failed else said


def deck(study: Study, rows: Sequence[Row]) -> str:
    """What was done, in a few sentences."""
    plan = study.plan
    sizes = [format_count(tasks) for tasks in plan.tasks]
    listed = sizes[0] if len(sizes) == 1 else f"{', '.join(sizes[:-1])} and {sizes[-1]}"
    programs, languages = len({row.program for row in rows}), len({row.language for row in rows})
    does = workload(plan.workload).title.format(seconds=plan.sleep_s)
    made = sum(run.status != "skipped" for run in study.runs)
    begun = f"{_count(programs, 'program')} in {_count(languages, 'language')}"
    return (
        f"{begun[0].upper()}{begun[1:]} start {listed} {does}. Each figure is the peak memory of a program with all "
        f"that it started, read from the kernel, not from the runtime. {_run_count(made)}, one after the other."
    )


def _run_count(made: int) -> str:
    return f"{format_count(made)} run{' was' if made == 1 else 's were'} made"


def bars_title(rows: Sequence[Row]) -> str:
    """Who needs least with few tasks, and who with many."""
    sizes = sorted({row.tasks for row in rows if row.has_rank and row.instead_of is None})
    least = [in_order([row for row in rows if row.tasks == size])[0].title for size in sizes]
    if len(sizes) < 2:
        return finding(rows)
    if len({row.program for row in rows}) == 1:
        return growth_title(rows)
    if len(set(least)) == 1:
        return f"{least[0]} needs least with every number of tasks"
    first, last = number_of(sizes[0]), format_count(sizes[-1])
    if least[0] == least[-1]:
        return f"{least[0]} needs least with {first} and with {last}, but not with every number between"
    return f"{least[0]} needs least with {first}, {least[-1]} with {last}"


def quantity_title(rows: Sequence[Row], quantity: Quantity) -> str:
    """Who has least and who most of it, with the most tasks."""
    good = _largest([row for row in rows if quantity.of(row) is not None])
    found = [(amount, row.title) for row in good if (amount := quantity.of(row)) is not None]
    title = f"{quantity.title[0].upper()}{quantity.title[1:]}"
    ends = _ends(found)
    if not ends:
        return title
    (least, lean), (most, fat) = ends
    return f"{title}: {lean} {quantity.scale.text(least)}, {fat} {quantity.scale.text(most)}"


def growth_title(rows: Sequence[Row]) -> str:
    """Whose memory grows most with the number of tasks, and whose least."""
    found = []
    for program in dict.fromkeys(row.program for row in rows):
        good = [row for row in rows if row.program == program and row.has_rank]
        if len(good) > 1 and good[-1].tasks == max(row.tasks for row in rows):
            found.append(((good[-1].median_bytes or 0) / (good[0].median_bytes or 1), good[-1].title))
    sizes = sorted({row.tasks for row in rows if row.instead_of is None})
    if not found:
        return "Of growth these figures say nothing" if len(sizes) > 1 else "One number of tasks says nothing of growth"
    span = f"From {number_of(sizes[0])} to {format_count(sizes[-1])}"
    ends = _ends(found)
    if not ends:
        return f"{span}, {found[0][1]} grows {_times(found[0][0])}"
    (least, slow), (most, fast) = ends
    return f"{span}, {fast} grows {_times(most)}, {slow} {_times(least)}"


def _times(factor: float) -> str:
    return f"{factor:.{1 if factor < 9.95 else 0}f}-fold" if factor < 999.5 else f"{format_count(round(factor))}-fold"


def costs_title(costs: Mapping[str, Cost], titles: Mapping[str, str]) -> str:
    """Where a task is cheapest, and where dearest."""
    found = [(cost.each_bytes, titles[program]) for program, cost in costs.items()]
    ends = _ends(found)
    if len(found) == 1:
        return f"A task costs {format_bytes(found[0][0])} in {found[0][1]}"
    if not ends:
        return "What a task costs cannot be told from these sizes"
    (least, lean), (most, fat) = ends
    return f"A task costs {format_bytes(least)} in {lean}, {format_bytes(most)} in {fat}"


def cost_title(costs: Mapping[str, Cost], titles: Mapping[str, str], part: str) -> str:
    """The least and the most of one part of a cost: ``each`` or ``floor``."""
    what = {"each": "A task adds", "floor": "Without a task there are"}[part]
    found = [(getattr(cost, f"{part}_bytes"), titles[program]) for program, cost in costs.items()]
    ends = _ends(each for each in found if each[0] > 0)
    return what if ends is None else f"{what} {format_bytes(ends[0][0])} to {format_bytes(ends[1][0])}"


def start_title(study: Study, rows: Sequence[Row]) -> str:
    """Who is through with its tasks' start, or passes most messages: fastest and slowest."""
    good, does = _largest(rows), workload(study.plan.workload)
    of = [(row.launch_s if does.rate is None else row.rate_per_s, row.title) for row in good]
    ends = _ends((amount, title) for amount, title in of if amount is not None)
    if not ends:
        return "Starting the tasks"
    (least, one), (most, other) = ends
    if does.rate is None:
        start = f"{one} has started {number_of(good[0].tasks)} after {format_seconds(least)}"
        return f"{start}, {other} after {format_seconds(most)}"
    fast, slow = map(format_rate, (most, least))
    return f"With {number_of(good[0].tasks)}, {other} makes {fast} {does.rate_of} a second, {one} {slow}"


_STEADY = {"sleep": "while its tasks sleep", "spawn": "after its tasks", "channel": "while its message goes round"}


def timelines_title(study: Study) -> str:
    """Which program's peak stands highest above what it holds in the steady time."""
    found = [
        (run.peak.bytes / run.plateau.bytes, run)
        for run in study.runs
        if run.peak is not None
        and run.peak.bytes
        and not run.was_busy
        and run.plateau is not None
        and run.plateau.bytes
    ]
    if not found:
        return "Memory over time, run by run"
    factor, run = max(found, key=lambda each: each[0])
    title = next((entry.title for entry in study.programs if entry.name == run.program), run.program)
    held = _STEADY[study.plan.workload]
    if factor < 1.005:
        return f"No program's peak is above what it holds {held}"
    if factor < 1 + WIDE_SPREAD:
        return f"No program's peak is more than {factor - 1:.0%} above what it holds {held}"
    return f"{title} peaks highest above what it holds {held}: by {factor - 1:.0%}, at {number_of(run.tasks)}"


def table_title(rows: Sequence[Row]) -> str:
    """How far the figures can be relied on."""
    good = [row for row in rows if row.median_bytes is not None]
    wide, few = sum(row.is_wide for row in good), sum(not row.is_enough for row in good)
    said = [f"{len(good)} of {len(rows)} rows have a figure"]
    said.append(f"{few} of fewer than {ENOUGH_RUNS} runs" if few else f"all of {ENOUGH_RUNS} runs or more")
    if busy := sum(row.is_busy for row in good):
        said.append(f"{busy} measured on a busy machine")
    said.append(f"{wide or 'none'} with a range above {WIDE_SPREAD:.0%}")
    return ", ".join(said)


def commands(study: Study) -> list[str]:
    """What makes the same study again."""
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
