"""The kernel's exit records: parsed safely, complete after the last wait, and with the right size."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import attrs
import pytest
from c_programs import compile_c, sanitizing_compiler

from concmem._figures.ground_truth import START_UP_JITTER_BYTES
from concmem.testing import known

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
MIB = 1 << 20
TASKS = 1000


@attrs.frozen
class Record:
    """`struct cm_exit_record` of csrc/shared/internal.h, in its order."""

    pid: int
    tgid: int
    ppid: int
    hwm_bytes: int
    elapsed_ns: int
    user_ns: int
    system_ns: int
    exit_code: int
    ends_process: bool
    comm: str


@attrs.frozen
class Run:
    """The output of tests/c/listen_taskstats.c for one command: the records of its tree."""

    root: int
    status: int
    records: list[Record]
    lost: int

    def of(self, tgid: int) -> list[Record]:
        """Return the records of one process, in the order in which its threads ended."""
        return [record for record in self.records if record.tgid == tgid]


@attrs.frozen
class Listener:
    """The program that receives exit records."""

    program: Path

    def __call__(self, *args: str) -> str:
        """Parse its last line, which is JSON."""
        done = subprocess.run([self.program, *args], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()[-1]

    def counts(self, how: str, *counts: int) -> tuple[int, int]:
        """Return how many records were received, and how often the kernel dropped some."""
        result = json.loads(self(how, *map(str, counts)))
        return result["found"], result["lost"]

    def run(self, *command: str) -> Run:
        """Run a command and return its records."""
        result = json.loads(self("run", *command))
        records = [Record(*row) for row in result["records"]]
        tree, size = {result["root"]}, 0
        while len(tree) > size:  # children can end before or after their parents
            size = len(tree)
            tree |= {record.tgid for record in records if record.ppid in tree}
        return Run(result["root"], result["status"], [r for r in records if r.tgid in tree], result["lost"])


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile tests/c/listen_taskstats.c with the flags of the sampler."""
    sources = [CSRC / "shared/proc.c", *sorted((CSRC / "sources").glob("taskstats*.c"))]
    return compile_c(tmp_path_factory.mktemp("taskstats") / "listen_taskstats", "listen_taskstats", *sources)


@pytest.fixture(scope="module")
def listener(program: Path) -> Listener:
    """The program, if this kernel and user permit it to receive records."""
    probe = subprocess.run([program, "probe"], capture_output=True, text=True)
    if probe.returncode == 3:
        pytest.skip(probe.stdout.strip())
    assert probe.returncode == 0, probe.stdout + probe.stderr
    return Listener(program)


def test_damaged_datagrams(tmp_path: Path) -> None:
    """Datagrams can be complete, truncated, of any version or damaged: no byte beyond the end is read."""
    program = tmp_path / "mangle_taskstats"
    sources = [ROOT / "tests/c/mangle_taskstats.c", CSRC / "sources/taskstats_record.c"]
    subprocess.run([*sanitizing_compiler(tmp_path), "-o", program, *sources], check=True)
    done = subprocess.run([program, "300000", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_short_process_is_recorded(listener: Listener) -> None:
    """A shell that runs /bin/true 1,000 times gives 1,000 records, each with a size, read once at the end."""
    run = listener.run("/bin/sh", "-c", f"i=0; while [ $i -lt {TASKS} ]; do /bin/true; i=$((i+1)); done; exit 3")
    true = [record for record in run.records if record.comm == "true"]
    assert len({record.pid for record in true}) == len(true) == TASKS
    assert all(record.ends_process and record.ppid == run.root and record.exit_code == 0 for record in true)
    assert all(0 < record.hwm_bytes < 4 * MIB for record in true)
    shell = run.of(run.root)[-1]
    assert shell.exit_code == run.status == 3 << 8
    assert sum(record.elapsed_ns for record in true) < shell.elapsed_ns
    assert run.lost == 0


def test_record_comes_before_the_wait_is_over(listener: Listener) -> None:
    """After a wait for a process, its record is always there."""
    assert listener.counts("wait", TASKS) == (TASKS, 0)


def test_burst(listener: Listener) -> None:
    """The records of thousands of processes that end between two readings are kept."""
    assert listener.counts("burst", 3 * TASKS, 0) == (3 * TASKS, 0)


def test_lost_records_are_counted(listener: Listener) -> None:
    """If the buffer is too small, the loss is reported."""
    found, lost = listener.counts("burst", TASKS, 4096)
    assert found < TASKS
    assert lost > 0


def hwm_error_bytes() -> int:
    """Return the error in docs/how-it-measures.md of a mark of a process that may use every CPU."""
    cpus = os.cpu_count() or 1
    return 3 * cpus * (max(32, 2 * cpus) - 1) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("held_bytes", [10 * MIB, 50 * MIB, 200 * MIB])
def test_known_bytes(listener: Listener, held_bytes: int, threads: int) -> None:
    """The size is the true amount, plus at most the start-up size, with the error in both directions."""
    empty = listener.run(*known("hold", 0, threads, 0))
    run = listener.run(*known("hold", held_bytes, threads, 0))
    own = run.of(run.root)
    assert len(own) == len({record.pid for record in own}) == (threads + 1 if threads > 1 else 1)
    assert [record.ends_process for record in own] == [False] * (len(own) - 1) + [True]
    start_up_bytes = max(record.hwm_bytes for record in empty.of(empty.root)) + hwm_error_bytes()
    hwm_bytes = max(record.hwm_bytes for record in own)
    assert held_bytes - hwm_error_bytes() <= hwm_bytes
    assert hwm_bytes <= held_bytes + start_up_bytes + hwm_error_bytes() + START_UP_JITTER_BYTES


@pytest.mark.parametrize(
    ("namespaces", "named"),
    [("-Ur", "CAP_NET_ADMIN"), ("-pf", "initial PID namespace"), ("-n", "initial network namespace")],
)
def test_namespaces_without_records(listener: Listener, namespaces: str, named: str) -> None:
    """In a separate user, PID or network namespace it is refused, with one sentence that says why."""
    unshare: list[str | Path] = ["unshare", namespaces, "--"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True).returncode != 0:
        pytest.skip(f"`unshare {namespaces}` cannot be used here")
    probe = subprocess.run([*unshare, listener.program, "probe"], capture_output=True, text=True)
    assert probe.returncode == 3
    assert named in probe.stdout
    assert len(probe.stdout.splitlines()) == 1
