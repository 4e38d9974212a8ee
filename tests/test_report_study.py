from __future__ import annotations

import csv
import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import pytest
from click.testing import CliRunner
from rich.console import Console
from stored_studies import store_study

import concmem
from concmem import report
from concmem.cli.report import report as report_command
from concmem.drivers.programs import load_programs
from concmem.model import Figure, Measurement
from concmem.report.charts.bar_texts import instead
from concmem.report.charts.study import finding, write_charts
from concmem.report.charts.theme import language_colours
from concmem.report.tables.formats import csv_text
from concmem.report.tables.markdown import escape as escape_markdown
from concmem.report.tables.peaks import markdown, print_table
from concmem.study import Entry, Plan, Run, Study, rows
from concmem.study.results.results import Results

MIB = 1 << 20
LIMIT = "could not start thread 16368: EAGAIN (exit code 1); most threads alive at once: 16 368; " * 4


@pytest.fixture(scope="module")
def measured() -> Measurement:
    """Return a real measurement, the template of invented ones."""
    return concmem.measure(["/bin/true"])


@pytest.fixture
def study(measured: Measurement, tmp_path: Path) -> Study:
    """Return a study of four programs, two sizes, three runs: good, with a longer sleep, partly failed, missing."""
    plan = Plan(programs=("lean", "fat", "threads", "absent"), tasks=(1, 100_000), runs=3, seed=4)
    runs = []
    for tasks in plan.tasks:
        for index in range(3):

            def add(program: str, mib: float | None, tasks: int = tasks, index: int = index, **more: Any) -> None:
                figure = Figure(int((mib or 0) * MIB), "bounded", "wait4 ru_maxrss", error_bytes=64 << 10)
                made = attrs.evolve(measured, peak=figure, wall_s=10.5)
                good = {"status": "ok", "launch_s": 0.25, "measurement": made} if mib else {"status": "failed"}
                runs.append(Run(program=program, tasks=tasks, index=index, **{"sleep_s": 10.0, **good, **more}))

            add("lean", 2 + index + tasks / 1e4, flags=("+P 1048576",))
            late = {"sleep_s": 20.0, "attempts": 2} if tasks > 1 else {}
            add("fat", 40 if tasks == 1 else 3000, **late)
            if tasks == 1 and index < 2:
                add("threads", 1)
            else:
                add("threads", None, reason=LIMIT)
            add("absent", None, status="skipped", reason="could not run: no absent on PATH (apt-get install absent)")
    entries = [Entry(name, name.title(), name, "thread", "article", False, f"{name} 1.0", "") for name in plan.programs]
    return Study(
        path=tmp_path,
        plan=plan,
        host=measured.host,
        programs=tuple(entries),
        runs=tuple(runs),
        started_at="2020-01-01T00:00:00+00:00",
        version="0.1",
    )


def test_rows_summarize_runs(study: Study) -> None:
    """Median, range and errors are those of the runs with a figure. A failed row has no figure."""
    found = {(row.program, row.tasks): row for row in rows(study)}
    lean, part = found["lean", 1], found["threads", 1]
    assert (lean.status, lean.runs, lean.good_runs, lean.error_bytes) == ("ok", 3, 3, 64 << 10)
    assert [lean.min_bytes, lean.median_bytes, lean.max_bytes] == [int((n + 1e-4) * MIB) for n in (2, 3, 4)]
    assert (lean.wall_s, lean.launch_s, lean.figure_status, lean.source) == (10.5, 0.25, "bounded", "wait4 ru_maxrss")
    assert (part.status, part.good_runs, part.runs, part.median_bytes) == ("partly", 2, 3, MIB)
    assert part.reason == LIMIT
    assert (found["threads", 100_000].status, found["threads", 100_000].median_bytes) == ("failed", None)
    assert (found["absent", 1].status, found["fat", 100_000].sleep_s) == ("skipped", 20.0)


def test_rows_that_have_not_run_yet(study: Study) -> None:
    """An unfinished study has all rows; those without runs have the status not run."""
    begun = attrs.evolve(study, runs=tuple(run for run in study.runs if run.tasks == 1))
    late = [row for row in rows(begun) if row.tasks > 1]
    assert {(row.status, row.runs, row.median_bytes) for row in late} == {("not run", 0, None)}
    assert len(late) == 4


