"""``concmem show``: what was stored is printed, drawn and converted as it was when it was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import concmem
from concmem.comparison import load_comparison
from concmem.errors import RecordingError
from concmem.testing import known

Done = subprocess.CompletedProcess[str]


def command(name: str, *arguments: object, cwd: Path) -> Done:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    words = [sys.executable, "-m", "concmem", name, *map(str, arguments)]
    return subprocess.run(words, env=kept, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_a_measurement_is_shown_as_it_was(tmp_path: Path) -> None:
    """The report, and the timeline of the file beside it; its files are the same as those written at once."""
    files = ["--json", "m.json", "--timeline", "m.npz"]
    ran = command("run", *files, "--", *known("ramp", 30 << 20, 3, 5), cwd=tmp_path)
    shown = command("show", "m.json", cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == ran.stderr
    assert command("show", "m.json", "--explain", cwd=tmp_path).stdout != shown.stdout
    for ending in ("json", "csv", "npz"):
        done = command("show", "m.json", "--export", f"again.{ending}", cwd=tmp_path)
        assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "m.json").read_bytes()
    timeline = concmem.load(tmp_path / "m.json").timeline
    assert (tmp_path / "again.csv").read_text().count("\n") == len(timeline) + 1
    assert concmem.Timeline.load(tmp_path / "again.npz").t_s.tolist() == timeline.t_s.tolist()
    assert command("show", "m.json", "--plot", "m.svg", cwd=tmp_path).stdout == ""
    assert "<svg" in (tmp_path / "m.svg").read_text()


def test_a_comparison_is_shown_as_it_was(tmp_path: Path) -> None:
    """Failures, outliers and slopes included; its JSON is the same when it is written again."""
    words = ["-r", 3, "-L", "n", "1048576,20971520", "-N", "--export-json", "c.json"]
    ran = command("compare", *words, f"{known('hold')[0]} {{n}} 1 0.01", "false # {n}", cwd=tmp_path)
    assert ran.returncode == 1, ran.stderr
    shown = command("show", "c.json", cwd=tmp_path)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, ran.stdout, "")
    for ending in ("json", "csv", "md"):
        assert command("show", "c.json", "--export", f"again.{ending}", cwd=tmp_path).returncode == 0
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "c.json").read_bytes()
    assert command("show", "c.json", "--plot", "c.png", cwd=tmp_path).returncode == 0
    both = command("show", "c.json", "c.json", cwd=tmp_path).stdout
    assert both == f"== c.json\n{ran.stdout}" * 2


def test_a_baseline_is_listed(tmp_path: Path) -> None:
    """Each check with its figure, and when it was recorded."""
    words = ["--baseline", "b.json", "--update", "-r", 2, "-n"]
    for name, figure in (("one", "peak"), ("two", "wall")):
        assert command("check", *words, name, "--figure", figure, "--", "true", cwd=tmp_path).returncode == 0
    title, one, two = command("show", "b.json", cwd=tmp_path).stdout.splitlines()
    assert title.split() == ["figure", "median", "interval", "runs", "recorded", "check"]
    assert one.startswith("peak ") and one.endswith(" one") and two.startswith("wall ") and two.endswith(" two")
    done = command("show", "b.json", "--plot", "b.svg", cwd=tmp_path)
    assert done.returncode == 2 and "can only be printed" in done.stderr


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"concmem": {"what": "concmem commands"}}, "parts of it are missing"),
        ({"results": 5}, "parts of it are missing"),
        ({"results": []}, "the reference must be one of the commands"),
    ],
)
def test_a_damaged_comparison_is_refused(tmp_path: Path, change: dict[str, object], why: str) -> None:
    """The message names the file and what is wrong; so do values that contradict each other."""
    path = tmp_path / "c.json"
    assert command("compare", "-r", 2, "true", "--export-json", path, cwd=tmp_path).returncode == 0
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | change))
    with pytest.raises(RecordingError, match=why):
        load_comparison(path)
    stored["results"][0]["concmem"]["runs"][0]["low"] = 1e11
    path.write_text(json.dumps(stored))
    done = command("show", path, cwd=tmp_path)
    assert done.returncode == 125 and done.stderr.startswith(f"concmem: {path}: ") and done.stderr.count("\n") == 1


def test_wrong_files_and_options(tmp_path: Path) -> None:
    """One sentence, and nothing is written."""
    (tmp_path / "text.json").write_text("text")
    concmem.measure(["true"]).save(tmp_path / "m.json")
    for words, status, why in (
        ([], 2, "Missing argument"),
        ([tmp_path], 2, "a study is shown by concmem report"),
        (["none.json"], 125, "No such file"),
        (["text.json"], 125, "text.json: "),
        (["m.json", "m.json", "--plot", "a.svg"], 2, "take one file"),
        (["m.json", "--export", "a.md"], 2, "the name must end in .json or .csv or .npz"),
        (["m.json", "--plot", "a.gif"], 2, "the name must end in"),
    ):
        done = command("show", *words, cwd=tmp_path)
        assert done.returncode == status and why in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.glob("a.*"))
