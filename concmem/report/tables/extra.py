"""Further tables: rates, memory left over, and the cost of a task."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from concmem.study import Cost, Row
from concmem.study.results.results import Results
from concmem.study.workloads import workload
from concmem.units import format_bytes, format_count

__all__ = ["COST_HEAD", "ExtraTable", "cost_lines", "cost_sentence", "extra_tables", "format_rate"]

COST_HEAD = ("program", "floor", "95 %", "a task", "95 %", "worst misfit")


@attrs.frozen
class ExtraTable:
    """
    A table of one quantity, with one column for each number of tasks.

    Attributes:
        heading: The heading.
        lines: The name and the texts of each program; "" if there is no figure.
    """

    heading: str
    lines: tuple[tuple[str, tuple[str, ...]], ...]


def extra_tables(results: Results) -> list[ExtraTable]:
    """Return the tables of what the workload measures besides peak memory; none if tasks only sleep."""
    work = workload(results.study.plan.workload)
    tables = []
    if work.rate_of == "tasks":
        tables.append(_grid("Tasks started and ended per second", results, _rate))
        tables.append(_grid("Memory left over after all tasks", results, _left_over))
    elif work.rate_of == "messages":
        tables.append(_grid("Messages passed per second", results, _rate))
    return tables


def cost_sentence() -> str:
    """Return how to read `cost_lines`."""
    return (
        "A straight line is fitted to all cells of a program by relative deviation. The floor is its value without a "
        "task, its slope is what each task adds, both with 95 % intervals that contain the figures' errors. The worst "
        "misfit is the cell farthest from the line"
    )


def cost_lines(results: Results) -> list[tuple[str, ...]]:
    """Return the cost of a task in each program, least first, in the columns of `COST_HEAD`."""
    found = results.costs
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
    """Format the bytes of a task: as a plain number, unless it is large."""
    return f"{format_count(round(count))} B" if abs(count) < 1e6 else format_bytes(count)


def _interval(low: float | None, high: float | None, form: Callable[[float], str]) -> str:
    return "" if low is None or high is None else f"{form(low)} to {form(high)}"


def _grid(heading: str, results: Results, text: Callable[[Row], str]) -> ExtraTable:
    lines = ((program, tuple(text(row) for row in group)) for program, group in results.by_memory)
    return ExtraTable(heading, tuple(lines))


def format_rate(rate_per_s: float) -> str:
    """Format a rate with three digits; timing from outside is no more exact."""
    digits = max(0, len(str(int(rate_per_s))) - 3)
    return format_count(int(round(rate_per_s, -digits)))


def _rate(row: Row) -> str:
    return "" if row.rate_per_s is None else format_rate(row.rate_per_s)


def _left_over(row: Row) -> str:
    return "" if row.left_over_bytes is None else format_bytes(row.left_over_bytes)
