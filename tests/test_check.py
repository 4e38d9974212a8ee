"""A gate for CI: what needs more than its baseline fails, noise does not, and what cannot be judged says why."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from concmem.comparison.baseline import StoredFigures, read_baseline
from concmem.comparison.gate import Check, CheckResult, check, judge
from concmem.comparison.result import CommandResult, CommandRun
from concmem.errors import InvalidRequest, RecordingError
from concmem.host import describe
from concmem.testing import known

MIB = 1 << 20
ACTION = Path(__file__).resolve().parent.parent / "action.yml"
Done = subprocess.CompletedProcess[str]


def hold(size: int) -> list[str]:
    return known("hold", size, 1, 0.01)


def held(size: int, runs: int) -> Check:
    """
    Return the check of a program that holds `size` bytes.

    The error of its figure does not depend on how busy the machine is, as that of the peak does.
    """
    return Check(command=hold(size), runs=runs, figure="largest_peak_rss")


def result(values: Sequence[float], error: float = 0.0) -> CommandResult:
    runs = [CommandRun(position=i, value=v, low=v, high=v + error, status="bounded") for i, v in enumerate(values)]
    return CommandResult(name="a", command="a", template=0, figure="peak", runs=tuple(runs))


def judged(before: Sequence[float], now: Sequence[float], *, error: float = 0.0, limit: float = 0.05) -> CheckResult:
    stored = StoredFigures.of(result(before, error), "2026-01-01T00:00:00+00:00", describe())
    return judge("a", result(now, error), stored, limit, describe(), any_machine=False)


def test_a_regression_is_caught_and_noise_is_not() -> None:
    """
    8 % more than 100 MiB, with runs that scatter by half a percent: caught in at least 45 of 50 trials. Without a
    change, noise of 3 % fails at most 2 of 50.
    """
    random = np.random.default_rng(1)
    error = 0.7 * MIB

    def draw(size: float, scatter: float) -> list[float]:
        return [float(value) for value in size * MIB * random.normal(1, scatter, 5)]

    caught = [judged(draw(100, 0.005), draw(108, 0.005), error=error).status for _ in range(50)]
    assert caught.count(3) >= 45 and set(caught) <= {3, 4}
    alarms = [judged(draw(100, 0.03), draw(100, 0.03), error=error).status for _ in range(50)]
    assert alarms.count(3) <= 2 and alarms.count(0) >= 45


@pytest.mark.parametrize(
    ("before", "now", "error", "verdict", "words"),
    [
        ([100, 101, 102], [100, 101, 102], 0, "ok", "within the limit: +0.0 % (-2.0 to +2.0 %), the limit is +5.0 %"),
        ([100, 101, 102], [120, 121, 122], 0, "larger", "larger than the baseline: +20 % (+18 to +22 %)"),
        ([100, 101, 102], [80, 81, 82], 0, "ok", "within the limit"),
        ([100, 103, 106], [100, 104, 107], 0, "ok", "not shown to be above the limit"),
        ([100, 101, 102], [106, 107, 108], 0, "undecided", "3 runs do not decide it"),
        ([80, 100, 120], [80, 100, 120], 0, "undecided", "3 runs do not decide it"),
        (
            [100, 100, 100],
            [101, 101, 101],
            30,
            "undecided",
            "too small or too short to judge: the errors of its figures",
        ),
        ([100, 100], [200, 200], 0, "undecided", "2 runs against 2 of the baseline are too few to judge; 3 each can"),
    ],
)
def test_verdicts(before: list[float], now: list[float], error: float, verdict: str, words: str) -> None:
    """The whole interval above the limit fails; a wide one, from scatter or from the figures' errors, says so."""
    found = judged([each * MIB for each in before], [each * MIB for each in now], error=error * MIB)
    assert (found.verdict, found.status) == (verdict, {"ok": 0, "larger": 3}.get(verdict, 4))
    assert found.sentence.startswith(f"a: {words}"), found.sentence


def test_a_baseline_is_written_and_judged_by(tmp_path: Path) -> None:
    """Two checks in one file: without it nothing can be judged, then one passes and one is larger."""
    path = tmp_path / "mem.json"
    checks = {"same": held(100 * MIB, 4), "grows": held(100 * MIB, 4)}
    before = check(checks, path)
    assert [each.verdict for each in before.results] == ["no_baseline"] * 2 and before.status == 4
    assert not path.exists()
    assert check(checks, path, update=True).status == 0
    now = check(checks | {"grows": held(130 * MIB, 4)}, path)
    assert [each.verdict for each in now.results] == ["ok", "larger"] and now.status == 3
    # An update of one check keeps the other.
    check({"same": held(50 * MIB, 3)}, path, update=True)
    stored = read_baseline(path)
    assert len(stored.checks["same"].values) == 3 and len(stored.checks["grows"].values) == 4
    other = check({"same": Check(command=hold(50 * MIB), figure="peak")}, path)
    assert other.results[0].verdict == "no_baseline" and "not peak" in other.results[0].sentence


