"""What stands in tables beside peak memory: rates, what is left over, and what one task costs."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from concmem.report.sentences import by_memory
from concmem.study import Cost, Row, Study, costs
from concmem.study.workloads import workload
from concmem.units import format_bytes, format_count

__all__ = ["COST_HEAD", "Grid", "cost_lines", "cost_sentence", "format_rate", "grids"]

COST_HEAD = ("program", "floor", "95 %", "a task", "95 %", "strays most")


@attrs.frozen
class Grid:
    """
    One quantity of every program, a column for every number of tasks.

    Attributes:
        heading: What it is.
        lines: Of each program its name and its texts; "" where there is no figure.
    """

    heading: str
    lines: tuple[tuple[str, tuple[str, ...]], ...]


def grids(study: Study) -> list[Grid]:
    """What the study's workload measures beside peak memory; nothing where tasks only sleep."""
    work = workload(study.plan.workload)
    made = []
    if work.rate_of == "tasks":
        made.append(_grid("Tasks started and ended a second", study, _rate))
        made.append(_grid("Memory left over after all tasks", study, _left_over))
    elif work.rate_of == "messages":
        made.append(_grid("Messages handed over a second", study, _rate))
    return made


def cost_sentence() -> str:
    """How to read `cost_lines`."""
    return (
        "A line through all cells of a program, by relative deviation: its floor, what each task adds, both with their "
        "95 % intervals, and the cell that strays most from it"
    )


def cost_lines(study: Study) -> list[tuple[str, ...]]:
    """What a task costs in each program, the cheapest first, in the columns of `COST_HEAD`."""
    found = costs(study)
    return [_cost_line(program, found[program]) for program in sorted(found, key=lambda name: found[name].each_bytes)]


def _cost_line(program: str, cost: Cost) -> tuple[str, ...]:
    return (
        program,
        format_bytes(cost.floor_bytes),
        _interval(cost.floor_low_bytes, cost.floor_high_bytes, format_bytes),
        _each(cost.each_bytes),
        _interval(cost.each_low_bytes, cost.each_high_bytes, _each),
        f"{cost.worst:.0%} at {format_count(cost.worst_tasks)}" if len(cost.tasks) > 2 else "",
    )


def _each(count: float) -> str:
    """Bytes of a task, which are few enough for a plain number."""
    return f"{format_count(round(count))} B" if abs(count) < 1e6 else format_bytes(count)


def _interval(low: float | None, high: float | None, form: Callable[[float], str]) -> str:
    return "" if low is None or high is None else f"{form(low)} to {form(high)}"


def _grid(heading: str, study: Study, text: Callable[[Row], str]) -> Grid:
    lines = ((program, tuple(text(row) for row in group)) for program, group in by_memory(study))
    return Grid(heading, tuple(lines))


def format_rate(rate_per_s: float) -> str:
    """Three digits: more are not known of what is timed from outside."""
    digits = max(0, len(str(int(rate_per_s))) - 3)
    return format_count(int(round(rate_per_s, -digits)))


def _rate(row: Row) -> str:
    return "" if row.rate_per_s is None else format_rate(row.rate_per_s)


def _left_over(row: Row) -> str:
    return "" if row.left_over_bytes is None else format_bytes(row.left_over_bytes)
