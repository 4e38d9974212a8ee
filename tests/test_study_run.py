from __future__ import annotations

import functools
import io
import json
import operator
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from click.testing import CliRunner
from rich.console import Console

import concmem
from concmem.cli.bench import bench as bench_command
from concmem.drivers import programs as drivers
from concmem.errors import CommandNotFound, ConcmemError, InvalidRequest, RecordingError, SamplerError
from concmem.model import Exit, Figure, Measurement, OutOfMemory
from concmem.sampler_report import Survivor
from concmem.study import (
    BarProgress,
    LineProgress,
    Plan,
    Progress,
    Run,
    Study,
    StudyError,
    bench,
    load_study,
    make_progress,
)
from concmem.study.limits.kinds import Limit
from concmem.study.limits.memory import estimate_bytes
from concmem.study.plan import Cell
from concmem.study.running import memory_check
from concmem.study.running.attempt import KEPT_LINES, LINE_BYTES, Attempt, Limits, run_once
from concmem.study.running.reasons import Reason, own_message, why_failed
from concmem.study.workloads import WORKLOADS
from concmem.units import format_bytes

pytestmark = pytest.mark.usefixtures("own_machine")

MIB = 1 << 20

SAY = "import sys, time; n, s = int(sys.argv[1]), float(sys.argv[2]); say = lambda t: print(t, flush=True)\n"
GOOD = SAY + "say(f'started {n}'); time.sleep(s); say(f'done {n}')"
SLOW = SAY + "time.sleep(0.25 if n > 1 else 0); say(f'started {n}'); time.sleep(s); say(f'done {n}')"
BROKEN = SAY + "sys.exit('could not start thread 3: out of luck')"


@pytest.fixture(scope="module")
def measured() -> Measurement:
    """A real measurement, which tests change."""
    return concmem.measure(["/bin/true"])