def test_a_failed_run_is_neither_judged_nor_stored(tmp_path: Path) -> None:
    """The status is the command's own; the baseline keeps the figures that it had."""
    path = tmp_path / "mem.json"
    check({"a": Check(command=hold(MIB), runs=3)}, path, update=True)
    before = read_baseline(path)
    gate = check({"a": Check(command="exit 9", runs=3)}, path, update=True)
    assert gate.status == 9 and gate.results[0].verdict == "failed" and read_baseline(path).checks == before.checks
    assert check({"a": Check(command=["no-such-program"])}, path).status == 127


def test_another_machine_is_named(tmp_path: Path) -> None:
    """A baseline from another kernel gives no verdict without --any-machine."""
    path = tmp_path / "mem.json"
    one = {"a": held(100 * MIB, 3)}
    check(one, path, update=True)
    stored = json.loads(path.read_text())
    stored["checks"]["a"]["host"]["kernel"] = "4.19"
    path.write_text(json.dumps(stored))
    gate = check(one, path)
    assert (gate.status, gate.results[0].verdict) == (4, "other_machine")
    assert "kernel " in gate.results[0].sentence and "instead of 4.19" in gate.results[0].sentence
    assert check(one, path, any_machine=True).results[0].verdict == "ok"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "Expecting value"),
        ("[]", "it has no schema number"),
        ('{"what": "concmem baseline", "schema": 99}', "this baseline has schema 99"),
        ('{"what": "concmem baseline", "schema": 1, "version": "1"}', "this is not a baseline of concmem"),
    ],
)
def test_a_damaged_baseline_is_refused(tmp_path: Path, content: str, why: str) -> None:
    """The message names the file and what is wrong."""
    path = tmp_path / "mem.json"
    path.write_text(content)
    with pytest.raises(RecordingError, match=f"mem.json: .*{why}"):
        check({"a": Check(command=["true"])}, path)


def test_amounts_of_a_baseline_must_be_possible(tmp_path: Path) -> None:
    """A value lies between its low and its high, and there are as many of each."""
    path = tmp_path / "mem.json"
    check({"a": Check(command=["true"], runs=2)}, path, update=True)
    changes: list[dict[str, list[int]]] = [{"lows": [10**9, 10**9]}, {"highs": [1]}]
    for change in (*changes, {"values": [], "lows": [], "highs": []}):
        stored = json.loads(path.read_text())
        stored["checks"]["a"] |= change
        path.with_name("wrong.json").write_text(json.dumps(stored))
        with pytest.raises(RecordingError, match=r"wrong\.json"):
            read_baseline(path.with_name("wrong.json"))
    with pytest.raises(InvalidRequest):
        check({}, path)
    with pytest.raises(InvalidRequest):
        Check(command=["true"], fail_above=-1)


