"""Tables of rates, of what is left over, and of what a task costs."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from concmem.model import Figure
from concmem.report.tables.extra import cost_lines, grids
from concmem.report.tables.peaks import markdown, print_table
from concmem.study import Study


def printed(study: Study) -> str:
    out = io.StringIO()
    print_table(study, Console(file=out, width=80))
    return out.getvalue()


def test_a_task_s_cost_stands_apart_from_the_floor(make_study: Callable[..., Study]) -> None:
    """20 MiB and 1 KiB a task, found again; the cheaper task comes first; two cells have no interval."""
    line = {("go", n): [20 + n / 1024] for n in (1, 10_000, 100_000)}
    study = make_study("it", {**line, ("lean", 1): [2], ("lean", 2048): [3]})
    lean, go = cost_lines(study)
    assert (lean[:2], lean[2:5]) == (("lean", "2.00 MiB"), ("", "512 B", ""))
    assert (go[0], go[1], go[3], go[5][:2]) == ("go", "20.0 MiB", "1 024 B", "0%")
    assert "What a task costs" in printed(study) and "## What a task costs" in markdown(study)
    assert max(map(len, printed(study).splitlines())) <= 80


def test_a_task_s_cost_is_not_cut(make_study: Callable[..., Study]) -> None:
    """In 80 columns too long names and intervals are there in full."""
    name, peaks = "java-virtual-threads", {1: [39.5], 1_000: [45.7], 100_000: [115], 1_000_000: [2000]}
    study = make_study("it", {(name, tasks): mib for tasks, mib in peaks.items()})
    text = printed(study)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text and max(map(len, text.splitlines())) <= 80
    ((_, floor, *_, worst),) = cost_lines(study)
    assert floor in text and worst.split(" at ")[1] in text


def test_one_cell_has_no_cost(make_study: Callable[..., Study]) -> None:
    """Through one point there is no line, and no table."""
    study = make_study("it", {("go", 1): [20]})
    assert cost_lines(study) == [] and "What a task costs" not in printed(study)


@pytest.mark.parametrize(
    ("workload", "headings"),
    [
        ("sleep", []),
        ("spawn", ["Tasks started and ended a second", "Memory left over after all tasks"]),
        ("channel", ["Messages handed over a second"]),
    ],
)
def test_each_workload_has_its_own_tables(make_study: Callable[..., Study], workload: str, headings: list[str]) -> None:
    """Rates in three digits, medians of the runs; and the text says what the tasks do."""
    run = {"rate_per_s": 1_234_567.0, "left_over": Figure(5 << 20, "bounded", "statm")}
    study = make_study("it", {("go", 10): [1, 2, 3]}, plan={"workload": workload}, run=run)
    found = grids(study)
    assert [grid.heading for grid in found] == headings
    if found:
        assert found[0].lines == (("go", ("1 230 000",)),)
    if workload == "spawn":
        assert found[1].lines == (("go", ("5.00 MiB",)),)
    text = markdown(study)
    assert all(f"## {heading}" in text for heading in headings) and all(
        heading in printed(study) for heading in headings
    )
    assert {"sleep": "that sleep", "spawn": "end at once", "channel": "round a ring"}[workload] in text


def test_what_has_no_price_gets_none(make_study: Callable[..., Study]) -> None:
    """Memory that shrinks with more tasks, and tasks that were never alive together, have no cost of a task."""
    assert cost_lines(make_study("less", {("go", 1): [20], ("go", 1000): [19]})) == []
    growing = {("go", 1): [20], ("go", 1000): [30], ("go", 2000): [40]}
    assert cost_lines(make_study("dead", growing, plan={"workload": "spawn"})) == []
    (line,) = cost_lines(make_study("ring", growing, plan={"workload": "channel"}))
    assert line[-1] != "" and cost_lines(make_study("two", {("go", 1): [20], ("go", 9): [30]}))[0][-1] == ""
