"""Other work on the CPUs: read from test files of /proc, stored with each run, and used by rows and claims."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pytest

import concmem
from concmem.cli._commands import main
from concmem.report.charts.study import finding
from concmem.report.page.sentences import bars_title, headline
from concmem.report.tables.peaks import markdown
from concmem.study import Plan, Run, Study, bench, claims, costs, load_study, rows
from concmem.study.judging.verdicts import Answer, Cells
from concmem.study.results.results import Results
from concmem.study.running import attempt as attempts
from concmem.study.running import backend as places
from concmem.study.running import other_work
from concmem.study.running.other_work import BUSY_SHARE, CpuMeter, OtherWork, measure_now
from concmem.study.store.directory import Store

HZ = os.sysconf("SC_CLK_TCK")
BUSY = OtherWork(0.4, 0.1, 0.01)
IDLE = OtherWork(0.02, 0.0, 0.01)
GOOD = """\
import sys, time
print(f"started {sys.argv[1]}", flush=True)
time.sleep(float(sys.argv[2]))
print(f"done {sys.argv[1]}", flush=True)
"""


class Machine:
    """
    A machine with two CPUs that the calling thread may use, and a third one that it may not use.

    Time passes only in `work`.
    """

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        self.at_s = self.own_s = 0.0
        self.columns = {name: [1000.0] * 3 for name in other_work._COLUMNS}
        self.threads: dict[int, tuple[float, int, int]] = {}
        self.write()

    def work(self, seconds: float, *, own_s: float = 0.0, **columns: float) -> None:
        """Let time pass: add these seconds to each column, spread over both CPUs; the third CPU is always busy."""
        self.at_s += seconds
        self.own_s += own_s
        for name, amount in columns.items():
            for cpu in (0, 1):
                self.columns[name][cpu] += amount / 2
        self.columns["user"][2] += seconds
        self.write()

    def write(self) -> None:
        """Write the files of this moment."""
        lines = ["cpu  0 0 0 0 0 0 0 0 0 0"]
        for cpu in range(3):
            amounts = " ".join(str(round(of_cpu[cpu] * HZ)) for of_cpu in self.columns.values())
            lines.append(f"cpu{cpu} {amounts} 0 0")
        (self.proc / "stat").write_text("\n".join([*lines, "intr 1 2", "ctxt 5"]))
        for pid, (cpu_s, flags, cpu) in self.threads.items():
            (self.proc / str(pid)).mkdir(exist_ok=True)
            rest = ["0"] * 52
            rest[0], rest[6], rest[11], rest[12], rest[36] = "S", str(flags), "0", str(round(cpu_s * HZ)), str(cpu)
            (self.proc / str(pid) / "stat").write_text(f"{pid} (k) x) {' '.join(rest)}\n")

    def watch(self) -> CpuMeter:
        """Return a meter that starts now."""
        return CpuMeter(lambda: self.at_s, lambda: self.own_s)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(other_work, "_PROC", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    return Machine(tmp_path)


def seen(watch: CpuMeter) -> OtherWork:
    result = watch.read()
    assert result is not None
    return result


def test_a_tree_that_uses_all_cpus_is_not_other_work(machine: Machine) -> None:
    """The tree's own time is subtracted, however much it is, and the kernel's work for it too."""
    watch = machine.watch()
    machine.work(10, own_s=19.5, user=15, system=4.5, softirq=0.3, irq=0.2)
    result = seen(watch)
    assert result.share == pytest.approx(0, abs=1e-9) and not result.is_busy


def test_kernel_threads_on_these_cpus_are_not_other_work(machine: Machine) -> None:
    """Kernel threads on other CPUs do not matter; processes that are not kernel threads count."""
    kernel = 0x00200000
    machine.threads = {7: (50.0, kernel | 0x40, 1), 8: (3.0, kernel, 2), 9: (4.0, 0x40, 0)}
    machine.write()
    watch = machine.watch()
    machine.threads = {7: (54.0, kernel | 0x40, 1), 8: (30.0, kernel, 2), 9: (40.0, 0x40, 0)}
    machine.work(10, own_s=10, idle=6)
    assert seen(watch).share == pytest.approx(0)
    machine.work(10, own_s=0, idle=10)
    assert seen(watch).share == pytest.approx(10 / 40)


@pytest.mark.parametrize(
    ("columns", "own_s", "share", "steal", "busy"),
    [
        ({"idle": 20}, 0, 0, 0, False),
        ({"idle": 10, "iowait": 9.5, "user": 0.5}, 0, 0.025, 0, False),  # daemons
        ({"idle": 8, "user": 10, "system": 2}, 10, 0.1, 0, False),  # at the threshold, less the error
        ({"idle": 10, "user": 10}, 0, 0.5, 0, True),  # one process that computes, on two CPUs
        ({"user": 10, "nice": 10}, 8, 0.6, 0, True),  # both CPUs are used, eight of twenty seconds by the tree
        ({"idle": 15, "steal": 5}, 0, 0, 0.25, True),
        ({"user": 15, "steal": 5}, 20, 0, 0.25, True),  # a kernel that counts stolen time as the tree's own
        ({"idle": 18, "steal": 1, "user": 1.5}, 0, 0.05, 0.05, False),
        ({"idle": 17, "steal": 1.5, "user": 1.5}, 0, 0.075, 0.075, True),  # both together are too much
    ],
)
def test_what_others_take(
    columns: dict[str, float], own_s: float, share: float, steal: float, busy: bool, machine: Machine
) -> None:
    watch = machine.watch()
    machine.work(10, own_s=own_s, **columns)
    result = seen(watch)
    assert result.steal_share == pytest.approx(steal)
    assert (result.is_busy, result.taken_share - steal) == (busy, pytest.approx(share, abs=0.01))


def test_few_ticks_mark_no_run(machine: Machine) -> None:
    """In 50 ms a few ticks are no proof of other work, so the run is not marked."""
    watch = machine.watch()
    machine.work(0.05, user=0.04, idle=0.06)
    result = seen(watch)
    assert result.share == pytest.approx(0.4) and result.error_share > 0.3 and not result.is_busy


@pytest.mark.parametrize("stat", [None, "", "cpu0 1 2\ncpu1 1 2\n", "cpu0 a b c d e f g h\n", "cpu1 1 2 3 4 5 6 7 8\n"])
def test_unreadable_columns_give_no_result(stat: str | None, machine: Machine) -> None:
    watch = machine.watch()
    (machine.proc / "stat").unlink()
    if stat is not None:
        (machine.proc / "stat").write_text(stat)
    assert watch.read() is None and machine.watch().read() is None


def test_columns_that_never_change_give_no_result(machine: Machine) -> None:
    """A sandbox's /proc/stat that never changes does not make the machine busy."""
    watch = machine.watch()
    assert watch.read() is None  # no time has passed
    machine.at_s += 10
    assert watch.read() is None


