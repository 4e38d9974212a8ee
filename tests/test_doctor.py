"""`concmem doctor`: what it finds on this machine, and how it reports figures that do not hold."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import attrs
import pytest

import concmem
import concmem.doctor
from concmem.cli._commands import main
from concmem.cli._proof import markdown_table, signed, worst_error
from concmem.doctor.checkup import Check, Checkup, Clock
from concmem.testing import TRUTHS

MIB = 1 << 20
AT_MOST_S = 300
"""It takes about 20 s, and longer on a busy machine."""


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "concmem", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=AT_MOST_S)


def test_all_usable_sources_are_right() -> None:
    """Every usable source finds the size of every program. Costs, lateness and errors are measured."""
    done = doctor("--json")
    found = json.loads(done.stdout)
    wrong = [check for check in found["checks"] if check["ok"] is False]
    assert (done.returncode, wrong, found["ok"]) == (0, [], True), done.stderr
    assert {check["program"] for check in found["checks"]} == {truth.name for truth in TRUTHS}
    usable = {source["name"] for source in found["sources"] if source["usable"]}
    judged = {check["source"] for check in found["checks"] if check["ok"]}
    assert judged == (usable - {"status", "children"}) | {"marks", "headline"}
    assert set(found["costs_s"]) >= {"statm", "status", "smaps_rollup"}
    assert 1e-7 < found["costs_s"]["statm"] < found["costs_s"]["status"] < found["costs_s"]["smaps_rollup"]
    assert 0 < found["clock"]["median_late_s"] <= found["clock"]["p99_late_s"] <= found["clock"]["longest_gap_s"]
    assert found["mark_error_bytes"] > 0


def check(**more: Any) -> Check:
    facts: dict[str, Any] = {
        "program": "hold",
        "what": "bytes held",
        "source": "statm",
        "figure": "tree_peak_rss_sum",
        "run": 0,
        "truth_bytes": 64 * MIB,
        "reading_bytes": 65 * MIB,
        "error_bytes": 4096,
        "allowed": "none",
        "ok": True,
        "reason": "",
    }
    return Check(**(facts | more))


def checkup(*checks: Check) -> Checkup:
    host = concmem.measure(["true"]).host
    return Checkup(host, concmem.probe(), True, 4096, {"statm": 1e-6}, Clock(1e-5, 1e-4, 2e-3, 0.02), checks)


WRONG = check(ok=False, error_bytes=-3 * MIB, reason="its upper end is 3.00 MiB below the true amount")


def test_a_figure_that_does_not_hold_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One figure outside of its stated range gives exit code 1, and is named with its reason."""
    for arguments, found, code in (
        ([], checkup(check(), WRONG), 1),
        (["--all"], checkup(check(), WRONG), 1),
        (["--markdown"], checkup(check(), WRONG), 1),
        (["--json"], checkup(WRONG), 1),
        ([], checkup(check()), 0),
    ):
        monkeypatch.setattr(concmem.doctor, "examine", lambda found=found, **_: found)
        with pytest.raises(SystemExit) as ended:
            main(["doctor", *arguments])
        assert ended.value.code == code, arguments
        said = capsys.readouterr().out
        if arguments == ["--markdown"]:
            assert "**-3.0M .. +4K: 1 wrong**" in said
        elif code == 1:
            assert "its upper end is 3.00 MiB below the true amount" in said.replace("\n", " ").replace("  ", " ")
        else:
            assert "All 1 figures that could be judged hold." in said


@pytest.mark.parametrize(
    ("checks", "shown"),
    [
        ([], ("-", None)),
        ([check()], ("+4K", True)),
        ([check(), check(error_bytes=-9000)], ("-9K", True)),
        ([check(ok=None, error_bytes=-10 * MIB)], ("(-10M)", None)),
        ([check(), check(ok=None, error_bytes=-10 * MIB)], ("+4K", True)),
        ([check(error_bytes=-5 * MIB), WRONG], ("-3.0M!", False)),
        ([check(ok=None, error_bytes=None)], ("-", None)),
    ],
)
def test_a_cell(checks: list[Check], shown: tuple[str, bool | None]) -> None:
    """A cell has the largest errors; in brackets if nothing could be judged, with a mark if a figure is wrong."""
    assert worst_error(checks) == shown


def test_short_amounts() -> None:
    """Cells are narrow: a sign, few digits, one letter."""
    assert [signed(size) for size in (0, 17, -28_672, 3 << 19, -(14 << 20))] == ["0", "+17", "-28K", "+1.5M", "-14M"]


def test_many_runs_are_one_row() -> None:
    """The table has the smallest and the largest error over all runs, and the number of runs."""
    headline = check(source="headline", figure="peak")
    text = markdown_table(checkup(check(), attrs.evolve(check(), run=1, error_bytes=-8192), headline))
    assert text.startswith("2 runs of each on Linux ")
    assert "3 figures judged, 0 outside of their stated range." in text
    assert "| hold: bytes held | 64.0 MiB | -8K .. +4K | - |" in text