class Bench:
    """Replacements of the drivers: programs are Python scripts given as text; a missing program has a reason."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.directory = directory
        self.scripts: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self.together = True  # so that a slow start on a busy machine does not fail the run
        self.kind = "event loop"
        self.label = "Python as it is"
        self.commands: list[tuple[str, ...]] = []
        monkeypatch.setattr(drivers, "load_programs", self._load)
        monkeypatch.setattr(drivers, "detect", self._detect)
        monkeypatch.setattr(drivers, "prepare", self._prepare)

    def _load(self, _: Sequence[Path] = ()) -> dict[str, Any]:
        return {
            name: SimpleNamespace(
                name=name,
                title=name.title(),
                language="python",
                kind=self.kind,
                variant="article",
                begins_together=self.together,
                workloads=("sleep",),
                mappings=0,
                remarks=(),
            )
            for name in (*self.scripts, *self.missing)
        }

    def _detect(self, program: Any) -> Any:
        if program.name in self.missing:
            return drivers.Missing("python", self.missing[program.name], "apt-get install luck")
        return SimpleNamespace(label=self.label, name="fake")

    def _prepare(self, program: Any, _: Any, workload: str, watch: Any) -> Any:
        if not self.scripts[program.name]:
            raise drivers.BuildError("the build of it failed:\nerror: no luck")

        def command(tasks: int, sleep_s: float) -> tuple[str, ...]:
            self.commands.append((program.name, str(tasks), f"{sleep_s:g}"))
            return (sys.executable, "-S", "-c", self.scripts[program.name], str(tasks), str(sleep_s))

        return SimpleNamespace(program=program, env={}, command=command, flags=lambda tasks: (f"+P {tasks}",))

    def plan(self, **options: Any) -> Plan:
        """Return a quick plan."""
        defaults = {"tasks": (1, 2), "sleep_s": 0.15, "longest_sleep_s": 0.6, "finish_limit_s": 20, "seed": 1}
        return Plan(**{**defaults, **options})

    def run(self, *, resume: bool = False, progress: Progress | None = None, **options: Any) -> Study:
        """Run the study of that plan in its folder."""
        return bench(self.plan(**options), self.directory / "study", resume=resume, progress=progress)


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bench:
    return Bench(monkeypatch, tmp_path)


def test_a_study_runs_everything_and_stores_it(harness: Bench) -> None:
    """Each run has its files and a figure; each program is warmed up once, and that run is not stored."""
    harness.scripts = {"one": GOOD, "two": GOOD}
    study = harness.run(runs=2)
    assert [(run.program, run.tasks, run.index) for run in study.runs] == [
        (program, tasks, index) for program in ("one", "two") for tasks in (1, 2) for index in (0, 1)
    ]
    assert len(harness.commands) == 8 + 2
    warm_ups = [command for command in harness.commands if command[2] == "0"]
    assert sorted(warm_ups) == [("one", "1", "0"), ("two", "1", "0")]
    for run in study.runs:
        assert (run.status, run.reason, run.attempts, run.sleep_s) == ("ok", "", 1, 0.15)
        assert run.peak is not None and run.peak.bytes is not None and run.peak.bytes > MIB
        assert run.launch_s is not None and run.done_s is not None and run.launch_s < run.done_s and run.done_s > 0.15
        assert run.last_lines == (f"started {run.tasks}", f"done {run.tasks}")
        assert run.flags == (f"+P {run.tasks}",)
        assert study.timeline_path(run).stat().st_size > 0
    assert study.host.memory_bytes > 0
    assert [entry.toolchain for entry in study.programs] == ["Python as it is"] * 2
    assert not [path for path in study.path.rglob("*") if "tmp" in path.name]


def test_a_stored_study_is_plain_json(harness: Bench) -> None:
    """Values are where their names say, for users of jq."""
    harness.scripts = {"one": GOOD}
    study = harness.run(tasks=(3,))
    stored = json.loads((study.path / "runs" / "one-3-0.json").read_text())
    assert stored["status"] == "ok"
    assert stored["measurement"]["peak"]["bytes"] > MIB
    head = json.loads((study.path / "study.json").read_text())
    assert (head["plan"]["seed"], head["schema"], head["programs"][0]["name"]) == (1, 1, "one")


def test_a_run_is_repeated_if_launching_takes_longer_than_the_sleep(harness: Bench) -> None:
    """With 0.25 s of launching and 0.15 s of sleep there is no figure, but with a longer sleep there is."""
    harness.scripts, harness.together = {"slow": SLOW}, False
    (run,) = harness.run(tasks=(2,), longest_sleep_s=10).runs
    assert (run.status, run.sleep_s > 0.15, run.attempts > 1) == ("ok", True, True)
    assert run.launch_s is not None and 0.25 < run.launch_s <= run.sleep_s


def test_runs_of_a_cell_sleep_equally_long(harness: Bench) -> None:
    """The second run begins with the sleep that the first one needed."""
    harness.scripts, harness.together = {"slow": SLOW}, False
    first, second = harness.run(tasks=(2,), longest_sleep_s=10, runs=2).runs
    assert first.status == second.status == "ok"
    assert first.attempts > 1 and second.sleep_s >= first.sleep_s
    commands = [command[2] for command in harness.commands]
    assert commands.count("0.15") == 1, "the second run did not try the short sleep again"


def test_a_program_that_never_launches_in_time_has_no_figure(harness: Bench) -> None:
    """At the longest sleep the run fails; its reason says so, with the most threads that were alive."""
    harness.scripts, harness.kind = {"slow": SLOW.replace("0.25", "90")}, "thread"
    harness.together = False
    begun = time.monotonic()
    (run,) = harness.run(tasks=(2,), longest_sleep_s=0.3).runs
    assert time.monotonic() - begun < 80, "a run is ended as soon as it is known to have launched too late"
    assert (run.status, run.attempts, run.sleep_s, run.peak) == ("failed", 2, 0.3, None)
    assert run.reason == (
        "not all tasks were alive at once: launching took longer than the sleep of 0.3 s "
        "(most threads alive at once: 1)"
    )
    assert run.exit is not None and run.exit.reason == "interrupted"


def test_a_program_whose_tasks_begin_together_may_launch_longer(harness: Bench) -> None:
    """The same program succeeds at once if its manifest says that its tasks begin together."""
    harness.scripts = {"slow": SLOW}
    (run,) = harness.run(tasks=(2,)).runs
    assert (run.status, run.attempts, run.sleep_s) == ("ok", 1, 0.15)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (BROKEN, "could not start thread 3: out of luck (exit code 1)"),
        (SAY + "say('started 2'); raise MemoryError('so much')", "MemoryError: so much (exit code 1)"),
        (SAY + "sys.exit(7)", "it printed no reason (exit code 7)"),
        (SAY + "say(f'done {n}')", "printed 'done 2' where 'started 2' was expected"),
        (SAY + "say('hello')", "exited with 0 but did not print 'started 2'"),
        (GOOD + "; say('bye')", "exited with 0 but its last line is not 'done 2': 'bye'"),
        (GOOD.replace("done {n}", "done 1"), "printed 'done 1' where 'done 2' was expected"),
        (
            SAY + "import os; os.kill(os.getpid(), 11)",
            "it printed no reason (killed by SIGSEGV; it used at least X until then)",
        ),
    ],
)
def test_a_failure_says_why(harness: Bench, script: str, message: str) -> None:
    """A failed program is a row with its own last message, and no figure."""
    harness.scripts = {"bad": script}
    (run,) = harness.run(tasks=(2,), sleep_s=0.5).runs
    reason = re.sub(r"at least [\d.]+ \w+", "at least X", run.reason)
    assert (run.status, reason, run.peak) == ("failed", message, None)


def test_a_program_that_does_not_end_is_stopped(harness: Bench) -> None:
    """After its sleep and its time to finish it is stopped, and the row says so."""
    harness.scripts = {"long": GOOD + "; time.sleep(90 if s else 0)"}
    begun = time.monotonic()
    (run,) = harness.run(tasks=(1,), finish_limit_s=0.3, sleep_s=0.2).runs
    assert time.monotonic() - begun < 80
    assert run.status == "failed"
    assert run.measurement is not None
    assert run.reason == (
        "did not end within 500.0 ms after its last task was launched, and was stopped; it used at least "
        f"{format_bytes(run.measurement.peak.low_bytes or 0)} until then"
    )
    assert run.measurement.peak.note.startswith("what it used until it was ended by an interrupt: it may need more")


def test_a_missing_toolchain_and_a_failing_build_are_rows(harness: Bench) -> None:
    """Each size has a row with the reason; other programs run; a resumed study tries the missing ones again."""
    harness.scripts = {"one": GOOD, "broken": ""}
    harness.missing = {"absent": "there is no luck on PATH"}
    study = harness.run()
    reasons = {(run.program, run.tasks): run.reason for run in study.runs if run.status == "skipped"}
    assert reasons == {
        ("absent", 1): "could not run: there is no luck on PATH (apt-get install luck)",
        ("absent", 2): "could not run: there is no luck on PATH (apt-get install luck)",
        ("broken", 1): "could not run: the build of it failed: error: no luck",
        ("broken", 2): "could not run: the build of it failed: error: no luck",
    }
    assert {run.status for run in study.runs if run.program == "one"} == {"ok"}
    harness.scripts["broken"], harness.scripts["absent"] = GOOD, GOOD
    harness.missing.clear()
    harness.commands.clear()
    study = harness.run(resume=True)
    assert {run.status for run in study.runs} == {"ok"}
    assert {command[0] for command in harness.commands} == {"broken", "absent"}
    assert {entry.missing for entry in study.programs} == {""}


class Interrupting(Progress):
    """Presses Ctrl-C when this number of runs is stored."""

    def __init__(self, after: int) -> None:
        self._after = after
        self.ended = False

    def running(self, cell: Any, sleep_s: float, attempt: int, left_s: float) -> None:
        """Press Ctrl-C if it is time."""
        if self._after == 0:
            raise KeyboardInterrupt
        self._after -= 1

    def end(self) -> None:
        """Note that the display was closed."""
        self.ended = True


def test_stored_runs_survive_an_interrupt_and_are_not_made_again(harness: Bench) -> None:
    """Ctrl-C in the fourth run leaves three; resuming makes the others in the plan's order, with the stored seed."""
    harness.scripts = {"one": GOOD, "two": GOOD, "three": GOOD}
    progress = Interrupting(3)
    with pytest.raises(KeyboardInterrupt):
        harness.run(seed=5, progress=progress)
    assert progress.ended
    assert len(load_study(harness.directory / "study").runs) == 3
    first = [command for command in harness.commands if command[2] != "0"]
    harness.commands.clear()
    study = harness.run(seed=None, resume=True)
    assert len(study.runs) == 6 and study.plan.seed == 5
    second = [command for command in harness.commands if command[2] != "0"]
    order = [(cell.program, str(cell.tasks), "0.15") for cell in concmem.study.cells(study.plan)]
    assert first + second == order