def test_a_measurement_of_other_work_takes_less_than_a_second(machine: Machine) -> None:
    def pause(seconds: float) -> None:
        assert seconds < 1
        machine.work(10, user=18, idle=2)

    result = measure_now(pause, machine.watch)
    assert result is not None and result.share == pytest.approx(0.9) and result.is_busy
    assert "took 90% of the CPU time" in str(OtherWork(0.9, 0.0, 0.0))
    assert str(OtherWork(0.2, 0.3, 0.0)) == "other processes took 20% of the CPU time, the hypervisor 30%"


def test_the_time_of_a_real_tree_is_subtracted() -> None:
    """On a machine with any load, the tree's part and that of others are no more than all time."""
    script = "import os, time\nos.fork()\nos.fork()\nwhile time.process_time() < 0.2: pass\n"
    begun_s = time.monotonic()
    watch = CpuMeter()
    measured = concmem.measure([sys.executable, "-S", "-c", script])
    result = watch.read()
    all_s = (time.monotonic() - begun_s) * len(os.sched_getaffinity(0))
    if result is None:
        pytest.skip("/proc/stat counts nothing here")
    own_s = measured.user_s + measured.system_s
    assert own_s > 0.5 and result.share <= 1 - own_s / all_s


@pytest.fixture
def stored(
    monkeypatch: pytest.MonkeyPatch, own_machine: None, write_programs: Callable[..., Path], tmp_path: Path
) -> Callable[[OtherWork | None], Path]:
    """Return a function that makes a study of one run with this other work, and returns its folder."""

    def make(result: OtherWork | None) -> Path:
        class Fake:
            def read(self) -> OtherWork | None:
                return result

        monkeypatch.setattr(attempts, "CpuMeter", Fake)
        folder = write_programs(GOOD, "one") if not (tmp_path / "programs").exists() else tmp_path / "programs"
        plan = Plan(programs=("one",), programs_dirs=(str(folder),), tasks=(1,), sleep_s=0.1, seed=1)
        return bench(plan, tmp_path / f"study-{result is None}").path

    return make