def test_the_csv_holds_every_row_in_full(study: Study) -> None:
    """Bytes and seconds are numbers, missing figures are empty, reasons are complete."""
    lines = list(csv.DictReader(io.StringIO(csv_text(Results(study)))))
    assert len(lines) == 8
    lean = lines[0]
    assert (lean["program"], lean["tasks"], lean["median_bytes"]) == ("lean", "1", str(int((3 + 1e-4) * MIB)))
    assert (lean["flags"], lean["sleep_s"], lean["wall_s"], lean["error_bytes"]) == (
        "'+P 1048576",
        "10",
        "10.5",
        "65536",
    )
    failed = lines[5]
    assert (failed["status"], failed["median_bytes"], failed["error_bytes"]) == ("failed", "", "")
    assert failed["reason"] == LIMIT


def test_reasons_that_differ_only_in_numbers_are_one(study: Study) -> None:
    """Of reasons that differ only in numbers the first is shown, with other reasons after it."""
    reasons = ("stopped at thread 16 369; pid_max is 9", "timed out", "stopped at thread 370; pid_max is 10")
    runs = [Run(program="fat", tasks=1, index=i, status="failed", sleep_s=1, reason=r) for i, r in enumerate(reasons)]
    (row,) = [row for row in rows(attrs.evolve(study, runs=runs)) if (row.program, row.tasks) == ("fat", 1)]
    assert row.reason == "stopped at thread 16 369; pid_max is 9 / timed out"


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_the_terminal(study: Study, width: int) -> None:
    """No line is wider than the terminal, no cell is cut or wrapped, and a pipe gets no escape sequences."""
    out = io.StringIO()
    print_table(study, Console(file=out, width=width))
    text = out.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "\x1b" not in text and "\N{HORIZONTAL ELLIPSIS}" not in text
    lines = {line.split()[0]: line for line in reversed(text.splitlines()) if line.strip()}
    assert lines["lean"].split() == ["lean", "3.00", "MiB", "[1,2]", "13.0", "MiB", "[2,3]"]
    assert lines["fat"].split() == ["fat", "40.0", "MiB", "2.93", "GiB", "[4]"]
    assert "slept 20 s instead of 10 s" in " ".join(text.split())
    assert "apt-get install absent" in " ".join(text.split())


def test_a_terminal_without_unicode_gets_a_table_too(study: Study) -> None:
    """In an ASCII locale the table is printed in ASCII."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    print_table(study, Console(file=file, width=80))
    assert b"lean" in raw.getvalue()


def test_sampled_figures_have_no_upper_margin(study: Study, measured: Measurement) -> None:
    """A sampled figure has no upper margin in any table, not even 0. A bounded figure has both margins."""

    def table(*figures: Figure) -> tuple[dict[str, str], str]:
        runs = tuple(
            attrs.evolve(run, measurement=attrs.evolve(measured, peak=figure))
            for run, figure in zip(study.runs, figures, strict=False)
        )
        shown = attrs.evolve(study, runs=runs, plan=attrs.evolve(study.plan, programs=("lean",), tasks=(1,)))
        (line,) = csv.DictReader(io.StringIO(csv_text(Results(shown))))
        (cells,) = (line for line in markdown(Results(shown)).splitlines() if line.startswith("| lean | 1 |"))
        return line, cells.split(" | ")[5]

    bounded = Figure(4 * MIB, "bounded", "wait4 ru_maxrss", error_bytes=64 << 10, over_bytes=8 << 10)
    sampled = Figure(4 * MIB, "sampled", "statm")
    line, error = table(sampled)
    assert (line["error_bytes"], line["over_bytes"], line["figure_status"], error) == ("", "0", "sampled", "or more")
    line, error = table(bounded)
    assert (line["error_bytes"], line["over_bytes"], error) == ("65536", "8192", "-8.00 KiB +64.0 KiB")


def test_programs_are_ordered_by_memory(study: Study) -> None:
    """The order is that of the largest size, then of the next smaller one. Programs without figures are last."""
    lines = markdown(Results(study)).splitlines()
    first = lines.index("| program | kind | 1 | 100 000 |") + 2
    assert [line.split(" | ")[0] for line in lines[first : first + 4]] == ["| lean", "| fat", "| threads", "| absent"]


def test_the_markdown_has_the_method(study: Study) -> None:
    """Source, status and its meaning, ranges, errors, seed and machine are below the table."""
    text = markdown(Results(study))
    assert "seed 4" in text
    for said in (
        "read from wait4 ru_maxrss",
        "less the error with a minus sign",
        "+64.0 KiB",
        "2.00 MiB to 4.00 MiB",
        "lean 1.0",
    ):
        assert said in text
    assert study.host.kernel in text
    assert "pid\\_max" in text or "pid_max" in text


def test_the_title_is_the_finding(study: Study) -> None:
    """The title names the least and the most, or the only program, or says that there is no figure."""
    small = [row for row in rows(study) if row.tasks == 1]
    assert finding(small) == "At 1 task, Threads needs least: 1.00 MiB; Fat most: 40.0 MiB"
    assert finding(small[:1]) == "At 1 task, Lean needs 3.00 MiB"
    assert finding(small[3:]) == "At 1 task, no program has a figure"


def test_each_size_has_a_chart(study: Study) -> None:
    """Each size has an SVG and a PNG with every title, amount and reason, and nothing is cut off."""
    pytest.importorskip("altair", reason="altair is not installed (pip install 'concmem[report]')")
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed (pip install 'concmem[report]')")
    paths = write_charts(Results(study), study.path)
    assert [path.name for path in paths] == ["figure-1.svg", "figure-1.png", "figure-2.svg", "figure-2.png"]
    for number, expected in (
        (
            1,
            ["Lean", "Fat", "Absent", "lean 1.0, +P 1048576", "3.00 MiB", "40.0 MiB", "1.00 MiB, 2 of 3 runs"],
        ),
        (2, ["At 100 000 tasks, Lean needs least: 13.0 MiB; Fat most: 2.93 GiB", "2.93 GiB, slept 20 s"]),
    ):
        texts = _texts(study.path / f"figure-{number}.svg")
        for text in expected:
            assert text in texts
        assert any(text.startswith("could not run: no absent on PATH") for text in texts)
    assert any(text.startswith("could not start thread") for text in texts)
    assert any(text.endswith("(see the table)") for text in texts), "a long reason is shortened, with a hint"
    for svg in study.path.glob("*.svg"):
        assert "#E6E6E6" not in svg.read_text(), "grid lines would cross the texts"
    png = (study.path / "figure-2.png").read_bytes()
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG") and 1000 < width < 2500 and 300 < height < 1500


def _texts(path: Path) -> list[str]:
    tree = ElementTree.parse(path)
    ns = "{http://www.w3.org/2000/svg}"
    found = []
    for element in tree.iter(f"{ns}text"):
        found += [text for part in (element, *element.iter(f"{ns}tspan")) if (text := (part.text or "").strip())]
    return found


def test_the_report_is_written_into_the_study_s_folder(study: Study) -> None:
    """Charts and tables are written into the study's folder, and can be written again."""
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed (pip install 'concmem[report]')")
    store_study(study)
    paths = report.write(study.path)
    assert [path.name for path in paths[-5:]] == ["table.md", "table.csv", "claims.md", "claims.json", "index.html"]
    assert report.write(study.path) == paths
    assert all(path.parent == study.path and path.stat().st_size > 0 for path in paths)


