from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from stored_studies import store_study

from concmem import report
from concmem.cli.report import report as command
from concmem.model import Figure
from concmem.report.tables.formats import csv_text
from concmem.report.tables.peaks import markdown
from concmem.study import Study, rows
from concmem.study.results.results import Results
from concmem.study.results.row import COLUMNS

Make = Callable[..., Study]
CELLS = {("go", 1): [2, 3], ("go", 10_000): [30.5, 32], ("go", 20_000): [58, 61], ("rust", 1): "no rust here"}


@pytest.fixture
def study(make_study: Make) -> Study:
    """A study of two programs, one without a figure; runs with flags."""
    return make_study("study", CELLS, run={"flags": ("+P", "5")})


@pytest.fixture
def stored(study: Study) -> Path:
    """Store the study, and return its folder."""
    return store_study(study).path


def _report(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "concmem", "report", *map(str, arguments)], capture_output=True, timeout=300
    )


def test_the_csv_has_a_column_for_every_attribute(study: Study) -> None:
    """Columns are in the order of `Row`. Amounts are whole numbers, missing values are empty, flags are one cell."""
    lines = list(csv.DictReader(io.StringIO(csv_text(Results(study)))))
    assert tuple(lines[0]) == COLUMNS and len(lines) == 6
    assert (lines[1]["median_bytes"], lines[1]["flags"]) == (str(int(31.25 * (1 << 20))), "'+P 5")
    assert lines[1]["interval_low_bytes"] == str(int(30.5 * (1 << 20)))
    assert (lines[3]["median_bytes"], lines[3]["status"], lines[3]["reason"]) == ("", "skipped", "no rust here")


def test_the_json_has_rows_and_a_head(study: Study) -> None:
    """The JSON has plan, machine, toolchains and the cost of a task. Rows have every attribute with its type."""
    content = json.loads(report.study_bytes(study, "json"))
    assert (content["what"], content["schema"], content["version"]) == ("concmem rows", 1, "0.1")
    assert content["plan"]["tasks"] == [1, 10_000, 20_000] and content["host"]["kernel"] == study.host.kernel
    assert [entry["toolchain"] for entry in content["programs"]] == ["own 1.0", "own 1.0"]
    assert list(content["costs"]) == ["go"] and 2000 < content["costs"]["go"]["each_bytes"] < 4000
    for line, row in zip(content["rows"], rows(study), strict=True):
        assert tuple(line) == COLUMNS
        assert (line["median_bytes"], line["flags"]) == (row.median_bytes, list(row.flags))


def test_the_parquet_reads_back(study: Study) -> None:
    """Parquet has the rows of the JSON, a type for each column, even an empty one, and the head as metadata."""
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (pip install 'concmem[parquet]')")
    from pyarrow import parquet

    content = json.loads(report.study_bytes(study, "json"))
    table = parquet.read_table(io.BytesIO(report.study_bytes(study, "parquet")))
    assert table.to_pylist() == content.pop("rows")
    assert json.loads(table.schema.metadata[b"concmem"]) == content
    assert table.schema.field("median_bytes").type == pyarrow.int64()
    assert table.schema.field("rate_per_s").type == pyarrow.float64()
    assert table.schema.field("title").type == pyarrow.string()
    assert table.schema.field("flags").type == pyarrow.list_(pyarrow.string())