def test_each_run_stores_its_other_work(stored: Callable[[OtherWork | None], Path]) -> None:
    path = stored(BUSY)
    (run,) = load_study(path).runs
    assert (run.other_work, run.was_busy) == (BUSY, True)
    content = json.loads(next((path / "runs").glob("*.json")).read_text())
    assert content["other_work"] == {"share": 0.4, "steal_share": 0.1, "error_share": 0.01}
    (run,) = load_study(stored(None)).runs
    assert (run.other_work, run.was_busy) == (None, False)


@pytest.mark.parametrize("wrong", [2.0, -0.1, "much", [], float("nan"), {"share": 1}])
def test_a_stored_share_that_is_invalid_is_refused(wrong: object, stored: Callable[[OtherWork | None], Path]) -> None:
    path = next((stored(BUSY) / "runs").glob("*.json"))
    content = json.loads(path.read_text())
    content["other_work"]["share"] = wrong
    path.write_text(json.dumps(content))
    with pytest.raises(concmem.RecordingError, match=r"other_work|share"):
        load_study(path.parent.parent)


def test_runs_of_earlier_versions_load_without_it(stored: Callable[[OtherWork | None], Path]) -> None:
    path = next((stored(BUSY) / "runs").glob("*.json"))
    content = json.loads(path.read_text())
    del content["other_work"]
    path.write_text(json.dumps(content))
    (run,) = load_study(path.parent.parent).runs
    assert run.other_work is None and not run.was_busy


