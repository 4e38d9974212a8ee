"""Studies on a real Dask scheduler with real workers, all on this machine, by the loopback interface."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from concmem.cli._commands import main
from concmem.host import describe
from concmem.study import Cell, ClusterError, Plan, Progress, Study, bench, load_study
from concmem.timeline import Timeline

pytest.importorskip("distributed", reason="distributed is not installed (pip install 'concmem[cluster]')")
from concmem.study.cluster import dask as cluster_of_study
from concmem.study.cluster import dispatch

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_machine")]

# A file deaths-N holds how often a run with N tasks kills its worker. With a file slow, runs with more than one task
# take a minute.
SCRIPT = """\
import os, signal, sys, time
from pathlib import Path
tasks, sleep_s = int(sys.argv[1]), float(sys.argv[2])
print(f"started {tasks}", flush=True)
time.sleep(sleep_s / 2)
deaths = Path(__file__).with_name(f"deaths-{tasks}")
if deaths.exists() and (left := int(deaths.read_text())):
    deaths.write_text(str(left - 1))
    sampler = os.getppid()
    worker = int(Path(f"/proc/{sampler}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(worker, signal.SIGKILL)
    time.sleep(60)
if tasks > 1 and Path(__file__).with_name("slow").exists():
    time.sleep(60)
time.sleep(sleep_s / 2)
print(f"done {tasks}", flush=True)
"""
PRELOAD = """\
import platform
from concmem.study.cluster import worker
if platform.node() != {name!r}:  # Dask runs this more than once
    platform.node = lambda: {name!r}
"""

OTHER_KERNEL = """
import attrs
host = attrs.evolve(worker.describe(), kernel="2.4")
worker.describe = lambda: host
"""
OTHER_TOOLCHAIN = """
import attrs
detect = worker.drivers.detect
worker.drivers.detect = lambda program: attrs.evolve(detect(program), label="Python 9")
"""


INVALID_ADDRESS = "concmem: the scheduler's address must be like tcp://host:8786 or tls://host:8786, not "
SETTLE_S = 120.0
"""How long the end of a program may take on a busy machine."""


class Notes(Progress):
    """Keeps the notes, and presses Ctrl-C in one run."""

    def __init__(self, interrupt_in: int = 0) -> None:
        self.notes: list[str] = []
        self.running_cells: list[Cell] = []
        self._interrupt_in = interrupt_in

    def note(self, sentence: str) -> None:
        """Keep the note."""
        self.notes.append(sentence)

    def running(self, cell: Cell, sleep_s: float, attempt: int, left_s: float) -> None:
        """Keep the cell; press Ctrl-C in the chosen run."""
        self.running_cells.append(cell)
        if len(self.running_cells) == self._interrupt_in:
            raise KeyboardInterrupt


class Cluster:
    """A scheduler and the workers that a test starts."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self.programs = programs
        self._processes: list[subprocess.Popen[bytes]] = []
        file = folder / "scheduler.json"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        _until(file.exists)
        self.address = str(json.loads(file.read_text())["address"])

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"log-{len(self._processes)}").open("wb")
        command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
        with log:
            process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def worker(self, name: str, changes: str = "", resources: str = "concmem=1") -> subprocess.Popen[bytes]:
        """Start a worker and wait until it has joined; its machine has its name, and it runs `changes` first."""
        preload = self.folder / f"{name}.py"
        preload.write_text(PRELOAD.format(name=name) + textwrap.indent(changes, "    "))
        # The first worker is the one with the lowest address.
        options = ["--host", f"127.0.0.{len(self._processes)}", "--name", name, "--preload", str(preload)]
        options += ["--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder)]
        options += ["--resources", resources] if resources else []
        process = self._start("worker", self.address, *options)
        log = self.folder / f"log-{len(self._processes) - 1}"
        _until(lambda: b"Registered to" in log.read_bytes())
        return process

    def plan(self, **options: Any) -> Plan:
        """Return a quick plan."""
        defaults = {"programs": ("one", "two"), "tasks": (1, 2), "sleep_s": 0.2, "longest_sleep_s": 0.2, "seed": 1}
        return Plan(**{**defaults, "programs_dirs": (str(self.programs),), **options})

    def bench(self, progress: Progress | None = None, *, resume: bool = False, **options: Any) -> Study:
        """Run the study of that plan on the workers."""
        plan, out = self.plan(**options), self.folder / "study"
        return bench(plan, out, resume=resume, progress=progress, scheduler=self.address)

    def end(self) -> None:
        """Kill all processes, and wait until no program is left."""
        for process in self._processes:
            process.kill()
            process.wait()
        _until(lambda: not self.programs_running())

    def programs_running(self) -> list[int]:
        """Return the PIDs of its programs that run, or of the samplers that are about to start them."""
        result = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if os.fsencode(self.programs) in path.read_bytes():
                    result.append(int(path.parent.name))
        return [pid for pid in result if pid != os.getpid()]


def _until(holds: Callable[[], Any], within_s: float = 120) -> None:
    deadline_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.fixture
def cluster(tmp_path: Path, write_programs: Callable[..., Path]) -> Iterator[Cluster]:
    made = Cluster(tmp_path, write_programs(SCRIPT, "one", "two"))
    yield made
    made.end()


def _spans(study: Study) -> list[tuple[float, float]]:
    """Return the begin and end of each run's tree, in order."""
    seen = [run.measurement for run in study.runs if run.measurement is not None]
    return sorted((m.start_monotonic_s, m.start_monotonic_s + m.tree_wall_s) for m in seen)


@pytest.mark.parametrize("known", [True, False])
def test_workers_share_a_study_and_a_machine_runs_one_program_at_a_time(cluster: Cluster, known: bool) -> None:
    """
    Each run is made once, by either worker, with its timeline and its machine; no two run at the same time.

    This holds even if the study takes the workers for two machines: then the machine lock refuses the second.
    """
    for name in ("alpha", "beta"):
        (cluster.folder / f"boot-id-{name}").write_text(name)
        cluster.worker(name, "" if known else f"import pathlib\nworker._BOOT_ID = pathlib.Path('boot-id-{name}')\n")
    progress = Notes()
    study = cluster.bench(progress, runs=3)
    assert len(study.runs) == 12 and {run.status for run in study.runs} == {"ok"}, study.runs
    assert {run.machine for run in study.runs} <= {"alpha", "beta"} == study.hosts.keys()
    assert study.host == study.hosts["alpha"]
    for run in study.runs:
        assert run.peak is not None and run.measurement is not None and run.measurement.host == study.hosts[run.machine]
        assert len(Timeline.load(study.timeline_path(run))) > 10
    for (_, ended_s), (began_s, _) in pairwise(_spans(study)):
        assert ended_s <= began_s
    waits = [note for note in progress.notes if f"is running a study in {platform.node()}:{study.path} on" in note]
    assert progress.notes == waits and bool(waits) is not known
    if known:
        assert {run.machine for run in study.runs} == {"alpha", "beta"}
        assert sorted(progress.running_cells, key=str) == sorted((run.cell for run in study.runs), key=str)


def test_workers_may_come_while_it_runs(cluster: Cluster) -> None:
    """The first worker is waited for; one that comes during the first run takes its turns as soon as it is ready."""

    class Late(Notes):
        def note(self, sentence: str) -> None:
            super().note(sentence)
            cluster.worker("alpha")

        def running(self, cell: Cell, sleep_s: float, attempt: int, left_s: float) -> None:
            if not self.running_cells:
                cluster.worker("beta")
            super().running(cell, sleep_s, attempt, left_s)

    progress = Late()
    study = cluster.bench(progress, runs=3)
    assert progress.notes == [f"there is no usable worker at {cluster.address}; waiting 30 s for one"]
    assert {run.status for run in study.runs} == {"ok"}
    made = {name: sum(run.machine == name for run in study.runs) for name in study.hosts}
    assert made.keys() == {"alpha", "beta"} and min(made.values()) >= 1, made


def test_the_cell_of_a_worker_that_is_killed_is_run_again(cluster: Cluster) -> None:
    """After SIGKILL in the middle of a run the other worker makes it; no run is lost or stored twice."""
    workers = {name: cluster.worker(name) for name in ("alpha", "beta")}
    (cluster.programs / "own" / "deaths-2").write_text("1")
    progress = Notes()
    study = cluster.bench(progress)
    (dead,) = (name for name, process in workers.items() if process.poll() == -signal.SIGKILL)
    assert [run.status for run in study.runs] == ["ok"] * 4
    (again,) = (cell for cell in set(progress.running_cells) if progress.running_cells.count(cell) == 2)
    assert len(progress.running_cells) == 5 and again.tasks == 2
    assert progress.notes == [f"worker {dead} was lost; {again.program} 2 will be run again"]
    assert {run.machine for run in study.runs if run.cell == again} == {"alpha", "beta"} - {dead}
    assert {run.machine for run in study.runs} <= study.hosts.keys() == {"alpha", "beta"}
    assert cluster.programs_running() == []


def test_a_cell_that_ends_every_worker_is_given_up(cluster: Cluster) -> None:
    """After three lost workers it is skipped with its reason and its machine; the fourth makes all others."""
    for name in ("a", "b", "c", "d"):
        cluster.worker(name)
    (cluster.programs / "own" / "deaths-2").write_text("3")
    study = cluster.bench(programs=("one",), tasks=(1, 2, 3))
    assert [(run.tasks, run.status) for run in study.runs] == [(1, "ok"), (2, "skipped"), (3, "ok")]
    assert study.runs[1].reason == "given up: 3 workers were lost while they ran it"
    assert study.runs[1].machine in study.hosts


def test_workers_that_do_not_compare_are_not_used(cluster: Cluster) -> None:
    """Another version, kind of machine or toolchain, or no resource: each is reported once, with its reason."""
    cluster.worker("good")
    cluster.worker("old", "worker.__version__ = '0.0.1'\n")
    cluster.worker("bare", resources="")
    cluster.worker("other", OTHER_KERNEL)
    cluster.worker("newer", OTHER_TOOLCHAIN)
    progress = Notes()
    study = cluster.bench(progress, runs=4)
    assert {(run.status, run.machine) for run in study.runs} == {("ok", "good")}
    assert {run.measurement.host.kernel for run in study.runs if run.measurement} == {describe().kernel}
    assert sorted(progress.notes) == [
        "worker bare is not used: it was not started with --resources concmem=1",
        "worker newer is not used: one differs from the first worker: "
        f"toolchain is Python 9 on this worker and {study.programs[0].toolchain} on the first worker",
        f"worker old is not used: it has concmem 0.0.1, but the study runs with {study.version}",
        "worker other is not used: it is on another kind of machine: "
        f"kernel is 2.4 on this worker and {describe().kernel} in the study",
    ]


def test_a_study_continues_after_an_interrupt_with_or_without_the_scheduler(cluster: Cluster) -> None:
    """Ctrl-C ends the program on the worker at once; stored runs stay and are not made again."""
    cluster.worker("alpha")
    slow = cluster.programs / "own" / "slow"
    slow.touch()
    with pytest.raises(KeyboardInterrupt):
        cluster.bench(Notes(interrupt_in=3))
    _until(lambda: not cluster.programs_running(), SETTLE_S)
    slow.unlink()
    kept = {run.cell: run for run in load_study(cluster.folder / "study").runs}
    assert [(run.tasks, run.machine) for run in kept.values()] == [(1, "alpha")] * 2
    with pytest.raises(KeyboardInterrupt):
        cluster.bench(Notes(interrupt_in=2), resume=True)
    stored = {run.cell: run for run in load_study(cluster.folder / "study").runs}
    assert len(stored) == 3 and kept.items() < stored.items() and {run.machine for run in stored.values()} == {"alpha"}
    progress = Notes()
    study = bench(cluster.plan(), cluster.folder / "study", resume=True, progress=progress)
    assert [run.status for run in study.runs] == ["ok"] * 4
    assert [run for run in study.runs if run.cell in stored] == sorted(stored.values(), key=study.runs.index)
    (last,) = (run for run in study.runs if run.cell not in stored)
    assert progress.running_cells == [last.cell] and last.machine == os.uname().nodename
    assert study.hosts.keys() == {"alpha", last.machine}


def test_a_resumed_study_takes_workers_of_its_own_kind(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of another kind of machine, or with another toolchain than the stored runs, is not used."""
    monkeypatch.setattr(dispatch, "_WORKERS_S", 1)
    with pytest.raises(KeyboardInterrupt):
        bench(cluster.plan(), cluster.folder / "study", progress=Notes(interrupt_in=3))
    cluster.worker("other", OTHER_KERNEL)
    cluster.worker("newer", OTHER_TOOLCHAIN)
    progress = Notes()
    with pytest.raises(ClusterError, match="had no usable worker for 1 s"):
        cluster.bench(progress, resume=True)
    notes = sorted(progress.notes)
    assert notes[0].startswith("there is no usable worker at tcp://127.0.0.1:")
    assert "made with Python 3" in notes[1] and "but this machine has Python 9: start a new study" in notes[1]
    assert notes[2].startswith("worker other is not used: it is on another kind of machine: kernel is 2.4 on this ")
    cluster.worker("good")
    study = cluster.bench(resume=True)
    assert [run.status for run in study.runs] == ["ok"] * 4


def test_a_folder_of_programs_that_a_worker_does_not_have(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is not used, and the reason names the folder."""
    monkeypatch.setattr(dispatch, "_WORKERS_S", 1)
    cluster.worker("alpha")

    class Moving(Notes):
        def preparing(self, program: str) -> None:
            shutil.rmtree(cluster.programs)

    progress = Moving()
    with pytest.raises(ClusterError):
        cluster.bench(progress, programs=("one",))
    assert progress.notes[0] == f"worker alpha is not used: {cluster.programs}: no folder in it has a language.toml"


def test_losing_the_scheduler_ends_the_study_and_keeps_its_runs(cluster: Cluster, tmp_path: Path) -> None:
    """One sentence says so and how to continue; the program that ran is ended."""
    cluster.worker("alpha")
    (cluster.programs / "own" / "slow").touch()
    options = ["--programs", "one", "--tasks", "1,2,3", "--sleep", "1", "--programs-dir", str(cluster.programs)]
    command = [sys.executable, "-m", "concmem", "bench", *options, "--out", "study", "--scheduler", cluster.address]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("[1/3]"):
                break
        _until(cluster.programs_running)
        cluster.scheduler.kill()
        _until(lambda: not cluster.programs_running(), SETTLE_S)
        assert process.stderr.read() == (
            f"concmem: the scheduler at {cluster.address} is gone; 1 run stored. "
            f"To continue: concmem bench --resume --out study --scheduler {cluster.address}\n"
        )
        assert process.wait(300) == 1


def test_a_scheduler_that_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No scheduler: exit code 1; an invalid address: 2; one sentence each, and no folder is left."""
    monkeypatch.setattr(cluster_of_study, "_CONNECT_S", 0.5)
    monkeypatch.chdir(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        for given, code, message in (
            (address, 1, f"concmem: no scheduler answered at {address} within 0.5 s"),
            ("host", 2, f"{INVALID_ADDRESS}'host'"),
            ("tcp://host:x", 2, f"{INVALID_ADDRESS}'tcp://host:x'"),
        ):
            with pytest.raises(SystemExit) as caught:
                main(["bench", "--programs", "python", "--out", "study", "--scheduler", given])
            lines = [line for line in capfd.readouterr().err.splitlines() if line != "Writing the study to study"]
            assert (caught.value.code, len(lines)) == (code, 1), lines
            assert lines[0].startswith(message)
            assert not Path("study").exists()


def test_no_worker_at_all(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the announced wait, one sentence says how to start a worker."""
    monkeypatch.setattr(dispatch, "_WORKERS_S", 1)
    progress = Notes()
    with pytest.raises(ClusterError) as caught:
        cluster.bench(progress)
    assert caught.value.exit_code == 1
    assert progress.notes == [f"there is no usable worker at {cluster.address}; waiting 1 s for one"]
    assert str(caught.value) == (
        f"{cluster.address} had no usable worker for 1 s; on each machine run: "
        f"dask worker {cluster.address} --nthreads 1 --resources concmem=1"
    )