def test_an_interrupt_during_a_run_ends_its_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of the program is left."""
    started: list[Any] = []
    roots: list[int] = []
    real = concmem.start
    monkeypatch.setattr(concmem, "start", lambda *a, **k: started.append(real(*a, **k)) or started[0])

    def ring(*_: object) -> None:
        if not started:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            return
        roots.append(started[0].root_pid)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_once(["/bin/sh", "-c", "sleep 60"], {"PATH": os.defpath}, 1, Limits(60, 60))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    with pytest.raises(ProcessLookupError):
        os.kill(roots[0], 0)


def test_a_study_is_not_mixed_with_another(harness: Bench) -> None:
    """A used folder, another plan and another toolchain are refused in one sentence that names the difference."""
    harness.scripts = {"one": GOOD}
    harness.run(tasks=(1,))
    with pytest.raises(StudyError, match="study is not empty: resume the study in it, or choose another directory"):
        harness.run(tasks=(1,))
    with pytest.raises(StudyError, match="another plan: tasks is 1 in the study, but 1,2 is requested"):
        harness.run(tasks=(1, 2), resume=True)
    with pytest.raises(InvalidRequest, match="there is no program 'none', 'no'; there are: one, all"):
        harness.run(programs=("none", "one", "no"))
    with pytest.raises(StudyError, match="there is no study in"):
        bench(harness.plan(), harness.directory / "elsewhere", resume=True)
    (harness.directory / "study" / "runs" / "one-1-0.json").rename(harness.directory / "one-1-1.json")
    harness.run(tasks=(1,), resume=True)
    assert len(load_study(harness.directory / "study").runs) == 1


def test_runs_of_two_toolchains_are_not_mixed(harness: Bench) -> None:
    """A resumed study is refused if it has runs with another version of a program's toolchain."""
    harness.scripts = {"one": GOOD}
    with pytest.raises(KeyboardInterrupt):
        harness.run(progress=Interrupting(1))
    harness.label = "Python as it will be"
    with pytest.raises(StudyError, match="made with Python as it is, but this machine has Python as it will be"):
        harness.run(resume=True)


