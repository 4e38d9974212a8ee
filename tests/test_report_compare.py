from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from rich.console import Console
from stored_studies import store_study

from concmem.report import compare, print_comparison
from concmem.report.tables.comparison import comparison_markdown, finding
from concmem.study import Study, StudyError
from concmem.study.results.comparison import Comparison, Pair

Make = Callable[..., Study]


def _pairs(comparison: Comparison) -> dict[tuple[str, int], Pair]:
    return {(pair.program, pair.tasks): pair for pair in comparison.pairs}


def _one(make: Make, a: list[float], b: list[float], **of_b: Any) -> Pair:
    (pair,) = compare(make("a", {("go", 10_000): a}), make("b", {("go", 10_000): b}, **of_b)).pairs
    return pair


def _printed(comparison: Comparison, width: int) -> str:
    out = io.StringIO()
    print_comparison(comparison, Console(file=out, width=width))
    return out.getvalue()


@pytest.mark.parametrize(
    ("a", "b", "ratio", "verdict", "is_far"),
    [
        ([100, 101, 102], [150, 151, 152], 151 / 101, "more", True),
        ([150, 151, 152], [100, 101, 102], 101 / 151, "less", True),
        ([100, 101, 102], [105, 106, 107], 106 / 101, "same", False),  # clearly more, but by little
        ([100, 140, 160], [120, 160, 190], 160 / 140, "same", True),  # by much, but not clearly
        ([100], [109], 1.09, "same", False),
        ([100], [111], 1.11, "more", True),
        ([111], [100], 100 / 111, "less", True),  # the same both ways round
    ],
)
def test_a_cell_has_its_ratio_and_its_verdict(
    make_study: Make, a: list[float], b: list[float], ratio: float, verdict: str, is_far: bool
) -> None:
    """The ratio is B's median over A's. The verdict is more or less only if the difference is large and clear."""
    pair = _one(make_study, a, b)
    assert pair.ratio == pytest.approx(ratio)
    assert (pair.verdict, pair.is_far) == (verdict, is_far)
    assert bool(pair.reason) == is_far
    if len(a) > 1:
        assert pair.ratio_low is not None and pair.ratio_high is not None
        assert pair.ratio_low <= ratio <= pair.ratio_high
    else:
        assert pair.ratio_low is None and pair.ratio_high is None


def test_known_reasons(make_study: Make) -> None:
    """Scatter, overlapping margins and differences are reasons. Otherwise a difference is unexplained."""
    assert _one(make_study, [100, 101], [150, 151]).reason == "unexplained"
    assert _one(make_study, [100], [150]).reason == "unexplained; one run does not show how far runs scatter"
    assert _one(make_study, [100, 101, 160], [150, 151, 152]).reason == "runs within one study differ by up to 59%"
    margins = _one(make_study, [0.03], [0.0335])
    assert margins.is_far and margins.reason == "the margins of the two figures overlap"
    pair = _one(make_study, [100, 101], [150, 151], entry={"toolchain": "own 2.0"}, host={"kernel": "9.9"})
    assert pair.reason == "not the same toolchain, kernel"
    assert [str(each) for each in pair.unlike] == ["toolchain: own 1.0 in A, own 2.0 in B"]
    slept = _one(make_study, [100, 101], [150, 151], run={"sleep_s": 20.0, "flags": ("+P", "5")})
    assert slept.reason == "not the same flags, sleep"
    limits = _one(make_study, [100, 101], [150, 151], host={"limits": {"nofile": 5}})
    assert limits.reason == "unexplained", "a limit decides whether a program runs, not what it needs"


def test_what_differs_between_the_studies_is_listed(make_study: Make) -> None:
    """Differences of version, machine and plan are listed; different cells and a few MiB of memory are not."""
    a = make_study("a", {("go", 1): [1]}, host={"memory_bytes": 100 << 30, "kernel": "6.1", "limits": {"nofile": 5}})
    b = make_study(
        "b",
        {("go", 1): [1], ("rust", 5): [1, 1]},
        host={"memory_bytes": 101 << 30, "kernel": "6.8", "limits": {}, "thp": ""},
        plan={"sleep_s": 2, "seed": 7},
        version="0.2",
    )
    assert [str(each) for each in compare(attrs.evolve(a, host=attrs.evolve(a.host, thp="always")), b).differences] == [
        "concmem: 0.1 in A, 0.2 in B",
        "kernel: 6.1 in A, 6.8 in B",
        "thp: always in A, none in B",
        "nofile: 5 in A, none in B",
        "sleep_s: 10 in A, 2 in B",
    ]
    assert compare(a, a).differences == ()
    small = attrs.evolve(a, host=attrs.evolve(a.host, memory_bytes=80 << 30))
    assert [str(each) for each in compare(a, small).differences] == ["memory: 100 GiB in A, 80.0 GiB in B"]