def test_the_report_depends_only_on_the_runs(study: Study) -> None:
    """A copy without timelines gives the same tables and charts, byte for byte, in any process."""
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed (pip install 'concmem[report]')")
    store_study(study)
    drawn = {path: path.read_bytes() for path in report.write(study.path) if path.name != "index.html"}
    timelines = list((study.path / "runs").glob("*.npz"))
    for path in (*drawn, *timelines):
        path.unlink()
    command = [sys.executable, "-m", "concmem", "report", str(study.path)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=300)
    assert timelines and {path: path.read_bytes() for path in drawn} == drawn


def test_a_language_has_its_own_colour() -> None:
    """In each study the article's languages have the same colours, all different."""
    own = list(dict.fromkeys(program.language for program in load_programs().values() if program.variant == "article"))
    every = language_colours(own)
    assert len(set(every.values())) == len(own)
    for language in own:
        assert language_colours(["Fortran", language])[language] == every[language]
    assert language_colours(["Fortran"])["Fortran"] not in every.values()


def test_a_study_without_any_figure_has_a_report(study: Study, measured: Measurement) -> None:
    """If nothing could run, table and charts are written and say so."""
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed (pip install 'concmem[report]')")
    none = attrs.evolve(study, runs=tuple(run for run in study.runs if run.program == "absent"))
    assert len(write_charts(Results(none), study.path)) == 4
    assert "| lean | thread | not run<sup>" in markdown(Results(none))