def run(*arguments: object, cwd: Path, **environment: str) -> Done:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    kept.pop("GITHUB_STEP_SUMMARY", None)
    command = [sys.executable, "-m", "concmem", "check", *map(str, arguments)]
    return subprocess.run(command, env=kept | environment, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_the_command_writes_table_summary_and_exports(tmp_path: Path) -> None:
    """A reader sees the amounts; the summary of a job in GitHub Actions gets a table; other programs get numbers."""
    job = tmp_path / "job.md"
    job.write_text("before\n")
    words = ["--baseline", "mem.json", "-n", "hold", "-r", 3, "--figure", "largest_peak_rss"]
    done = run(*words, "--update", "--", *hold(100 * MIB), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "hold: the baseline was written." in done.stdout
    files = ["--summary", "own.md", "--export", "bmf", "b.json", "--export", "github-action-benchmark", "g.json"]
    done = run(*words, *files, "--", *hold(140 * MIB), cwd=tmp_path, GITHUB_STEP_SUMMARY=str(job))
    assert done.returncode == 3 and max(map(len, done.stdout.splitlines())) <= 80
    title, row = done.stdout.splitlines()[:2]
    assert title.split() == ["verdict", "baseline", "now", "change", "interval", "limit", "check"]
    assert row.startswith("larger ") and row.endswith(" hold")
    assert (tmp_path / "own.md").read_text() == job.read_text().removeprefix("before\n")
    assert "| hold |" in job.read_text() and "larger |" in job.read_text()
    metric = json.loads((tmp_path / "b.json").read_text())["hold"]["largest-peak-rss"]
    assert 140 * MIB * 0.99 <= metric["lower_value"] <= metric["value"] <= metric["upper_value"]
    (entry,) = json.loads((tmp_path / "g.json").read_text())
    assert entry["name"] == "hold" and entry["unit"] == "bytes" and entry["value"] == metric["value"]
    assert re.fullmatch(r"\d+( MiB)?( to \d+ MiB)?", entry["range"])


def test_several_checks_of_a_file(tmp_path: Path) -> None:
    """Each has its own command, runs and limit; the baseline is beside the file."""
    program = known("hold")[0]
    (tmp_path / "concmem.toml").write_text(
        f'baseline = "mem.json"\n[check.list]\ncommand = ["{program}", "{50 * MIB}", "1", "0.01"]\nruns = 3\n'
        f'[check.shell]\ncommand = "{program} {80 * MIB} 1 0.01 | cat"\nruns = 3\nfail_above = "40%"\n'
    )
    assert run("--update", cwd=tmp_path).returncode == 0
    assert set(read_baseline(tmp_path / "mem.json").checks) == {"list", "shell"}
    done = run("--config", tmp_path / "concmem.toml", cwd=Path("/"))
    assert done.returncode in (0, 4) and "2 checks: " in done.stdout and "+40 %" in done.stdout


def test_wrong_options_and_files(tmp_path: Path) -> None:
    """Nothing runs, and one sentence says why."""
    touch = ["touch", str(tmp_path / "ran")]
    (tmp_path / "a.toml").write_text('[check.a]\ncommand = "true"\nrunns = 3\n')
    for words, why in (
        ([], "give a command, or write checks into concmem.toml"),
        (["--", *touch], "--baseline FILE is missing"),
        (["--baseline", "m.json", "--fail-above", "x", *touch], "is not a share"),
        (["--baseline", "m.json", "--export", "xml", "f", *touch], "must be bmf or github-action-benchmark"),
        (["--baseline", "m.json", "--config", "a.toml", *touch], "cannot be used with a command"),
        (["--baseline", "m.json", "--config", "a.toml"], "unknown key 'runns'"),
        (["--baseline", "m.json", "--config", "b.toml"], "b.toml: No such file"),
    ):
        done = run(*words, cwd=tmp_path)
        assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert not (tmp_path / "ran").exists()


class Runner:
    """Stands in for GitHub Actions: runs the steps of the action with its inputs, and the files that a job gets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.action: dict[str, Any] = yaml.safe_load(ACTION.read_text())

    def run(self, **inputs: str) -> tuple[int, str, str]:
        """Return the exit status, the value of the output, and the summary of the job."""
        defaults = {name: str(each.get("default", "")) for name, each in self.action["inputs"].items()}
        given = defaults | {name.replace("_", "-"): value for name, value in inputs.items()}
        assert given.keys() == defaults.keys()
        files = {name: self.folder / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")}
        for path in files.values():
            path.write_text("")
        status = 0
        for step in self.action["runs"]["steps"]:
            if step.get("if") == "${{ inputs.install != 'none' }}" and given["install"] == "none":
                continue
            words = {name: self.value(text, given) for name, text in step["env"].items()}
            environment = os.environ | words | {name: str(path) for name, path in files.items()}
            environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            assert step["shell"] == "bash"
            script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            status = subprocess.run(script, cwd=self.folder, env=environment, timeout=300, check=False).returncode
        output = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
        return status, output["status"], files["GITHUB_STEP_SUMMARY"].read_text()

    @staticmethod
    def value(text: str, given: dict[str, str]) -> str:
        """Return the value of an expression."""
        found = re.fullmatch(r"\$\{\{ inputs\.([\w-]+) \}\}", text)
        assert found, text
        return given[found[1]]


@pytest.mark.skipif(not ACTION.exists(), reason="the checkout is missing: action.yml is not here")
def test_the_action(tmp_path: Path) -> None:
    """It writes a baseline, passes, fails on growth, and warns of what cannot be judged; inputs are never code."""
    runner = Runner(tmp_path)
    program = known("hold")[0]
    common = {"install": "none", "baseline": "mem.json", "name": 'a `b` $(touch pwned) "c"', "runs": "3"}
    common |= {"any_machine": "true", "figure": "largest_peak_rss"}
    same, larger = (f"exec {program} {size * MIB} 1 0.01" for size in (100, 150))
    status, output, summary = runner.run(command=same, **common)
    assert (status, output) == (0, "4") and "no baseline" in summary
    assert runner.run(command=same, fail_undecided="true", **common)[:2] == (4, "4")
    assert runner.run(command=same, update="true", **common)[:2] == (0, "0")
    assert runner.run(command=same, **common)[:2] == (0, "0")
    status, output, summary = runner.run(command=larger, **common)
    assert (status, output) == (3, "3") and "larger |" in summary
    assert runner.run(command="exit 5", **common)[:2] == (5, "5")
    assert not (tmp_path / "pwned").exists()
    assert "${{" not in "".join(step["run"] for step in runner.action["runs"]["steps"])