def test_cells_of_only_one_study_have_a_reason(make_study: Make) -> None:
    """A cell is not in a plan, was skipped, or has no figure in either study."""
    a = make_study("a", {("go", 1): [1], ("rust", 1): [1], ("java", 1): "no java here", ("java", 2): "too large"})
    b = make_study("b", {("go", 1): "no go here", ("java", 1): "no java here", ("java", 2): "never"})
    pairs = _pairs(compare(a, b))
    assert {cell: pair.reason for cell, pair in pairs.items() if pair.a and pair.b and pair.a.runs} == {
        ("go", 1): "no figure in B: no go here",
        ("java", 1): "no figure in either: no java here",
        ("java", 2): "no figure in A: too large; no figure in B: never",
    }
    assert (pairs["rust", 1].reason, pairs["rust", 1].verdict) == ("no figure in B: not in its plan", None)
    said = finding(compare(a, b))
    assert said == "No cell has a figure in both studies. 2 cells have a figure in only one study."


def test_the_finding_counts(make_study: Make) -> None:
    """The finding counts the cells that differ, by direction, for large sizes, and with a known reason."""
    cells = {(name, tasks): [100, 101] for name in ("c", "go", "rust") for tasks in (1, 10_000)}
    a = make_study("a", cells)
    assert finding(compare(a, a)) == "None of 6 cells differs by more than 10 %. With 10 000 tasks or more: none of 3."
    b = make_study("b", {**cells, ("c", 1): [50, 51], ("go", 10_000): [300, 301], ("rust", 1): [90, 160]})
    assert finding(compare(a, b)) == (
        "3 of 6 cells differ by more than 10 %: 1 more, 1 less, 1 within the scatter of the runs. "
        "With 10 000 tasks or more: 1 of 3, 1 of them unexplained."
    )
    newer = attrs.evolve(b, version="0.2")
    assert finding(compare(a, newer)).endswith("With 10 000 tasks or more: 1 of 3, all with a known reason.")
    assert finding(compare(a, make_study("c", {("x", 1): [1]}))).startswith("No cell has a figure in both studies. 7 ")


def test_studies_of_two_workloads_are_refused(make_study: Make) -> None:
    """The error names both workloads."""
    a, b = (make_study(work, {("go", 1): [1]}, plan={"workload": work}) for work in ("sleep", "spawn"))
    with pytest.raises(
        StudyError, match=r"cannot be compared: the workload of the first is sleep, that of the second spawn$"
    ):
        compare(a, b)


@pytest.mark.parametrize("width", [80, 120])
def test_the_comparison_fits_the_terminal(make_study: Make, width: int) -> None:
    """No line is wider than the terminal, no text is cut, a pipe gets no escape sequences, long names are wrapped."""
    name = "java-virtual-threads"
    sizes = {10_000: [1000.0, 1010.0], 1_000_000: [1000.0, 1010.0]}
    a = make_study("a", {(name, tasks): peaks for tasks, peaks in sizes.items()})
    b = make_study("b", {(name, tasks): [2 * peak for peak in peaks] for tasks, peaks in sizes.items()})
    b = attrs.evolve(b, programs=(attrs.evolve(b.programs[0], toolchain="own 2.0"),))
    text = _printed(compare(a, b), width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text and "\N{HORIZONTAL ELLIPSIS}" not in text
    (line,) = (line for line in text.splitlines() if line.startswith(name))
    assert line.split()[:6] == [name, "10", "000", "1005", "MiB", "1.96"]
    assert line.split()[6:] == ["GiB", "2.00", "1.98-2.02", "(67%)", "more", "[1,2]"]
    said = "[1] java-virtual-threads at 10 000, 1 000 000: toolchain: own 1.0 in A, own 2.0 in B"
    assert said in " ".join(text.split())
    long = make_study("c", {("q" * 90, 1): [1]})
    text = _printed(compare(long, long), width)
    assert max(len(line) for line in text.splitlines()) <= width and text.count("q") == 90


def test_the_markdown_says_the_same(make_study: Make) -> None:
    """The Markdown has the finding, the cells with their marks, and the notes."""
    text = comparison_markdown(
        compare(make_study("a", {("go", 10_000): [10, 10.4]}), make_study("b", {("go", 10_000): [20, 20.8]}))
    )
    assert "| go | 10 000 | 10.2 MiB | 20.4 MiB | 2.00 | 1.92-2.08 (67%) | more<sup>1</sup> |" in text
    assert "1. go at 10 000: unexplained" in text
    assert "1 of 1 cells differs by more than 10 %: 1 more." in text


def _report(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "concmem", "report", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_the_command_compares_and_writes_nothing(make_study: Make) -> None:
    """The table is printed and no folder changes. --out names a file for a format. Misuse exits with 2."""
    a = store_study(make_study("a", {("go", 1): [10, 11]})).path
    b = store_study(make_study("b", {("go", 1): [20, 22]})).path
    before = sorted(a.parent.rglob("*"))
    done = _report(a, b)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1 of 1 cells differs by more than 10 %: 1 more.")
    assert sorted(a.parent.rglob("*")) == before
    out = a.parent / "comparison.md"
    assert _report(a, b, "--out", out).stdout == ""
    assert out.read_text().startswith("# Two studies compared")
    assert _report(a, b, "--format", "csv").stdout.startswith("program,tasks,a_title,")
    for arguments, said in (
        ((a, b, "--format", "parquet"), "concmem: a comparison has no format parquet; it has md, csv, json"),
        ((a, a.parent / "none"), f"concmem: there is no study in {a.parent / 'none'}\n"),
        ((a, b, "--out", a.parent / "x.html"), f"concmem: {a.parent / 'x.html'}: the name must end in .md, "),
    ):
        done = _report(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith(said)
