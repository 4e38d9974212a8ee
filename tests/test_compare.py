"""Commands compared: on programs of known size, in turn, with failures kept apart and a verdict that the runs allow."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

import concmem
from concmem.comparison import CommandResult, CommandRun, Comparison, HookFailed, Hooks, Step, session
from concmem.comparison.candidates import expand, scan
from concmem.comparison.result import amount_text
from concmem.errors import InvalidRequest
from concmem.export import outputs
from concmem.host import describe
from concmem.report.tables.commands import below, findings
from concmem.testing import known

MIB = 1 << 20


def hold(size: object) -> list[str]:
    return known("hold", size, 1, 0.01)


def made(values: dict[str, Sequence[float]], error: float = 0.0, figure: Any = "peak") -> Comparison:
    """Return a comparison of commands with these figures, each of which the truth may exceed by `error`."""

    def runs(of: Sequence[float]) -> tuple[CommandRun, ...]:
        return tuple(
            CommandRun(position=i, value=v, low=v, high=v + error, status="bounded", peak_bytes=int(v), wall_s=1.0)
            for i, v in enumerate(of)
        )

    results = tuple(
        CommandResult(name=name, command=f"run {name}", template=i, figure=figure, runs=runs(of))
        for i, (name, of) in enumerate(values.items())
    )
    return Comparison(
        results=results,
        reference=next(iter(values)),
        figure=figure,
        seed=1,
        interleaved=True,
        host=describe(),
        started_at="2026-01-01T00:00:00+00:00",
        version="0",
    )


def test_two_programs_of_known_size() -> None:
    """One needs 30 MiB, the other 60: each median's interval holds the known size, and the ratio's is below 1."""
    # The error of this figure does not depend on how busy the machine is.
    commands = {"large": hold(60 * MIB), "small": hold(30 * MIB)}
    found = concmem.compare(commands, runs=4, seed=3, figure="largest_peak_rss")
    base = concmem.measure(hold(0)).largest_peak_rss
    assert base.low_bytes is not None and base.high_bytes is not None
    for name, size in (("large", 60 * MIB), ("small", 30 * MIB)):
        median = found[name].median
        assert median is not None and median.low is not None and median.high is not None and median.confidence == 0.875
        assert median.low <= size + base.high_bytes and size + base.low_bytes <= median.high
    change = found["small"].over("large")
    assert change.verdict == "less" and found.changes == (change,)
    assert change.ratio is not None and change.ratio.low is not None and change.ratio.high is not None
    assert 0.4 < change.ratio.low < change.ratio.value < change.ratio.high < 0.7
    assert str(change).startswith("small needs ") and " % less than large (" in str(change)
    assert found["large"].over(found["small"]).verdict == "more"
    with pytest.raises(KeyError):
        found["small"].over("other")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        found.seed = 2  # type: ignore[misc]


def test_a_command_does_not_differ_from_itself() -> None:
    """Neither more nor less; and time is compared, too."""
    figures: list[Any] = ["peak", "largest_peak_rss"]
    for figure in figures:
        found = concmem.compare({"a": hold(20 * MIB), "b": hold(20 * MIB)}, runs=4, figure=figure)
        assert found["b"].over("a").verdict in ("same", "within_error")
        assert found.failures == ()
    timed = concmem.compare([known("hold", 0, 1, 0.2)], runs=3, figure="wall")
    assert all(0.2 <= run.wall_s == run.value == run.low == run.high for run in timed.results[0].good)


def test_commands_take_turns_in_an_order_that_the_seed_determines() -> None:
    """Every round has every command once; a seed gives the same order again, and not that of the commands."""
    names = ["a", "b", "c", "d"]

    def order(seed: int) -> list[str]:
        found = concmem.compare({name: ["true"] for name in names}, runs=5, seed=seed)
        assert found.seed == seed and found.interleaved
        by_position = {run.position: each.name for each in found for run in each.runs}
        return [by_position[i] for i in range(20)]

    first = order(7)
    assert all(sorted(first[i : i + 4]) == names for i in range(0, 20, 4))
    assert first == order(7) != order(8)
    assert first != names * 5


def test_failures_are_kept_apart(tmp_path: Path) -> None:
    """What fails in its first run is not run again; later failures do not count; all are named with their reason."""
    flaky = f"echo >> {tmp_path}/n; test $(wc -l < {tmp_path}/n) != 3 || {{ echo why >&2; exit 5; }}"
    found = concmem.compare({"good": ["true"], "flaky": flaky, "bad": ["false"], "none": ["no-such-program"]}, runs=4)
    assert [len(found[name].runs) for name in ("good", "flaky", "bad", "none")] == [4, 4, 1, 1]
    assert [len(found[name].good) for name in ("good", "flaky", "bad", "none")] == [4, 3, 0, 0]
    assert found["flaky"].failed[0].failure == "exit code 5: why" and found["flaky"].failed[0].exit_code == 5
    assert found["bad"].median is None and found["bad"].over("good").verdict == "no_figure"
    assert found.failures == (
        "1 of 4 runs of flaky failed, and do not count: exit code 5: why",
        "bad failed in its first run, and was not run again: exit code 1",
        "none failed in its first run, and was not run again: no-such-program: not found in any folder of PATH",
    )
    counted = concmem.compare({"good": ["true"], "bad": ["false"]}, runs=3, ignore_failure=True)
    assert [run.exit_code for run in counted["bad"].good] == [1, 1, 1] and not counted.failures
    late = concmem.compare([["sleep", "60"]], runs=2, timeout_s=0.05, ignore_failure=True)
    assert "timed out" in late.failures[0]


def test_a_scan_finds_the_cost_of_a_unit() -> None:
    """A program that holds exactly n MiB costs 1 MiB per n, to one percent; the interval holds it."""
    found = concmem.compare(
        ["{hold} $(({n} * 1048576)) 1 0.01".replace("{hold}", known("hold")[0])],
        parameters={"n": [32, 64, 128, 256]},
        runs=3,
        figure="largest_peak_rss",
    )
    assert [each.name for each in found] == ["n=32", "n=64", "n=128", "n=256"]
    (slope,) = found.slopes
    line = slope.line
    assert line.each == pytest.approx(MIB, rel=0.01)
    assert line.each_low is not None and line.each_high is not None and line.each_low <= MIB <= line.each_high
    assert 0 <= line.floor < 8 * MIB and slope.parameter == "n" and " per n (" in str(slope)


def test_commands_around_the_runs(tmp_path: Path) -> None:
    """Setup and cleanup once, prepare and conclude around each run, warm-up runs included."""
    log = tmp_path / "log"
    hooks = Hooks(**{name: f"echo {name} >> {log}" for name in ("setup", "prepare", "conclude", "cleanup")})
    found = concmem.compare([f"echo run >> {log}"], runs=2, warmup=1, hooks=hooks)
    assert log.read_text().split() == ["setup", *["prepare", "run", "conclude"] * 3, "cleanup"]
    assert len(found.results[0].runs) == 2 and found.interleaved
    log.unlink()
    found = concmem.compare(
        [f"echo {{x}} >> {log}"], parameters={"x": ["a", "b"]}, runs=3, hooks=Hooks(setup=f"echo setup-{{x}} >> {log}")
    )
    assert log.read_text().split() == ["setup-a", *["a"] * 3, "setup-b", *["b"] * 3] and not found.interleaved
    with pytest.raises(HookFailed, match=r"^prepare ended with 3: echo no >&2; exit 3 \(no\)$"):
        concmem.compare([["true"]], hooks=Hooks(prepare="echo no >&2; exit 3"))


@pytest.mark.parametrize(("enough_s", "runs"), [(1e9, 6), (0.0, 2)])
def test_as_many_runs_as_fit(monkeypatch: pytest.MonkeyPatch, enough_s: float, runs: int) -> None:
    """With much time the larger number of runs, with none the smaller one."""
    monkeypatch.setattr(session, "_ENOUGH_S", enough_s)
    assert len(concmem.compare([["true"]], runs=(2, 6)).results[0].runs) == runs


def test_progress_counts_every_run() -> None:
    """Each run is announced, with an estimate of the rest once one is known; the last step says that it is over."""
    steps: list[Step] = []
    concmem.compare({"a": ["true"], "b": ["false"]}, runs=3, warmup=1, progress=steps.append)
    assert [step.done for step in steps] == [0, 1, 2, 3, 4, 5]
    assert steps[0].total == 8 and steps[-1].total == 5 and steps[-1].name == ""
    assert steps[0].left_s is None and all(step.left_s is not None for step in steps[1:-1])


def test_verdicts_say_what_the_runs_allow() -> None:
    """From three runs on a difference can be shown; an error larger than the difference hides it, and says so."""
    three = made({"old": [100e6, 101e6, 102e6], "new": [80e6, 81e6, 82e6]})
    assert str(three["new"].over("old")) == "new needs 20 % less than old (18 to 22 %)"
    assert three["new"].over("old").p_value == pytest.approx(0.1)
    more = made({"old": [100e6, 101e6, 102e6, 103e6], "new": [110e6] * 4})
    assert str(more["new"].over("old")) == "new needs 8.4 % more than old (7 to 10 %)"
    twice = made({"old": [100e6, 101e6, 102e6], "new": [300e6, 303e6, 306e6]})
    assert str(twice["new"].over("old")) == "new needs 3.00 times as much as old (2.94 to 3.06)"
    same = made({"old": [100e6, 101e6, 102e6], "new": [100e6, 101.5e6, 103e6]})
    assert same["new"].over("old").verdict == "same"
    assert str(same["new"].over("old")) == "no difference between new and old that 3 runs show (-2.0 to +3.0 %)"
    hidden = made({"old": [10e6, 10.1e6, 10.2e6], "new": [11e6, 11.1e6, 11.2e6]}, error=2e6)
    assert hidden["new"].over("old").verdict == "within_error"
    assert str(hidden["new"].over("old")) == (
        "by what was read, new needs 9.9 % more than old (8 to 12 %), but the errors of the figures allow -10 to +32 %"
    )
    assert any("largest_peak_rss" in line for line in below(hidden)) and len(below(three)) == 1
    two = made({"old": [100e6, 101e6], "new": [200e6, 201e6]})
    assert two["new"].over("old").verdict == "too_few"
    assert str(two["new"].over("old")).startswith("2 runs show no difference between new and old (measured: ")
    timed = made({"old": [1.0, 1.1, 1.2], "new": [1.5, 1.6, 1.7]}, figure="wall")
    assert str(timed["new"].over("old")) == "new takes 45 % longer than old (25 to 70 %)"


def test_outliers_are_named_and_count() -> None:
    """A run far from the others is named with its position, and stays in the range and in the median."""
    found = made({"a": [100e6, 100.1e6, 100.2e6, 100.1e6, 150e6], "b": [100e6, 101e6, 103e6, 105e6, 106e6]})
    assert [run.position for run in found["a"].outliers] == [4] and not found["b"].outliers
    assert max(found["a"].sample.values) == 150e6
    assert "outlier: run 5, a, 143 MiB; it counts like the others." in below(found)
    # What differs by less than the error of a figure is none.
    assert not made({"a": [100e6, 100e6, 100e6, 100e6, 104e6]}, error=10e6)["a"].outliers


def test_names_and_parameters() -> None:
    """Names come from names, commands and values; ambiguous ones and impossible scans are refused."""
    assert [each.name for each in expand([["a", "b c"], "d | e"])] == ["a 'b c'", "d | e"]
    assert [each.name for each in expand(["run {n} {m}"], {"n": [1, 2], "m": ["x"]})] == ["n=1, m=x", "n=2, m=x"]
    assert [each.command for each in expand([["run", "{n}"]], {"n": [1, 2]})] == [["run", "1"], ["run", "2"]]
    assert [each.name for each in expand({"old": "a {n}", "new": "b {n}"}, {"n": [1]})] == ["old, n=1", "new, n=1"]
    assert scan("1", "10", "4") == ["1", "5", "9"] and scan("0", "0.5", "0.25") == ["0.00", "0.25", "0.50"]
    for wrong in (
        lambda: scan("1", "x"),
        lambda: scan("5", "1"),
        lambda: scan("0", "1e9"),
        lambda: scan("1", "2", "0"),
    ):
        with pytest.raises(InvalidRequest):
            wrong()
    refused: list[tuple[Any, dict[str, Any]]] = [
        ([], {}),
        ("true", {}),
        (["true", "true"], {}),
        (["true"], {"runs": 0}),
        (["true"], {"runs": (3, 2)}),
        (["true"], {"warmup": -1}),
        (["true"], {"figure": "rss"}),
        (["true"], {"reference": "other"}),
        (["true"], {"parameters": {"n": []}}),
        (["true"], {"interval_s": 0}),
    ]
    for commands, options in refused:
        with pytest.raises(InvalidRequest):
            concmem.compare(commands, **options)


@pytest.fixture(scope="module")
def scanned() -> Comparison:
    return concmem.compare([known("hold", "{n}")], parameters={"n": [MIB, 20 * MIB, 40 * MIB]}, runs=3)


def test_json_has_hyperfine_s_form(scanned: Comparison) -> None:
    """What hyperfine's scripts do with its files works with ours: whiskers, statistics, plots over a parameter."""
    stored = json.loads(outputs.content("commands", ".json", scanned))
    results = stored["results"]
    # plot_whisker.py, plot_histogram.py
    assert [each["command"] for each in results] == [f"n={n}" for n in (MIB, 20 * MIB, 40 * MIB)]
    assert all(len(each["times"]) == 3 and all(time > 0 for time in each["times"]) for each in results)
    # advanced_statistics.py
    for each in results:
        assert each["mean"] == pytest.approx(statistics.fmean(each["times"]))
        assert each["stddev"] == pytest.approx(statistics.stdev(each["times"]))
        assert each["min"] <= each["median"] == statistics.median(each["times"]) <= each["max"]
        assert each["user"] >= 0 and each["system"] >= 0
    # plot_parametrized.py
    assert {name for each in results for name in each["parameters"]} == {"n"}
    assert [float(each["parameters"]["n"]) for each in results] == [MIB, 20 * MIB, 40 * MIB]
    for each, size in zip(results, (MIB, 20 * MIB, 40 * MIB), strict=True):
        assert each["exit_codes"] == [0, 0, 0] and min(each["memory_usage_byte"]) >= size * 0.9
    about = stored["concmem"]
    assert (about["what"], about["figure"], about["reference"]) == ("concmem commands", "peak", f"n={MIB}")
    assert [each["sentence"] for each in about["slopes"]] == [str(each) for each in scanned.slopes]
    assert [len(each["concmem"]["runs"]) for each in results] == [3, 3, 3]


