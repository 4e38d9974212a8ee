"""Text from outside is shown escaped, in every output."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import attrs
import pytest
from stored_studies import store_study

import concmem
from concmem import report
from concmem._escaping import csv_cell, escape_bytes, escape_text, escape_values, shell_word
from concmem.cli._commands import main as command
from concmem.cli._console import PipeConsole
from concmem.drivers import manifest as _manifest
from concmem.drivers import programs as drivers
from concmem.drivers.build import BuildError
from concmem.errors import ConcmemError, RecordingError
from concmem.model import Figure, Measurement
from concmem.report.tables.markdown import escape as escape_markdown
from concmem.study import Entry, Plan, Run, Study, load_study
from concmem.study.limits.kinds import Obstacle

ESC, RIGHT_TO_LEFT, NOT_UTF_8, LONE = "\x1b[2J", "\u202e", "\udcff", "\ud800"
SCRIPT = "<script>taken=1</script>"
HOSTILE = f"=1+1{ESC}\n{SCRIPT}{RIGHT_TO_LEFT}{NOT_UTF_8}{LONE}\x9b\u2028|end"
"""A formula, a terminal command, a newline, a script, reversed text, a byte that is not UTF-8, a lone surrogate."""
SHOWN = r"=1+1\x1b[2J\n<script>taken=1</script>\u202e\xff\ud800\u009b\u2028|end"


def assert_harmless(text: str) -> None:
    """Check that a text has no invisible characters except concmem's own newlines."""
    text.encode("utf-8")
    found = {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Cn")} - {"\n"}
    assert not found, found
    assert "\n<script>" not in text and "\n|end" not in text


def run(*arguments: str | bytes | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    argv = [sys.executable, "-m", "concmem", *map(os.fsencode, arguments)]
    return subprocess.run(argv, capture_output=True, timeout=300, cwd=cwd)


@pytest.fixture(scope="module")
def measured() -> Measurement:
    return concmem.measure(["true"])


@pytest.fixture
def study(measured: Measurement, tmp_path: Path) -> Study:
    """A stored study in which each text is hostile: readers must not trust the writer."""
    host = measured.host
    made = Study(
        path=tmp_path / "study",
        plan=Plan(programs=("one", "two"), tasks=(1, 1000), runs=1, sleep_s=0.1, seed=1),
        host=host,
        programs=(
            Entry(name="one", title="One", language="One", kind="thread", variant="article", begins_together=False,
                  toolchain="one 1.0"),
            Entry(name="two", title="Two", language="Two", kind="thread", variant="own", begins_together=False,
                  missing="no two"),
        ),
        started_at="2026-01-01T00:00:00+00:00",
        version="1",
        hosts={"here": host},
        runs=tuple(
            Run(
                program=program, tasks=tasks, index=0, status="ok" if program == "one" else "failed",
                reason="" if program == "one" else "it failed", sleep_s=0.2, attempts=1, flags=("-x",),
                launch_s=0.1, done_s=0.3, machine="here", obstacles=(Obstacle("pid_max", 1, 2, 1, "sysctl"),),
                last_lines=("last",), exit=measured.exit,
                measurement=attrs.evolve(measured, peak=Figure(5 << 20, "bounded", "wait4", note="note")),
            )
            for program in ("one", "two")
            for tasks in (1, 1000)
        ),
    )  # fmt: skip
    store_study(made)
    for path in made.path.rglob("*.json"):
        content = json.loads(path.read_text())
        poison(content)
        path.write_text(json.dumps(content))
    return made


def poison(content: Any) -> None:
    """Make every free text hostile: not names, choices and times."""
    kept = {
        "name",
        "program",
        "programs",
        "what",
        "status",
        "kind",
        "reason",
        "workload",
        "started_at",
        "host",
        "hosts",
    }
    for key, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, str) and (key not in kept or (key, value) == ("reason", "it failed")):
            content[key] = HOSTILE
        elif isinstance(value, list) and value and all(isinstance(item, str) for item in value) and key not in kept:
            content[key] = [HOSTILE] * len(value)
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        poison(value)


def test_invisible_characters_are_escaped() -> None:
    """Every character is shown or escaped, and escaping twice changes nothing."""
    assert escape_text(HOSTILE) == SHOWN == escape_text(SHOWN)
    assert escape_text("a\tb\r\0\x7f\ufeff\U000e0041\uffff") == r"a\tb\r\x00\x7f\ufeff\U000e0041\uffff"
    plain = "naïve 日本語 \N{NO-BREAK SPACE}\N{ROCKET} 100 % `~!@#$^&*()[]{}\\|;:'\",.<>/?"
    assert escape_text(plain) == plain
    assert escape_text("a\nb\x1b", keep="\n") == "a\nb\\x1b"
    assert escape_bytes(b"\xffa\xc3\xa9\n") == "\\xffaé\\n"
    for code in (*range(0x3000), *range(0xD7F0, 0xE010), *range(0xFE00, 0x10000), *range(0xE0000, 0xE0100), 0x10FFFF):
        assert_harmless(escape_text(chr(code)))
    assert escape_values({"a\x1b": ["\n", 1, None, ("\x1b",)]}) == {"a\\x1b": ["\\n", 1, None, ["\\x1b"]]}


def test_a_cell_of_csv_is_no_formula() -> None:
    """A text that a spreadsheet would run is prefixed with an apostrophe; numbers are unchanged."""
    for begin in ("=1+1", "+1", "-1", "@SUM(A1)", " =1+1", "\N{FULLWIDTH EQUALS SIGN}1"):
        assert csv_cell(begin) == f"'{begin}"
    assert (csv_cell("\t=1"), csv_cell("\r=1")) == (r"\t=1", r"\r=1")
    assert (csv_cell(-5), csv_cell(-0.5), csv_cell(None), csv_cell("a=1")) == ("-5", "-0.5", "", "a=1")
    assert csv_cell(("-J", "x")) == "'-J x"


def test_a_word_for_a_shell_can_be_copied(tmp_path: Path) -> None:
    """Bash turns it into the same name, whatever characters it has."""
    for word in ("plain", "with space", "it's", "a\nb\x1b'\\c", "\u202e", os.fsdecode(b"\xff\xfe")):
        shown = shell_word(word)
        assert_harmless(shown)
        done = subprocess.run(["bash", "-c", f"printf %s {shown}"], capture_output=True, env={"LC_ALL": "C.UTF-8"})
        assert os.fsdecode(done.stdout) == word


def test_markdown_is_escaped() -> None:
    """Text makes no markup, no HTML and no table cell."""
    assert escape_markdown("<b>|a_b _c_ ~~x~~ &lt; [x](y)") == r"\<b\>\|a_b \_c\_ \~\~x\~\~ \&lt; \[x\](y)"


def test_every_error_is_one_line() -> None:
    """The message is escaped; the attributes of the error are unchanged."""

    def every(kind: type[ConcmemError]) -> list[type[ConcmemError]]:
        return [kind, *(each for sub in kind.__subclasses__() for each in every(sub))]

    for kind in every(ConcmemError):
        assert kind.__str__ is (BuildError if kind is BuildError else ConcmemError).__str__, kind  # the one place
    assert str(RecordingError(HOSTILE)) == str(concmem.SamplerError(2, HOSTILE)) == SHOWN
    assert str(BuildError("a\x1b\nb")) == "a\\x1b\nb"  # the lines are from the compiler
    error = concmem.CommandNotFound(2, "No such file", "a\x1b")
    assert (error.filename, str(error)) == ("a\x1b", "a\\x1b: No such file")


def test_a_console_escapes_strings_texts_and_cells() -> None:
    """In every form in which Rich accepts text."""
    from rich.table import Table
    from rich.text import Text

    for terminal in (True, False):
        out = io.StringIO()
        console = PipeConsole(file=out, width=200, force_terminal=terminal, color_system=None)
        table = Table(HOSTILE, title=HOSTILE)
        table.add_row(HOSTILE)
        table.add_row(Text(HOSTILE))
        console.print(HOSTILE, Text(HOSTILE), table, "[red]no markup :smile:")
        shown = out.getvalue().replace("\n", "")  # a table has newlines of its own
        assert "\x1b" not in shown and RIGHT_TO_LEFT not in shown and NOT_UTF_8 not in shown and LONE not in shown
        assert "[red]no markup :smile:" in shown and r"\x1b[2J" in shown


def test_run_shows_names_and_arguments_escaped(tmp_path: Path) -> None:
    """On the terminal, in a chart, in a page; the JSON keeps every byte."""
    pytest.importorskip("vl_convert", reason="vl-convert-python is missing: pip install 'concmem[report]'")
    name = os.fsencode(f"{ESC}\n{RIGHT_TO_LEFT}{NOT_UTF_8} <b>")
    program = tmp_path / os.fsdecode(name)
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    argument = b"=1+1\xff</script><script>taken=1</script>\x1b"
    for ending in ("svg", "html", "png"):
        chart = tmp_path / f"chart.{ending}"
        done = run("run", "--plot", chart, "--json", tmp_path / "a.json", "--", os.fsencode(program), argument)
        assert done.returncode == 0, done.stderr
        assert_harmless(done.stderr.decode())
        assert r"\x1b[2J\n\u202e\xff <b>" in done.stderr.decode()
        if ending != "png":
            shown = chart.read_text(encoding="utf-8")
            assert "\x1b" not in shown and RIGHT_TO_LEFT not in shown
            assert SCRIPT not in shown
    text = (tmp_path / "a.json").read_bytes()
    assert text.isascii()
    assert [os.fsencode(word) for word in json.loads(text)["command"]] == [os.fsencode(program), argument]
    assert Measurement.from_dict(json.loads(text)).command == (str(program), os.fsdecode(argument))


def test_errors_of_the_command_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They can contain names of programs, folders, files and options."""
    hostile = f"{tmp_path}/{ESC}\n{RIGHT_TO_LEFT}{NOT_UTF_8}"
    for arguments in (
        ("run", "--", hostile),
        ("run", "--cwd", hostile, "true"),
        ("run", "--json", hostile + "/x", "true"),
        ("run", "--timeline", hostile, "true"),
        ("run", "--" + hostile),
        (hostile,),
        ("report", hostile),
        ("report", tmp_path, "--out", hostile),
        ("merge", hostile, "--out", tmp_path / "new"),
        ("bench", "--programs", hostile),
        ("bench", "--resume", "--out", hostile),
        ("toolchains", "install", hostile),
        ("toolchains", "--programs-dir", hostile),
    ):
        with pytest.raises(SystemExit) as ended:
            command([str(each) for each in arguments], prog_name="concmem")
        assert ended.value.code not in (0, 1), arguments
        shown = capsys.readouterr().err
        assert_harmless(shown)
        assert shown.count("\n") == 1 and shown.startswith("concmem: "), shown


def test_a_language_is_shown_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its name in the manifest, the output of its tools, and their paths."""
    folder = tmp_path / "programs" / "odd"
    folder.mkdir(parents=True)
    (folder / "odd.sh").write_text("")
    tool = tmp_path / "tool\x1b\u202e"
    tool.write_text("#!/bin/sh\nprintf 'odd 7.1\\033[2J\\377'\n")
    tool.chmod(0o755)
    (folder / "language.toml").write_text(
        'name = "Odd"\n[[toolchain]]\nname = "odd"\nlabel = "odd {version}"\nrun = ["{odd}", "{source}"]\n'
        f'[[toolchain.tool]]\nname = "odd"\nlook = ["{tmp_path}/tool*"]\nask = ["{{odd}}"]\n'
        "answer = '(?s)odd (?P<version>.*)'\n"
        '[[program]]\nname = "odd"\ntitle = "Odd"\nkind = "process"\nfile = "odd.sh"\n',
    )
    monkeypatch.setattr(drivers, "PROGRAMS", folder.parent)  # only this language
    with pytest.raises(SystemExit) as ended:
        command(["toolchains"], prog_name="concmem")
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert_harmless(shown)
    assert "7.1\\x1b[2J\N{REPLACEMENT CHARACTER}" in shown and r"tool\x1b\u202e" in shown
    manifest = folder / "language.toml"
    manifest.write_text(manifest.read_text().replace('name = "Odd"', 'name = "Odd\\u001b"'))
    _manifest.read.cache_clear()
    with pytest.raises(SystemExit) as ended:
        command(["toolchains"], prog_name="concmem")
    assert ended.value.code == 2
    assert_harmless(capsys.readouterr().err)


def test_a_hostile_study_is_reported_escaped(study: Study) -> None:
    """Terminal, table, claims, page and charts escape every text."""
    pytest.importorskip("vl_convert", reason="vl-convert-python is missing: pip install 'concmem[report]'")
    done = run("report", study.path)
    assert done.returncode == 0, done.stderr
    assert_harmless(done.stdout.decode("utf-8"))
    for name in ("table.md", "claims.md", "table.csv", "index.html", "figure-1.svg", "figure-2.svg"):
        text = (study.path / name).read_text(encoding="utf-8")
        assert r"\x1b[2J" in text or r"\\x1b\[2J" in text or name == "claims.md", name
        assert "\x1b" not in text and RIGHT_TO_LEFT not in text, name
        assert SCRIPT not in text.replace(r"\<script\>", "") or name.endswith((".csv", ".md")), name
    for line in (study.path / "table.md").read_text().splitlines():
        assert "<script>" not in line
    rows = list(csv.reader(io.StringIO((study.path / "table.csv").read_text())))
    assert len({len(row) for row in rows}) == 1
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@", "\t", "\r"))]
    assert any(cell == f"'{SHOWN}" for row in rows for cell in row)


@pytest.mark.parametrize("form", report.STUDY_FORMATS)
def test_a_hostile_study_has_every_form(study: Study, form: str) -> None:
    """Also formats for other programs, and a comparison of two studies."""
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'concmem[parquet]'")
    content = report.study_bytes(load_study(study.path), form)
    if form == "parquet":
        return
    assert_harmless(content.decode("utf-8"))
    both = load_study(study.path)
    if form in report.COMPARISON_FORMATS:
        assert_harmless(report.comparison_bytes(report.compare(both, both), form).decode("utf-8"))
    out = io.StringIO()
    report.print_comparison(report.compare(both, both), PipeConsole(file=out, width=200))
    report.print_table(both, PipeConsole(file=out, width=200))
    report.print_claims(both, PipeConsole(file=out, width=200))
    assert_harmless(out.getvalue())


def test_progress_is_one_line_a_run(study: Study) -> None:
    """Whatever the reason of a failed run and the path of the study contain."""
    from concmem.study.running.progress import BarProgress, LineProgress

    loaded = load_study(study.path)
    out = io.StringIO()
    lines = LineProgress(out, heading=HOSTILE)
    bar = BarProgress(PipeConsole(file=out, force_terminal=True, color_system=None, width=300), HOSTILE)
    for progress in (lines, bar):
        progress.begin(2, 0)
        progress.note(HOSTILE)
        progress.finished(next(each for each in loaded.runs if each.status == "failed"), 1.0, 1, 2, 3.0)
        progress.end()
    shown = out.getvalue()
    assert ESC not in shown and RIGHT_TO_LEFT not in shown and NOT_UTF_8 not in shown
    assert shown.count(SHOWN) >= 4


def test_a_recording_error_names_a_hostile_file(tmp_path: Path) -> None:
    """The name is escaped."""
    path = tmp_path / "a\x1b\n.json"
    path.write_text("{")
    with pytest.raises(RecordingError) as caught:
        concmem.load(path)
    assert r"a\x1b\n.json" in str(caught.value) and "\n" not in str(caught.value)