def test_without_pyarrow_one_sentence_says_what_to_install(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other formats work without pyarrow."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(report.ReportExtraMissing, match=r"pyarrow, which is missing: pip install 'concmem\[parquet\]'"):
        report.study_bytes(study, "parquet")
    assert report.study_bytes(study, "md").decode() == markdown(Results(study))


def test_an_unknown_margin_is_null(study: Study) -> None:
    """A reading that is a lower bound has no upper margin; the value is null, not 0."""
    sampled = tuple(
        attrs.evolve(
            run,
            measurement=run.measurement and attrs.evolve(run.measurement, peak=Figure(5 << 20, "sampled", "statm")),
        )
        for run in study.runs
    )
    line = json.loads(report.study_bytes(attrs.evolve(study, runs=sampled), "json"))["rows"][0]
    assert (line["median_bytes"], line["error_bytes"], line["over_bytes"]) == (5 << 20, None, 0)


def test_a_comparison_has_both_rows(study: Study) -> None:
    """JSON has both rows; CSV has columns with the prefixes a_ and b_. A missing row is null or empty."""
    other = attrs.evolve(study, plan=attrs.evolve(study.plan, programs=("go",)), programs=study.programs[:1])
    comparison = report.compare(study, other)
    content = json.loads(report.comparison_bytes(comparison, "json"))
    assert content["what"] == "concmem comparison" and content["differences"] == []
    first, *_, last = content["pairs"]
    assert (first["program"], first["ratio"], first["verdict"], first["is_far"]) == ("go", 1.0, "same", False)
    assert tuple(first["a"]) == COLUMNS and first["a"] == first["b"]
    assert (last["a"]["status"], last["b"], last["ratio"]) == ("not run", None, None)
    lines = list(csv.DictReader(io.StringIO(report.comparison_bytes(comparison, "csv").decode())))
    assert len(lines) == 6
    assert {f"{name}_{column}" for name in "ab" for column in COLUMNS} - set(lines[0]) == {
        "a_program", "a_tasks", "b_program", "b_tasks"
    }  # fmt: skip
    assert (lines[0]["a_median_bytes"], lines[0]["ratio"]) == (str(5 << 19), "1")
    assert (lines[-1]["b_median_bytes"], lines[-1]["b_status"], lines[-1]["ratio"]) == ("", "", "")


@pytest.mark.parametrize("form", report.STUDY_FORMATS)
def test_the_command_prints_only_one_format(stored: Path, form: str) -> None:
    """The output goes to a pipe, or to a file whose ending gives the format. No other file is written."""
    if form == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is not installed (pip install 'concmem[parquet]')")
    before = sorted(stored.rglob("*"))
    done = _report(stored, "--format", form)
    assert (done.returncode, done.stderr) == (0, b"")
    out = stored.parent / f"rows.{form}"
    assert _report(stored, "--out", out).stdout == b""
    assert out.read_bytes() == done.stdout and len(done.stdout) > 500
    assert sorted(stored.rglob("*")) == before


def test_the_format_is_that_of_the_option_or_the_ending(stored: Path) -> None:
    """With --format any ending is allowed but that of another format; without it, the ending must be a format."""
    text = stored.parent / "rows.txt"
    assert _report(stored, "--format", "csv", "--out", text).returncode == 0
    assert text.read_bytes() == _report(stored, "--format", "csv").stdout
    for options, said in (
        (["--out", "rows.txt"], "rows.txt: the name must end in .md, .csv, .json, .parquet, or --format must be given"),
        (["--out", "rows"], "rows: the name must end in .md"),
        (["--format", "csv", "--out", "rows.json"], "the ending of rows.json contradicts --format csv"),
    ):
        done = _report(stored, *options)
        assert (done.returncode, done.stdout) == (2, b"")
        assert done.stderr.decode().startswith(f"concmem: {said}") and done.stderr.count(b"\n") == 1


def test_the_command_has_the_formats_of_the_library() -> None:
    """`--format` lists the formats of the library."""
    (option,) = (each for each in command.params if each.name == "form")
    assert tuple(option.type.choices) == report.STUDY_FORMATS


def test_parquet_is_not_written_to_a_terminal(stored: Path) -> None:
    """On a terminal the command exits with 2 and one sentence, and writes no data."""
    master, slave = pty.openpty()
    try:
        arguments = [sys.executable, "-m", "concmem", "report", str(stored), "--format", "parquet"]
        done = subprocess.run(arguments, stdout=slave, stderr=subprocess.PIPE, text=True, timeout=300)
        os.set_blocking(master, False)
        with pytest.raises(BlockingIOError):
            os.read(master, 1)
    finally:
        os.close(master)
        os.close(slave)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("concmem: Parquet is not text: use --out FILE, or write to a pipe")