def test_a_damaged_file_is_named(harness: Bench) -> None:
    """A run that is not JSON, or lacks a value, is an error that names the file."""
    harness.scripts = {"one": GOOD}
    study = harness.run(tasks=(1,))
    path = study.path / "runs" / "one-1-0.json"
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    with pytest.raises(RecordingError, match=r"one-1-0\.json: not JSON"):
        load_study(study.path)
    path.write_text(whole.replace('"tasks"', '"task"'))
    with pytest.raises(RecordingError, match=r"one-1-0\.json: damaged: .*tasks"):
        load_study(study.path)
    path.write_text(whole.replace('"concmem run"', '"something"'))
    with pytest.raises(RecordingError, match="not a concmem run"):
        load_study(study.path)
    path.write_text(whole.replace('"schema": 1', '"schema": 99', 1))
    with pytest.raises(RecordingError, match="schema 99"):
        load_study(study.path)
    for schema in ('"1"', "null", "true", "[]"):
        path.write_text(whole.replace('"schema": 1', f'"schema": {schema}', 1))
        with pytest.raises(RecordingError, match=r"one-1-0\.json: it has no schema number"):
            load_study(study.path)
    for text in ("[" * 100_000, "1" * 5_000):
        path.write_text(text)
        with pytest.raises(
            RecordingError, match=r"one-1-0\.json: (not JSON|not a concmem run|it is nested too deeply)"
        ):
            load_study(study.path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tasks", 0, r"damaged: .*tasks"),
        ("tasks", 2, r"its name does not match the run in it"),
        ("program", "two", r"its name does not match the run in it"),
        ("index", -1, r"damaged: .*index"),
        ("sleep_s", -1.0, r"damaged: .*sleep_s"),
        ("launch_s", float("nan"), r"not JSON: NaN is not a JSON number$"),
        ("status", "fine", r"damaged: .*status"),
        ("plateau.error_bytes", -1, r"damaged: -1 is below 0 @ \$\.plateau\.error_bytes"),
        ("plateau.bytes", None, r"damaged: a figure of None bytes cannot have the status bounded @ \$\.plateau"),
        ("measurement.peak.bytes", -4096, r"this is not a measurement of concmem: peak is below 0$"),
        (
            "measurement.tree_peak_rss_sum.bytes",
            -4096,
            r"this is not a measurement of concmem: tree_peak_rss_sum is below 0$",
        ),
    ],
)
def test_impossible_values_are_refused(harness: Bench, key: str, value: object, message: str) -> None:
    """A value that cannot have been measured is not loaded."""
    harness.scripts = {"one": GOOD}
    study = harness.run(tasks=(1,))
    path = study.path / "runs" / "one-1-0.json"
    content = json.loads(path.read_text())
    *outer, last = key.split(".")
    functools.reduce(operator.getitem, outer, content)[last] = value
    path.write_text(json.dumps(content))
    with pytest.raises(RecordingError, match=rf"one-1-0\.json: {message}") as caught:
        load_study(study.path)
    assert "\n" not in str(caught.value)


def test_a_run_of_an_unknown_program_is_refused(harness: Bench) -> None:
    """A file copied from another study is named; `merge` is the way to join studies."""
    harness.scripts = {"one": GOOD}
    study = harness.run(tasks=(1,))
    path = study.path / "runs" / "one-1-0.json"
    path.with_name("alien-1-0.json").write_text(path.read_text().replace('"program": "one"', '"program": "alien"'))
    with pytest.raises(RecordingError, match=r"alien-1-0\.json: its program 'alien' is not in the study"):
        load_study(study.path)