def test_csv_and_markdown(scanned: Comparison) -> None:
    """CSV begins with hyperfine's columns, and has all digits of bytes; Markdown has a line for each command."""
    head, *rows = csv.reader(io.StringIO(outputs.content("commands", ".csv", scanned).decode()))
    assert head[:9] == ["command", "mean", "stddev", "median", "user", "system", "min", "max", "parameter_n"]
    by_name = [dict(zip(head, row, strict=True)) for row in rows]
    for row, each in zip(by_name, scanned, strict=True):
        assert each.median is not None and int(row["peak_median"]) == each.median.value
    text = outputs.content("commands", ".md", scanned).decode()
    assert text.count(f"| n={MIB}") == 1 and f"- {findings(scanned)[0]}".replace("*", "\\*") in text
    assert amount_text("peak", 20 * MIB)[:2] in text


def test_a_comparison_without_figures_can_be_written() -> None:
    """If every run failed, there is a table, and JSON with null."""
    found = concmem.compare({"a": ["false"], "b": ["false"]}, runs=2)
    stored = json.loads(outputs.content("commands", ".json", found))
    assert [each["mean"] for each in stored["results"]] == [None, None]
    assert "failed" in outputs.content("commands", ".md", found).decode()
    assert outputs.content("commands", ".csv", found).decode().count("\n") == 3


@pytest.mark.parametrize("ending", outputs.endings("commands chart"))
def test_charts(scanned: Comparison, ending: str) -> None:
    """Bars, or a curve over the parameter; names from outside cannot break the page."""
    for comparison in (scanned, made({"<b>old</b></script>": [1e6, 2e6, 3e6], "new": [2e6, 2e6, 2e6]})):
        content = outputs.content("commands chart", ending, comparison)
        assert len(content) > 2000 and b'</script>"' not in content


def test_a_failed_measurement_leaves_no_process() -> None:
    """An exception of the progress function ends the comparison; nothing of it still runs."""

    def stop(step: Step) -> None:
        if step.done == 1:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        concmem.compare(["sleep 0.01 # of-test-compare"], runs=3, progress=stop)
    lines = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if "of-test-compare" in line]
