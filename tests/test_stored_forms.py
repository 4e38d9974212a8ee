"""Files that earlier versions wrote still load, with the same figures. They are in ``tests/stored``, as written."""

from __future__ import annotations

from pathlib import Path

import concmem
from concmem import report
from concmem.study import load_study

STORED = Path(__file__).resolve().parent / "stored"


def test_a_measurement_of_schema_2() -> None:
    """Elixir with 100,000 tasks: both ends of the peak, the processes, and the survivors, which were a number then."""
    m = concmem.load(STORED / "measurement-0.1.0.json")
    assert (m.peak.bytes, m.peak.status, m.peak.source) == (478_633_984, "bounded", "statm, less shared")
    assert (m.peak.low_bytes, m.peak.high_bytes) == (478_633_984, 492_630_016)
    assert len(m.processes) == 14 and m.sampler.survivors == ()
    assert str(m.command[0]) == "/usr/bin/elixir"


def test_a_study_of_schema_1() -> None:
    """Runs, reasons and rows: Go and Java, with a size that could not run and the largest one that did."""
    study = load_study(STORED / "study-0.1.0")
    runs = {(run.program, run.tasks, run.index): run for run in study.runs}
    assert len(runs) == 7
    assert runs["go", 1, 0].measurement is not None
    assert runs["go", 1, 0].measurement.peak.bytes == 2_166_784
    failed = runs["java-threads", 100_000, 0]
    assert failed.status == "failed" and failed.reason.startswith("could not start thread 32432: ")
    assert failed.other_work is None and not failed.was_busy
    assert (failed.reason_limit, failed.named_limit) == (None, "kernel.pid_max is 32768")
    assert runs["java-threads", 31_000, 0].instead_of == 100_000
    table = report.study_bytes(study, "md").decode()
    go = next(line for line in table.splitlines() if line.startswith("| go |"))
    assert "2.07 MiB" in go and "263 MiB" in go