def test_without_the_extra_one_sentence_says_what_to_install(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library writes nothing, or only the tables. The command writes the tables and exits with 1."""
    store_study(study)
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(report.ReportExtraMissing, match=r"altair is missing: pip install 'concmem\[report\]'"):
        report.write(study.path)
    assert not list(study.path.glob("table.*"))
    assert [path.name for path in report.write(study.path, figures=False)][:2] == ["table.md", "table.csv"]
    done = CliRunner().invoke(report_command, [str(study.path)])
    assert done.exit_code == 1
    assert "altair is missing: pip install 'concmem[report]', then: concmem report " in done.output
    assert f"Written: table.md, table.csv, claims.md, claims.json in {study.path}\n" in done.output


def test_importing_the_report_does_not_import_altair() -> None:
    """Tables need no extra, so importing concmem.report imports neither Altair nor vl-convert."""
    code = "import sys, concmem.report; sys.exit(any(m in sys.modules for m in ('altair', 'vl_convert')))"
    assert subprocess.run([sys.executable, "-c", code], timeout=300).returncode == 0


def test_a_study_without_a_run_has_no_report(study: Study) -> None:
    """Existing files are not overwritten."""
    store_study(attrs.evolve(study, runs=()))
    (study.path / "table.md").write_text("kept")
    done = subprocess.run(
        [sys.executable, "-m", "concmem", "report", str(study.path)], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "has no run yet" in done.stderr
    assert (study.path / "table.md").read_text() == "kept"


@pytest.mark.parametrize(
    "reason",
    [
        "could not start thread 16369: failed to set up alternative stack guard page: Cannot allocate memory (os error "
        "12) (exit code 1); most threads alive at once: 16 369; vm.max_map_count is 65530",
        "not tried: it could not run with 100 000 tasks already: could not start thread 32428: unable to create native "
        "thread: possibly out of memory or process/resource limits reached (exit code 1); most threads alive at once: "
        "32 446; kernel.pid_max is 32768",
    ],
)
def test_a_reason_of_usual_length_is_complete(study: Study, reason: str) -> None:
    """The reason is complete, no line is too long, and lines have similar lengths."""
    row = next(row for row in rows(study) if (row.program, row.tasks) == ("threads", 100_000))
    lines = instead(attrs.evolve(row, reason=reason), 100).split("\n")
    assert " ".join(lines).replace("\u00a0", " ") == reason
    assert 60 < min(map(len, lines)) <= max(map(len, lines)) <= 100


def test_a_shortened_reason_keeps_its_numbers_and_its_limit(study: Study) -> None:
    """A shortened reason has no partial number, and keeps the limit that was reached."""
    row = next(row for row in rows(study) if (row.program, row.tasks) == ("threads", 100_000))
    for length in range(60, 300):
        filler = "x " * (length // 2) + "y" * (length % 2)
        reason = f"{filler}; most alive: 32 448 at once; kernel.pid_max is 32768"
        text = instead(attrs.evolve(row, reason=reason, reason_limit="kernel.pid_max is 32768"), 100)
        plain = text.replace("\n", " ").replace("\u00a0", " ")
        assert plain.removesuffix(" (see the table)").endswith("; kernel.pid_max is 32768")
        assert len(text.splitlines()) <= 3
        assert ("32\u00a0448" in text) == ("448" in text) == ("32" in text.replace("32768", ""))
    assert instead(attrs.evolve(row, reason="not tried: it could not"), 100) == "not tried: it could not"


def test_a_shortened_reason_names_its_limit_and_nothing_else_that_comes_last(study: Study) -> None:
    """The limit is not what comes last in the sentence."""
    reason = f"{'could not start thread 7: ' * 12}; kernel.pid_max is 32768; could not be killed: 7 (java)"
    for limit, kept in (("kernel.pid_max is 32768", "; kernel.pid_max is 32768"), ("", "")):
        run = Run(program="fat", tasks=1, index=0, status="failed", sleep_s=1, reason=reason, reason_limit=limit)
        (row,) = [row for row in rows(attrs.evolve(study, runs=[run])) if (row.program, row.tasks) == ("fat", 1)]
        text = instead(row, 100).replace("\n", " ").replace("\u00a0", " ")
        assert text.endswith(f" ...{kept} (see the table)")


def test_a_folder_without_a_study(tmp_path: Path) -> None:
    """The command exits with 2 and one sentence."""
    command = [sys.executable, "-m", "concmem", "report", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (2, f"concmem: there is no study in {tmp_path}\n")


@pytest.mark.parametrize(
    "text", ["\uffff", "\ufffe", "\x1b[31m", "\x00", "\udcff", "\u202e", "\x9b", "\U0010ffff", "\x01"]
)
def test_any_output_of_a_program_can_be_drawn(study: Study, text: str) -> None:
    """Characters that charts cannot contain, in a reason or a title, are escaped. Charts and tables are written."""
    runs = [attrs.evolve(run, reason=run.reason and f"bad {text} end") for run in study.runs]
    entries = [attrs.evolve(entry, title=f"{entry.title}{text}") for entry in study.programs]
    stored = store_study(attrs.evolve(study, runs=tuple(runs), programs=tuple(entries)))
    assert {path.name for path in report.write(stored.path)} >= {
        "figure-1.svg",
        "figure-1.png",
        "table.md",
        "index.html",
    }
    assert text not in (stored.path / "table.md").read_text()
    assert f"bad {escape_markdown(text)}" in (stored.path / "table.md").read_text()
