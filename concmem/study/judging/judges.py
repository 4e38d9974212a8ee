"""The functions that judge the article's claims; the claims are in `concmem.study.judging.article`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from concmem.study.judging.found import Side, amounts, amounts_compared, amounts_of_side, both_sides
from concmem.study.judging.verdicts import Answer, Cells, at_least, median, span
from concmem.study.results.row import Row
from concmem.units import format_bytes, format_count, format_seconds

__all__ = [
    "ARTICLE",
    "LARGE",
    "NATIVE",
    "RUST_ASYNC",
    "THREADS",
    "Judge",
    "all_below",
    "any_above",
    "beats_a_rust_runtime",
    "cannot_run",
    "is_competitive",
    "is_within",
    "most_are_late",
    "needs_more_than_installed",
    "ranks_change",
    "times",
    "times_the_best",
    "under_idle",
]

RUST_ASYNC = ("rust-tokio", "rust-async-std")
NATIVE = ("rust-threads", *RUST_ASYNC, "go")
"""The programs that are compiled to machine code in advance."""
ARTICLE = (*NATIVE, "java-threads", "java-virtual-threads", "csharp", "nodejs", "python", "elixir")
"""The ten programs of the article."""
THREADS = ("rust-threads", "java-threads")
LARGE = tuple(program for program in ARTICLE if program not in THREADS)
"""The eight programs that the article compares at 100,000 tasks and more."""
_RUNTIMES = ("go", "java-threads", "csharp", "nodejs", "python", "elixir")
"""One program of each runtime except Rust's."""
_LATE_S = 2
"""The article's "over 12 s", with tasks that sleep 10 s."""

Judge = Callable[[Cells, int], tuple[Answer, str]]
"""Takes the figures and the number of tasks; returns whether the claim holds, and what was found."""


def all_below(lesser: Sequence[str], greater: Sequence[str]) -> Judge:
    """Judge whether every one of `lesser` needs less than every one of `greater`."""

    def judge(cells: Cells, tasks: int) -> tuple[Answer, str]:
        below, above = ([(program, tasks) for program in side] for side in (lesser, greater))
        answers = [cells.below(less, more) for less in below for more in above]
        sides = [amounts_of_side(cells, below, "largest", -1), amounts_of_side(cells, above, "smallest", 0)]
        # The programs that the claim is about come first: they are fewer.
        return at_least(len(answers), answers), both_sides(*(sides if len(lesser) <= len(greater) else sides[::-1]))

    return judge


def times(one: str, other: str, low: float, high: float, *, other_tasks: int | None = None) -> Judge:
    """Judge whether `one` needs more than `low` and less than `high` times what `other` needs with `other_tasks`."""

    def judge(cells: Cells, tasks: int) -> tuple[Answer, str]:
        keys = (one, tasks), (other, other_tasks or tasks)
        return cells.ratio(*keys, low, high), amounts_compared(cells, *keys)

    return judge


def times_the_best(program: str, others: Sequence[str], low: float) -> Judge:
    """Judge whether `program` needs more than `low` times what one of the others needs."""

    def judge(cells: Cells, tasks: int) -> tuple[Answer, str]:
        own, keys = (program, tasks), [(other, tasks) for other in others]
        answer = at_least(1, [cells.ratio(own, key, low, float("inf")) for key in keys])
        best = [(row.program, tasks) for row in cells.good(*keys)[:1]]
        return answer, amounts_compared(cells, own, *best)

    return judge


def any_above(program: str, others: Sequence[str]) -> Judge:
    """Judge whether at least one of `others` needs more than `program`."""

    def judge(cells: Cells, tasks: int) -> tuple[Answer, str]:
        own, keys = (program, tasks), [(other, tasks) for other in others]
        answers = {key: cells.below(own, key) for key in keys}
        above = cells.good(*(key for key, answer in answers.items() if answer.holds))
        larger = Side(f"more: {amounts(above)}") if above else amounts_of_side(cells, keys, "largest", -1)
        return at_least(1, list(answers.values())), both_sides(amounts_of_side(cells, [own], "largest", -1), larger)

    return judge


def is_within(program: str, low: float, high: float) -> Judge:
    """Judge whether `program` needs between `low` and `high` bytes."""

    def judge(cells: Cells, tasks: int) -> tuple[Answer, str]:
        if why := cells.why_not((program, tasks)):
            return Answer(None, (why,)), amounts([])
        (row,) = cells.good((program, tasks))
        ends = span(row)
        holds = ends.within(low, high)
        between = f"its range is {format_bytes(ends.low)} to {format_bytes(ends.high)}"
        return Answer(holds, () if holds is not None else (between,)), f"{amounts([row])} ({median(row) / 1e6:.3g} MB)"

    return judge


def cannot_run(program: str) -> Judge:
    """Judge whether no run of `program` had all tasks alive at once, with a limit of the machine below this number."""

    def judge(cells: Cells, tasks: int) -> tuple[Answer, str]:
        key = program, tasks
        row = cells.row(key)
        if row is not None and row.median_bytes is not None:
            return Answer(False), f"{row.figure_runs} of {row.runs} runs succeeded: {amounts([row])}"
        if row is not None and row.status in ("failed", "skipped") and row.limit:
            return Answer(True), f"{row.limit}; {row.reason}"
        return Answer(None, (cells.why_not(key),)), amounts([])

    return judge