def test_a_run_that_would_not_fit_is_skipped_with_both_amounts(harness: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not started if the size before shows that it needs more than is free."""
    harness.scripts = {"one": GOOD}
    monkeypatch.setattr(memory_check, "margin_bytes", lambda: 100 * MIB)
    monkeypatch.setattr(memory_check, "available_bytes", lambda: 500 * MIB)
    study = harness.run(tasks=(2000, 1_000_000))
    small, large = study.runs
    assert (small.status, large.status, large.attempts) == ("ok", "skipped", 0)
    assert large.reason.startswith("1 000 000 tasks would need about ")
    assert large.reason_limit == "500 MiB is free, and 100 MiB of it must stay free"
    assert f"estimated from its run with 2 000 tasks; {large.reason_limit}" in large.reason


def test_a_size_above_a_failed_one_is_not_called_too_large(harness: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason of the smaller size is given, and no estimate."""
    harness.scripts = {"one": SAY + "n == 3000 and sys.exit('thread limit reached');" + GOOD.removeprefix(SAY)}
    monkeypatch.setattr(memory_check, "margin_bytes", lambda: 100 * MIB)
    monkeypatch.setattr(memory_check, "available_bytes", lambda: 500 * MIB)
    small, failed, large = harness.run(tasks=(2000, 3000, 1_000_000)).runs
    assert (small.status, failed.status, large.status, large.attempts) == ("ok", "failed", "skipped", 0)
    assert large.reason == f"not tried: it failed with 3 000 tasks: {failed.reason}"
    assert (small.reason_code, failed.reason_code, large.reason_code) == ("", "exit_code", "smaller_failed")
    assert "thread limit reached" in large.reason


def test_paths_that_are_not_utf_8_are_stored(harness: Bench, tmp_path: Path) -> None:
    """A folder's name may hold any bytes: it is stored, read back and resumed."""
    harness.scripts, harness.missing = {"one": GOOD}, {"two": os.fsdecode(b"no \xff on PATH")}
    folder = tmp_path / os.fsdecode(b"programs-\xff")
    study = harness.run(tasks=(1,), programs_dirs=(str(folder),))
    assert study.plan.programs_dirs == (str(folder.resolve()),)
    assert harness.run(tasks=(1,), programs_dirs=(str(folder),), resume=True).plan == study.plan
    assert study.runs[1].reason.encode("utf-8").startswith(b"could not run: no ")


def test_a_measurement_of_a_later_schema_is_refused(harness: Bench) -> None:
    """One sentence names the schema."""
    harness.scripts = {"one": GOOD}
    study = harness.run(tasks=(1,))
    path = study.path / "runs" / "one-1-0.json"
    stored = json.loads(path.read_text())
    stored["measurement"]["schema"] = 99
    path.write_text(json.dumps(stored))
    with pytest.raises(RecordingError, match=r"one-1-0\.json: this measurement has schema 99") as caught:
        load_study(study.path)
    assert "\n" not in str(caught.value) and "damaged" not in str(caught.value)


class BrokenStream(io.StringIO):
    """A stream that nothing reads."""

    def write(self, text: str) -> int:
        """Fail."""
        raise BrokenPipeError

    def flush(self) -> None:
        """Fail."""
        raise BrokenPipeError


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_that_cannot_be_written_does_not_end_the_study(harness: Bench, terminal: bool) -> None:
    """This holds for lines and for the bar."""
    harness.scripts = {"one": GOOD}
    (run,) = harness.run(
        tasks=(1,), progress=make_progress(Console(file=BrokenStream(), force_terminal=terminal), "To")
    ).runs
    assert run.status == "ok"


def test_a_program_that_needs_more_than_is_free_is_stopped(harness: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an estimate, the memory limit of the run keeps memory of the machine free."""
    harness.scripts = {"hog": SAY + "b = b'x' * (200 << 20); say(f'started {n}'); time.sleep(s)"}
    monkeypatch.setattr(memory_check, "margin_bytes", lambda: 0)
    monkeypatch.setattr(memory_check, "available_bytes", lambda: 60 * MIB)
    (run,) = harness.run(tasks=(1,), sleep_s=5).runs
    assert run.status == "failed"
    assert run.reason.startswith("used more memory than was free, and was stopped; it used at least ")
    assert run.reason.endswith(" until then")


def test_the_estimate_comes_from_smaller_sizes(measured: Measurement) -> None:
    """One large size gives a proportion, two give a line, the same size its own figure; one small size gives none."""

    def of(tasks: int, mib: int, program: str = "a", status: Any = "ok") -> Run:
        figure = attrs.evolve(measured.peak, bytes=mib * MIB)
        seen = attrs.evolve(measured, peak=figure)
        return Run(program=program, tasks=tasks, index=0, status=status, sleep_s=1.0, measurement=seen)

    assert estimate_bytes([], "a", 1000) is None
    assert estimate_bytes([of(1, 40)], "a", 1_000_000) is None
    assert estimate_bytes([of(10_000, 100)], "a", 100_000) == (1000 * MIB, "its run with 10 000 tasks")
    line = estimate_bytes([of(1, 40), of(10_000, 140)], "a", 1_000_000)
    assert line is not None and 10_000 * MIB < line[0] < 10_100 * MIB
    assert estimate_bytes([of(10_000, 100), of(100_000, 70)], "a", 10**6) == (70 * MIB, "its run with 100 000 tasks")
    assert estimate_bytes([of(1, 40), of(1, 42)], "a", 1) == (42 * MIB, "its earlier run")
    others = [of(10_000, 9, program="b"), of(10_000, 9, status="failed"), of(10**6, 9)]
    assert estimate_bytes(others, "a", 100_000) is None


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (SamplerError(11, "the sampler could not start", "sampler"), "skipped",
         "could not be measured: sampler: the sampler could not start"),
        (CommandNotFound(2, "no such program", "/gone"), "failed", "/gone: no such program"),
    ],
)  # fmt: skip
def test_a_program_that_cannot_be_started_is_a_row(
    harness: Bench, monkeypatch: pytest.MonkeyPatch, error: ConcmemError, status: str, reason: str
) -> None:
    """A missing program has failed; after an error of the sampler a resumed study tries it again."""

    def refuse(*_: Any, **__: Any) -> None:
        raise error

    harness.scripts = {"one": GOOD}
    monkeypatch.setattr(concmem, "start", refuse)
    (run,) = harness.run(tasks=(1,)).runs
    assert (run.status, run.reason) == (status, reason)


def test_only_the_end_of_a_large_output_is_kept() -> None:
    """Of 20 MB without a newline, and of many lines, little is kept, and the last line is known."""
    script = "import sys; w = sys.stdout.write; w('x' * 20_000_000 + '\\nstarted 1\\n' + 'y\\n' * 100_000 + 'done 1')"
    seen = run_once([sys.executable, "-S", "-c", script], {}, 1, Limits(30, 30))
    assert seen.measurement.exit.ok
    assert seen.last_line == "done 1" and set(seen.messages) == {"started", "done"}
    assert len(seen.lines) == KEPT_LINES
    assert max(map(len, seen.lines)) <= LINE_BYTES


def test_threads_of_the_machine_are_counted() -> None:
    """While a program runs, at least its own threads and ours are counted."""
    script = "import threading, time; [threading.Thread(target=time.sleep, args=(2,)).start() for _ in range(40)]"
    seen = run_once([sys.executable, "-S", "-c", script], {}, 1, Limits(30, 30))
    assert seen.measurement.max_threads == 41
    assert seen.max_machine_threads > 41


def test_a_missing_command_is_an_error() -> None:
    """It is `CommandNotFound`, and no descriptor is left open."""
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(CommandNotFound):
        run_once(["/nowhere/program"], {}, 1, Limits(1, 1))
    assert set(os.listdir("/proc/self/fd")) <= before, "descriptors of earlier tests may have been closed"


def _attempt(measured: Measurement, errors: Sequence[str] = (), lines: Sequence[str] = (), **changes: Any) -> Attempt:
    return Attempt(
        measurement=attrs.evolve(measured, **changes),
        begun_s=0.0,
        messages={},
        max_machine_threads=0,
        ended="",
        wrong="",
        last_line="",
        lines=(*lines, *errors),
        errors=tuple(errors),
    )


@pytest.mark.parametrize(
    ("errors", "lines", "message"),
    [
        (["Traceback (most recent call last):", '  File "x"', "MemoryError"], [], "MemoryError"),
        (["fatal error: out of memory", "goroutine 1 [running]:", "\tmain.go:3", "exit status 2"], [],
         "fatal error: out of memory"),
        (["thread 'main' panicked at x.rs", "note: run with RUST_BACKTRACE=1"], [], "thread 'main' panicked at x.rs"),
        (["** (SystemLimitError) a system limit has been reached", "    :erlang.spawn/3"], [],
         "** (SystemLimitError) a system limit has been reached"),
        ([], ["started 5", "unable to create native thread", "    at J.run(J:1)"], "unable to create native thread"),
        (["failed to allocate: Cannot allocate memory (os error 12)", "fatal runtime error: aborting"], [],
         "failed to allocate: Cannot allocate memory (os error 12)"),
        (["plain words"], ["an error"], "plain words"),
        ([], ["started 5"], ""),
    ],
)  # fmt: skip
def test_the_program_is_quoted(measured: Measurement, errors: list[str], lines: list[str], message: str) -> None:
    """The line that says what happened is taken, not the stack trace below it."""
    assert own_message(_attempt(measured, errors, lines)) == message


def test_the_reason_names_the_limit_that_was_reached(measured: Measurement) -> None:
    """It comes after the program's own message and its number of threads."""
    mappings = Limit("vm.max_map_count", 65530, None, 1 << 31, each=4)
    failed = _attempt(measured, ["could not start thread"], exit=Exit(1, None, "exited"), max_threads=16_367)
    message = why_failed(failed, 9, "thread", WORKLOADS["sleep"], Limits(1, 1), of_machine=[mappings])
    assert message == Reason(
        "exit_code",
        "could not start thread (exit code 1); most threads alive at once: 16 367; vm.max_map_count is 65530",
        "vm.max_map_count is 65530",
    )


def test_only_the_kernel_s_own_count_makes_a_kill_out_of_memory(measured: Measurement) -> None:
    """SIGKILL is attributed to the kernel only if the kernel counted one."""
    measured = attrs.evolve(measured, peak=Figure(5 << 20, "bounded", "status VmHWM"))
    used = "; it used at least 5.00 MiB until then"
    for oom, words in (
        (None, ""),
        (OutOfMemory(1, "memory.events oom_kill", certain=True), ", by the kernel because memory ran out"),
        (OutOfMemory(1, "/proc/vmstat oom_kill", certain=False), ", probably by the kernel because memory ran out"),
    ):
        killed = _attempt(measured, exit=Exit(None, 9, "oom" if oom else "signaled"), oom=oom)
        message = why_failed(killed, 9, "event loop", WORKLOADS["sleep"], Limits(1, 1))
        reason = f"it printed no reason (killed by SIGKILL{words}{used})"
        assert message == Reason("oom" if oom else "signal", reason)


def test_the_reason_names_processes_that_could_not_be_killed(measured: Measurement) -> None:
    """They come after the reason why the run failed."""
    sampler = attrs.evolve(measured.sampler, survivors=(Survivor(7, "java", "frozen"), Survivor(8, "java", "frozen")))
    stopped = _attempt(measured, exit=Exit(None, None, "interrupted"), sampler=sampler)
    message = why_failed(stopped, 9, "event loop", WORKLOADS["sleep"], Limits(1, 1))
    assert message is not None and message.code == "still_running"
    assert message.sentence.startswith("it printed no reason (still running)")
    assert message.sentence.endswith(f"; could not be killed: 7 (java): {sampler.survivors[0].sentence} (and 1 more)")


def test_piped_progress_is_plain_lines(harness: Bench) -> None:
    """One line for each run with its figure and its number, without escape sequences or a bar."""
    harness.scripts = {"one": GOOD, "bad": BROKEN}
    file = io.StringIO()
    harness.run(progress=LineProgress(file))
    lines = file.getvalue().splitlines()
    runs = [line for line in lines if line.startswith("[")]
    assert "\x1b" not in file.getvalue() and "\r" not in file.getvalue()
    assert len(runs) == 4 and runs[-1].startswith("[4/4] ") and "left)" in runs[0] and "left)" not in runs[-1]
    assert any(" MiB in " in line for line in runs)
    assert any("failed: could not start thread 3: out of luck" in line for line in runs)


def test_the_command_refuses_invalid_options(tmp_path: Path) -> None:
    """An unknown program, a bad number and a used folder end with 2 and one sentence."""
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    for options, message in (
        (["--programs", ""], "concmem: Invalid value for '--programs': must name at least one"),
        (["--programs", " , "], "concmem: Invalid value for '--programs': must name at least one"),
        (["--variant", ","], "concmem: Invalid value for '--variant': must name at least one"),
        (["--variant", "odd"], "concmem: there is no variant 'odd'; there are: article, "),
        (["--workload", "dance"], "concmem: there is no workload 'dance'; there are: sleep, spawn, channel"),
        (["--runs", "two"], "concmem: Invalid value for '--runs': must be a number of runs"),
        (["--runs", "2,3:1"], "concmem: runs are given for 3 tasks, but the study does not run 3 tasks"),
        (["--programs", "c-threads", "--workload", "spawn"], "concmem: c-threads has no workload 'spawn'; "),
        (["--programs", "cobol"], "concmem: there is no program 'cobol'; there are: rust-threads, "),
        (["--tasks", "many"], "concmem: 'many' is not a number"),
        (["--tasks", "0"], "concmem: the number of tasks must be between 1 and 2147483647, not 0"),
        (["--tasks", "3G"], "concmem: the number of tasks must be between 1 and 2147483647, not 3000000000"),
        (["--sleep", "0"], "concmem: Invalid value for '--sleep': '0' is not above 0"),
        (["--out", "used"], "concmem: used is not empty: choose another"),
        (["--resume"], "concmem: there is no study to resume in"),
    ):
        done = _concmem("bench", *options, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.startswith(message) and done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr


def test_the_command_goes_from_plan_to_table(tmp_path: Path) -> None:
    """A small study of the Python program ends with its table and the names of its files."""
    options = ["--programs", "python", "--tasks", "1,10", "--sleep", "1", "--out", "small"]
    done = _concmem("bench", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "[2/2] python 10: " in done.stderr
    assert "python " in done.stdout and " MiB" in done.stdout
    written = {path.name for path in (tmp_path / "small").iterdir()}
    assert {"study.json", "runs", "table.md", "table.csv"} <= written
    again = _concmem("bench", "--resume", "--out", "small", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "2 of 2 runs are stored already" in again.stderr


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ((1, 10_000, 100_000, 1_000_000), 10.0, 1, ())),
        (["--quick"], ((1, 1_000, 10_000), 1.0, 1, ())),
        (["--quick", "--tasks", "5", "--sleep", "2"], ((5,), 2.0, 1, ())),
        (["--runs", "5,1k:3", "--quick"], ((1, 1_000, 10_000), 1.0, 5, ((1_000, 3),))),
    ],
)
def test_quick_sets_only_options_that_are_not_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: list[str], expected: tuple[Any, ...]
) -> None:
    """It sets sizes up to 10 000, a sleep of a second and one run."""
    plans: list[Plan] = []

    def take(plan: Plan, *_: Any, **__: Any) -> None:
        plans.append(plan)
        raise StudyError("that was all")

    monkeypatch.setattr(concmem.study, "bench", take)
    CliRunner().invoke(bench_command, ["--out", str(tmp_path / "new"), *options])
    (plan,) = plans
    assert (plan.tasks, plan.sleep_s, plan.runs, plan.runs_at) == expected


@pytest.mark.parametrize(
    ("number", "message"),
    [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "ended by SIGTERM"), (signal.SIGHUP, "ended by SIGHUP")],
)
def test_a_signal_ends_the_study_and_it_says_how_to_continue(tmp_path: Path, number: int, message: str) -> None:
    """The exit status is 128 and the signal's number, and the last line is the command that resumes."""
    command = [sys.executable, "-m", "concmem", "bench", "--programs", "python", "--tasks", "1", "--out", "cut"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("preparing python"):
                break
        time.sleep(1.5)
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(300) == 128 + number
    assert rest.splitlines()[-1] == f"concmem: {message}; 0 runs stored. To continue: concmem bench --resume --out cut"


def test_an_interrupt_in_a_damaged_study_names_the_file(harness: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that cannot be read is not taken for one that has not begun."""
    harness.scripts = {"one": GOOD}
    path = harness.run(tasks=(1,)).path

    def interrupted(*_: Any, **__: Any) -> None:
        (path / "runs" / "one-1-0.json").write_text("{")
        raise KeyboardInterrupt

    monkeypatch.setattr(concmem.study, "bench", interrupted)
    done = CliRunner().invoke(bench_command, ["--resume", "--out", str(path)])
    assert done.exit_code == 130
    assert done.output.startswith("concmem: interrupted; ") and "one-1-0.json: not JSON" in done.output


def _concmem(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "concmem", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def test_a_study_without_some_programs_says_so(tmp_path: Path, write_programs: Callable[..., Path]) -> None:
    """It has its own exit status; its table and page begin with the missing programs."""
    folder = write_programs("import sys", "there")
    (folder / "none").mkdir()
    text = (folder / "own/language.toml").read_text().replace('look = ["{this_python}"]', 'look = ["no-such-program"]')
    text = text.replace("there", "absent").replace('name = "Own"', 'name = "None"')
    (folder / "none/language.toml").write_text(text)
    (folder / "none/program.py").touch()
    options = ["--programs", "there,absent", "--programs-dir", str(folder), "--tasks", "1", "--sleep", "0.1"]
    done = _concmem("bench", *options, "--out", "study", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert done.stderr.splitlines()[-1] == "concmem: 1 of 2 programs could not be run: absent"
    incomplete = "Incomplete: 1 of 2 selected programs could not be run here: absent. The notes give the reasons."
    assert " ".join(done.stdout.split()).startswith(incomplete)
    assert (tmp_path / "study/table.md").read_text().splitlines()[2] == f"**{incomplete}**"
    if (page := tmp_path / "study/index.html").exists():
        text = page.read_text()
        assert text.index(incomplete) < text.index("<main>")


def test_an_estimate_is_never_0(harness: Bench) -> None:
    """An estimate of less than a second is not called 0 s; when it has passed, the time of the run is shown."""
    console = Console(file=io.StringIO(), force_terminal=True, width=200)
    progress = BarProgress(console)
    progress.begin(2, 0)
    progress.running(Cell("one", 1, 0), 0.0, 1, 1e-9)
    time.sleep(0.01)
    shown = "".join(str(column) for column in progress._bar.make_tasks_table(progress._bar.tasks).columns[2].cells)
    progress.end()
    assert shown.startswith("longer than estimated, ")
    file = io.StringIO()
    lines = LineProgress(file)
    harness.scripts = {"one": GOOD}
    run = harness.run(tasks=(1,)).runs[0]
    lines.finished(run, 1.0, 2, 2, 0.2)
    assert "about a second left" in file.getvalue()
