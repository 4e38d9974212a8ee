"""``concmem compare`` as a process: what it prints, its files, its letters and its exit status."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from concmem.cli._comparison import ProgressLine
from concmem.comparison import Step
from concmem.testing import known

MIB = 1 << 20
Done = subprocess.CompletedProcess[str]


def compare(*arguments: object, **environment: str) -> Done:
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    command = [sys.executable, "-m", "concmem", "compare", *map(str, arguments)]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, timeout=300)


def hold(size: int) -> str:
    return f"{known('hold')[0]} {size} 1 0.01"


@pytest.mark.parametrize("columns", [80, 120])
def test_a_reader_sees_table_bars_and_verdict(columns: int) -> None:
    """No line is wider than the terminal, a pipe gets no escapes and no progress, and the verdict is a sentence."""
    # The error of this figure does not depend on how busy the machine is.
    words = ["-r", 3, "--figure", "largest_peak_rss", "-n", "old", "-n", "new"]
    done = compare(*words, hold(40 * MIB), hold(20 * MIB), COLUMNS=str(columns))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= columns and "\x1b" not in done.stdout
    head = " ".join(lines[:2])
    assert head.startswith("Peak memory (largest_peak_rss), 3 runs of each command, in turn, in random order (seed ")
    (title,) = (line for line in lines if line.startswith("command"))
    assert title.split()[1:5] == ["median", "interval", "range", "ratio"]
    assert ("time" in title) == (columns == 120)
    old, new = ([line for line in lines if line.startswith(f"{name} ")] for name in ("old", "new"))
    assert len(old) == 2 and len(new) == 3  # table, bar; the verdict begins with the name, too
    assert 1.6 < old[1].count("█") / new[1].count("█") < 2.6
    assert new[2].startswith("new needs ") and " % less than old (" in new[2]
    assert "75 %" in done.stdout and "90 %" in done.stdout


def test_long_names_are_numbered() -> None:
    """The table has numbers then, and the commands stand above it, complete."""
    first, second = f"{hold(MIB)} # {'x' * 70}", f"{hold(MIB)} # {'y' * 70}"
    done = compare("-r", 2, first, second)
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.startswith("[1]  ") and done.stdout.count("x") >= 70
    assert "\n1  " in done.stdout and "\n2  " in done.stdout


def test_without_unicode() -> None:
    """A terminal that takes ASCII only gets bars of ASCII."""
    done = compare("-r", 2, "true", "sleep 0.01", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and done.stdout.isascii() and "===" in done.stdout


def test_one_command_with_a_parameter(tmp_path: Path) -> None:
    """After -- without a shell: a scan, its line, and all files."""
    files = [tmp_path / name for name in ("a.json", "a.csv", "a.md", "a.svg")]
    options = zip(("--export-json", "--export-csv", "--export-markdown", "--plot"), files, strict=True)
    words: list[object] = [word for pair in options for word in pair]
    size = 20 * MIB
    words += ["-r", 2, "--figure", "largest_peak_rss", "-P", "n", 0, 2 * size, "-D", size]
    done = compare(*words, "--", known("hold")[0], "{n}", 1, 0.01)
    assert done.returncode == 0, done.stderr
    assert f"n={size}" in done.stdout and " per n (" in done.stdout
    assert all(path.stat().st_size > 100 for path in files)
    stored = json.loads(files[0].read_text())
    assert [each["parameters"] for each in stored["results"]] == [{"n": str(n)} for n in (0, size, 2 * size)]
    assert stored["concmem"]["slopes"][0]["line"]["each"] == pytest.approx(1, rel=0.05)


def test_letters_of_hyperfine(tmp_path: Path) -> None:
    """Warm-up, hooks, a list of values, names, a reference, no shell, and JSON to standard output."""
    log = tmp_path / "log"
    done = compare(
        "-w", 1, "-r", 2, "-p", f"echo prepare >> {log}", "-C", f"echo conclude >> {log}", "-N", "-L", "word", "a,b",
        "--export-json", "-", "echo '{word} c'",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stored = json.loads(done.stdout)
    assert [each["command"] for each in stored["results"]] == ["word=a", "word=b"]
    assert stored["results"][0]["concmem"]["command"] == "echo 'a c'"
    assert log.read_text().split() == ["prepare", "conclude"] * 6
    done = compare("-r", 2, "-n", "one", "--reference", "sleep 0.01", "true", "--export-json", "-")
    stored = json.loads(done.stdout)
    assert [each["command"] for each in stored["results"]] == ["sleep 0.01", "one"]
    assert stored["concmem"]["reference"] == "sleep 0.01"
    done = compare("-M", 3, "-n", "one", "-n", "two", "--reference", "two", "true", "true #", "--export-json", "-")
    stored = json.loads(done.stdout)
    assert stored["concmem"]["reference"] == "two" and [len(each["times"]) for each in stored["results"]] == [3, 3]


def test_the_exit_status(tmp_path: Path) -> None:
    """0; 1 if a run failed, unless -i; 2 for a wrong option; nothing runs then."""
    done = compare("-r", 2, "true", "echo why >&2; false")
    assert done.returncode == 1 and "was not run again: exit code 1: why" in " ".join(done.stdout.split())
    assert compare("-r", 2, "-i", "true", "false").returncode == 0
    done = compare("-p", "exit 4", "true")
    assert done.returncode == 1 and done.stderr == "concmem: prepare ended with 4: exit 4\n"
    touch = f"touch {tmp_path}/ran"
    for wrong in (
        [],
        [touch, "--", "true"],
        ["-r", 0, touch],
        ["-r", 3, "-m", 2, touch],
        ["-m", 5, "-M", 2, touch],
        ["-P", "n", "x", 3, touch],
        ["-L", "n", "1,2", "-P", "n", 1, 2, f"{touch} {{n}}"],
        ["-n", "a", "-n", "b", touch],
        ["-n", "a", "-n", "a", touch, "true"],
        ["-s", "true", "-s", "true", "-s", "true", touch, "true"],
        ["--figure", "rss", touch],
        ["--plot", tmp_path / "a.gif", touch],
        ["--export-json", tmp_path / "no/a.json", touch],
        ["-N", ""],
    ):
        done = compare(*wrong)
        assert done.returncode == 2 and done.stderr.startswith("concmem: "), wrong
        assert not (tmp_path / "ran").exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def test_progress_is_one_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is never wider than the terminal, and removed at the end. Elsewhere nothing is printed."""
    monkeypatch.setenv("COLUMNS", "40")
    for stream in (Terminal(), io.StringIO()):
        line = ProgressLine(stream)
        line(Step(0, 12, "long \x1b[31m name " * 5, 75.0))
        line(Step(12, 12, "", None))
        text = stream.getvalue()
        if not stream.isatty():
            assert text == ""
            continue
        shown, rest = text.removeprefix("\r").split("\x1b[K", 1)
        assert shown.startswith("run 1 of 12, about 1 min left: long") and len(shown) < 40
        assert "\x1b" not in shown and rest == "\r\x1b[K"