def under_idle(cells: Cells, tasks: int) -> tuple[Answer, str]:
    """Judge whether Rust threads need less than at least two other runtimes need for one task."""
    threads = ("rust-threads", tasks)
    idle = {(runtime, 1): cells.below(threads, (runtime, 1)) for runtime in _RUNTIMES}
    above = cells.good(*(key for key, answer in idle.items() if answer.holds))
    shown = f"more with one task: {amounts(above)}"
    if not above:
        shown = f"no other runtime needs more with one task; the largest is {amounts(cells.good(*idle)[-1:])}"
    return at_least(2, list(idle.values())), f"{amounts(cells.good(threads))}; {shown}"


def is_competitive(cells: Cells, tasks: int) -> tuple[Answer, str]:
    """Judge whether C# is among the better half."""
    own, others = ("csharp", tasks), [(program, tasks) for program in LARGE if program != "csharp"]
    answer = at_least(len(LARGE) - len(LARGE) // 2, [cells.below(own, other) for other in others])
    found = amounts(cells.good(own))
    if cells.good(own):
        order = cells.good(own, *others)
        smaller = [row for row in order if cells.below((row.program, tasks), own).holds]
        tied = [
            row for row in order if row.program != "csharp" and cells.below((row.program, tasks), own).holds is None
        ]
        rank = f"{len(smaller) + 1}" + (f" to {len(smaller) + len(tied) + 1}" if tied else "")
        found += f", rank {rank} of {len(order)}" + (f" after {amounts(smaller)}" if smaller else "")
        found += f", tied within range and error with {amounts(tied)}" if tied else ""
    return answer, found


def needs_more_than_installed(cells: Cells, tasks: int) -> tuple[Answer, str]:
    """Judge whether at least one of the ten is stopped by a limit of the machine, or needs a flag of its runtime."""
    answers, stopped, flagged = list[Answer](), list[str](), list[str]()
    for key in [(program, tasks) for program in ARTICLE]:
        row = cells.row(key)
        if row is not None and row.status in ("failed", "skipped") and row.limit:
            stopped.append(f"{row.title} ({row.limit})")
            answers.append(Answer(True))
        elif row is not None and row.flags:
            flagged.append(f"{row.title} ({' '.join(row.flags)})")
            answers.append(Answer(True))
        else:
            answers.append(Answer(None, (why,)) if (why := cells.why_not(key)) else Answer(False))
    parts = [f"stopped by a limit: {', '.join(stopped)}"] if stopped else []
    parts += [f"run with a flag: {', '.join(flagged)}"] if flagged else []
    as_installed = sum(answer.holds is False for answer in answers)
    return at_least(1, answers), "; ".join([*parts, f"run as installed: {as_installed} of {len(ARTICLE)}"])


def ranks_change(few: int) -> Judge:
    """Judge whether some programs are in the better half only with `few` tasks, and others only with many."""

    def judge(cells: Cells, tasks: int) -> tuple[Answer, str]:
        answers, parts = [], []
        for good_at, bad_at in ((few, tasks), (tasks, few)):
            changes = {program: _changes(cells, program, good_at, bad_at) for program in LARGE}
            rows = [row for program in LARGE if changes[program].holds and (row := cells.row((program, good_at)))]
            answers.append(at_least(1, list(changes.values())))
            names = ", ".join(row.title for row in rows) or "none"
            size = f"{format_count(good_at)} task{'' if good_at == 1 else 's'}"
            parts.append(f"in the better half only with {size}: {names}")
        return at_least(2, answers), "; ".join(parts)

    return judge


def _changes(cells: Cells, program: str, good_at: int, bad_at: int) -> Answer:
    """Return whether a program is in the better half with one number of tasks and in the worse half with the other."""
    half, others = len(LARGE) // 2, [other for other in LARGE if other != program]
    below = at_least(half, [cells.below((program, good_at), (other, good_at)) for other in others])
    above = at_least(half, [cells.below((other, bad_at), (program, bad_at)) for other in others])
    return at_least(2, [below, above])


def beats_a_rust_runtime(cells: Cells, tasks: int) -> tuple[Answer, str]:
    """Judge whether C# needs less than one of Rust's asynchronous programs."""
    own = ("csharp", tasks)
    answers = {(runtime, tasks): cells.below(own, (runtime, tasks)) for runtime in RUST_ASYNC}
    beaten = cells.good(*(key for key, answer in answers.items() if answer.holds))
    found = amounts(cells.good(own, *answers))
    if beaten:
        found += f"; C# needs less than {' and '.join(row.title for row in beaten)}"
    return at_least(1, list(answers.values())), found


def most_are_late(cells: Cells, tasks: int) -> tuple[Answer, str]:
    """Judge whether more than half take over `_LATE_S` longer than their tasks sleep."""
    keys = [(program, tasks) for program in LARGE]
    answers = [
        Answer(None, (why,)) if (why := cells.why_not(key)) else Answer(_is_late(cells.good(key)[0])) for key in keys
    ]
    good = sorted(cells.good(*keys), key=_wall_s)
    late = [row for row in good if _is_late(row)]
    times_s = ", ".join(
        f"{row.title} {format_seconds(_wall_s(row))}" + (f" (slept {row.sleep_s:g} s)" if row.sleep_s != 10 else "")
        for row in late
    )
    found = f"{len(late)} of {len(good)}" + (f": {times_s}" if late else "")
    return at_least(len(LARGE) // 2 + 1, answers), found if good else amounts([])


def _wall_s(row: Row) -> float:
    assert row.wall_s is not None
    return row.wall_s


def _is_late(row: Row) -> bool:
    return row.beyond_s is not None and row.beyond_s > _LATE_S