def test_a_busy_machine_is_reported_before_the_first_run(
    own_machine: None,
    write_programs: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The line of each marked run says so too."""
    monkeypatch.setattr(places, "measure_now", lambda: BUSY)
    folder = write_programs(GOOD, "one")

    class Fake:
        def read(self) -> OtherWork:
            return BUSY

    monkeypatch.setattr(attempts, "CpuMeter", Fake)
    options = ["--programs-dir", str(folder), "--programs", "one", "--tasks", "1", "--sleep", "0.1"]
    with pytest.raises(SystemExit, match="0"):
        main(["bench", *options, "--out", str(tmp_path / "study")])
    message = capsys.readouterr()
    busy = "other processes took 40% of the CPU time, the hypervisor 10%"
    lines = message.err.splitlines()
    (note,) = [n for n, line in enumerate(lines) if line.startswith(f"the machine is busy: {busy} just now")]
    (run,) = [n for n, line in enumerate(lines) if line.endswith(f"; the machine was busy: {busy}")]
    assert note < run
    assert "the machine was busy with other work, which took up to 50% of the CPU time" in " ".join(message.out.split())
    page = (tmp_path / "study" / "index.html").read_text()
    assert page.count("the machine was busy") > 1


Shares = Sequence["OtherWork | None"]


@pytest.fixture
def make(make_study: Callable[..., Study]) -> Callable[..., Study]:
    """Return a function that makes a study of these cells: for each run its peak in MiB and its other work."""

    def made(cells: dict[tuple[str, int], Sequence[tuple[float, OtherWork | None]]]) -> Study:
        study = make_study("s", {cell: [mib for mib, _ in of_it] for cell, of_it in cells.items()})
        took = [work for of_it in cells.values() for _, work in of_it]
        runs: list[Run] = [attrs.evolve(run, other_work=work) for run, work in zip(study.runs, took, strict=True)]
        return attrs.evolve(study, runs=tuple(runs))

    return made


def test_figures_come_from_runs_on_an_idle_machine(make: Callable[..., Study]) -> None:
    study = make({("go", 1): [(10, IDLE), (90, BUSY), (12, None), (14, IDLE), (95, BUSY)]})
    (row,) = rows(study)
    assert (row.median_bytes, row.max_bytes) == (12 << 20, 14 << 20)
    assert (row.good_runs, row.busy_runs, row.figure_runs, row.runs) == (3, 2, 5, 5)
    assert (row.status, row.is_busy, row.has_rank, row.is_enough) == ("ok", False, True, False)
    assert row.other_share == 0.02
    assert "2 more runs were made while the machine was busy with other work, and are not counted" in markdown(
        Results(study)
    )


def test_a_cell_with_marked_runs_only_is_shown_but_judges_nothing(make: Callable[..., Study]) -> None:
    """Its figure has no rank, judges no claim and enters no cost, even if it is the smallest of all."""
    calm, disturbed = (
        make(
            {
                ("go", 1): [(1, work)] * 2,
                ("rust-threads", 1): [(3, IDLE)] * 2,
                ("python", 1): [(20, IDLE)] * 2,
                ("go", 1000): [(9, work)] * 2,
                ("rust-threads", 1000): [(30, IDLE)] * 2,
                ("python", 1000): [(40, IDLE)] * 2,
            }
        )
        for work in (IDLE, BUSY)
    )
    row = rows(disturbed)[0]
    assert (row.median_bytes, row.is_busy, row.has_rank, row.good_runs) == (1 << 20, True, False, 2)
    assert row.other_share == pytest.approx(0.5)
    assert "go" in costs(calm) and "go" not in costs(disturbed)
    of_one_size = [row for row in rows(disturbed) if row.tasks == 1]
    assert "Rust-Threads needs least" in finding(of_one_size)
    assert "Go" not in headline(rows(disturbed)) and "Go" not in bars_title(rows(disturbed))
    assert "Go" in headline(rows(calm))
    text = markdown(Results(disturbed))
    message = "the machine was busy with other work, which took up to 50% of the CPU time"
    assert f"{message}; the figure has no rank and is not used for claims" in text and "1.00 MiB" in text
    go, python = ("go", 1), ("python", 1)
    assert Cells(rows(calm)).below(go, python) == Answer(True)
    why = "go at 1: all its runs were made while the machine was busy with other work"
    assert Cells(rows(disturbed)).below(go, python) == Answer(None, (why,))
    assert why in " ".join(verdict.why for verdict in claims(disturbed))


def test_without_an_idle_machine_no_program_is_named_as_the_smallest(make: Callable[..., Study]) -> None:
    study = make({("go", 1): [(1, BUSY)], ("python", 1): [(20, BUSY)]})
    assert finding(rows(study)) == "At 1 task, no program was measured on an idle machine"
    assert headline(rows(study)) == finding(rows(study))
    assert not any(verdict.verdict != "cannot be judged" for verdict in claims(study))


def test_the_threshold_is_between_an_idle_machine_and_one_process_on_eight_cpus() -> None:
    assert 0.02 < BUSY_SHARE < 1 / 8


def test_the_committed_study_has_no_marks() -> None:
    """It loads, and no run that has a figure was made on a busy machine."""
    path = Path(__file__).resolve().parent.parent / "docs" / "study"
    if not Store(path).exists:
        pytest.skip("the study is not beside the tests")
    assert not any(run.was_busy for run in load_study(path).runs if run.status == "ok")
