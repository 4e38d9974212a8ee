"""Tables of rates, of memory left over, and of the cost of a task."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from concmem.model import Figure
from concmem.report.tables.extra import cost_lines, extra_tables
from concmem.report.tables.peaks import markdown, print_table
from concmem.study import Study
from concmem.study.results.results import Results


def printed(study: Study) -> str:
    out = io.StringIO()
    print_table(study, Console(file=out, width=80))
    return out.getvalue()


def test_the_cost_of_a_task_and_the_floor(make_study: Callable[..., Study]) -> None:
    """A floor of 20 MiB and 1 KiB per task are found. The cheaper task comes first. Two cells have no interval."""
    line = {("go", n): [20 + n / 1024] for n in (1, 10_000, 100_000)}
    study = make_study("it", {**line, ("lean", 1): [2], ("lean", 2048): [3]})
    lean, go = cost_lines(Results(study))
    assert (lean[:2], lean[2:5]) == (("lean", "2.00 MiB"), ("", "512 B", ""))
    assert (go[0], go[1], go[3], go[5][:2]) == ("go", "20.0 MiB", "1 024 B", "0%")
    assert "What a task costs" in printed(study) and "## What a task costs" in markdown(Results(study))
    assert max(map(len, printed(study).splitlines())) <= 80


def test_a_task_s_cost_is_not_cut(make_study: Callable[..., Study]) -> None:
    """In 80 columns, long names and intervals are complete."""
    name, peaks = "java-virtual-threads", {1: [39.5], 1_000: [45.7], 100_000: [115], 1_000_000: [2000]}
    study = make_study("it", {(name, tasks): mib for tasks, mib in peaks.items()})
    text = printed(study)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text and max(map(len, text.splitlines())) <= 80
    ((_, floor, *_, worst),) = cost_lines(Results(study))
    assert floor in text and worst.split(" at ")[1] in text


def test_one_cell_has_no_cost(make_study: Callable[..., Study]) -> None:
    """One point gives no line and no table."""
    study = make_study("it", {("go", 1): [20]})
    assert cost_lines(Results(study)) == [] and "What a task costs" not in printed(study)


@pytest.mark.parametrize(
    ("workload", "headings"),
    [
        ("sleep", []),
        ("spawn", ["Tasks started and ended per second", "Memory left over after all tasks"]),
        ("channel", ["Messages passed per second"]),
    ],
)
def test_each_workload_has_its_own_tables(make_study: Callable[..., Study], workload: str, headings: list[str]) -> None:
    """Rates have three digits and are medians of the runs. The text says what the tasks do."""
    run = {"rate_per_s": 1_234_567.0, "left_over": Figure(5 << 20, "bounded", "statm")}
    study = make_study("it", {("go", 10): [1, 2, 3]}, plan={"workload": workload}, run=run)
    found = extra_tables(Results(study))
    assert [grid.heading for grid in found] == headings
    if found:
        assert found[0].lines == (("go", ("1 230 000",)),)
    if workload == "spawn":
        assert found[1].lines == (("go", ("5.00 MiB",)),)
    text = markdown(Results(study))
    assert all(f"## {heading}" in text for heading in headings) and all(
        heading in printed(study) for heading in headings
    )
    assert {"sleep": "that sleep", "spawn": "end at once", "channel": "round a ring"}[workload] in text


def test_shrinking_memory_has_no_cost(make_study: Callable[..., Study]) -> None:
    """There is no cost of a task if memory shrinks, or if tasks are not alive together."""
    assert cost_lines(Results(make_study("less", {("go", 1): [20], ("go", 1000): [19]}))) == []
    growing = {("go", 1): [20], ("go", 1000): [30], ("go", 2000): [40]}
    assert cost_lines(Results(make_study("dead", growing, plan={"workload": "spawn"}))) == []
    (line,) = cost_lines(Results(make_study("ring", growing, plan={"workload": "channel"})))
    assert line[-1] != "" and cost_lines(Results(make_study("two", {("go", 1): [20], ("go", 9): [30]})))[0][-1] == ""
