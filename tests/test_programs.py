from __future__ import annotations

import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from concmem.drivers import programs as drivers
from concmem.drivers.programs import Missing, Prepared

pytestmark = pytest.mark.toolchain

PROGRAMS = drivers.load_programs()
TIMEOUT_S = 300

NO_ARGUMENTS = [
    [],
    [""],
    ["x"],
    ["0"],
    ["-5"],
    ["1.5"],
    ["10", ""],
    ["10", "x"],
    ["10", "-1"],
    ["10", "nan"],
    ["10", "inf"],
    ["1", "1", "1"],
]


ALL = [(name, workload) for name, program in PROGRAMS.items() for workload in program.workloads]


def of(workload: str) -> pytest.MarkDecorator:
    """Parametrize a test with the programs of one workload."""
    return pytest.mark.parametrize("ready", [each for each in ALL if each[1] == workload], indirect=True, ids="-".join)


@pytest.fixture(scope="module", params=ALL, ids="-".join)
def ready(request: pytest.FixtureRequest) -> Prepared:
    """Return each program for each of its workloads, built."""
    return prepared(*request.param)


def prepared(name: str, workload: str = "sleep") -> Prepared:
    """Return a built program. Skip if its toolchain is missing, with how to install it."""
    program = PROGRAMS[name]
    toolchain = drivers.detect(program)
    if isinstance(toolchain, Missing):
        pytest.skip(f"{toolchain.reason} ({toolchain.install})")
    return drivers.prepare(program, toolchain, workload)


def run(argv: list[str], ready: Prepared, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=ready.env, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S)


@of("sleep")
@pytest.mark.parametrize("tasks", [1, 1000])
def test_starts_and_ends(ready: Prepared, tasks: int, tmp_path: Path) -> None:
    """
    Every program prints one line when the last task has started and one when all have ended, and nothing else.

    It leaves no files in the working directory or beside the sources. A thousand tasks that slept one after another
    would exceed the time limit.
    """
    before = sorted(ready.program.folder.rglob("*"))
    done = run(list(ready.command(tasks, 0.25)), ready, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (f"started {tasks}\ndone {tasks}\n", "", 0)
    assert list(tmp_path.iterdir()) == []
    assert sorted(ready.program.folder.rglob("*")) == before


@of("spawn")
@pytest.mark.parametrize("tasks", [1, 100])
def test_spawn(ready: Prepared, tasks: int, tmp_path: Path) -> None:
    """Every spawn program prints a line before the first task, when all have ended, and when it ends."""
    done = run(list(ready.command(tasks, 0)), ready, tmp_path)
    expected = f"ready {tasks}\nended {tasks}\ndone {tasks}\n"
    assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)


@of("channel")
@pytest.mark.parametrize("tasks", [1, 100])
def test_channel(ready: Prepared, tasks: int, tmp_path: Path) -> None:
    """With 0 seconds the message makes one round, else several whole rounds. Then all tasks end."""
    done = run(list(ready.command(tasks, 0)), ready, tmp_path)
    expected = f"started {tasks}\npassed {tasks}\ndone {tasks}\n"
    assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)

    begun = time.monotonic()
    done = run(list(ready.command(tasks, 0.5)), ready, tmp_path)
    assert time.monotonic() - begun >= 0.5
    match = re.fullmatch(rf"started {tasks}\npassed (\d+)\ndone {tasks}\n", done.stdout)
    assert match is not None, done.stdout
    rounds, rest = divmod(int(match[1]), tasks)
    assert (rounds > 1, rest, done.stderr, done.returncode) == (True, 0, "", 0)


FIRST_LINES = {"sleep": ["started"], "spawn": ["ready", "ended"], "channel": ["started"]}


def test_each_line_is_flushed(ready: Prepared) -> None:
    """Lines that a program prints before its seconds begin can be read while these pass."""
    with subprocess.Popen(ready.command(10, 30), env=ready.env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            for word in FIRST_LINES[ready.workload]:
                assert process.stdout.readline() == f"{word} 10\n".encode()
            assert process.poll() is None
            assert select.select([process.stdout], [], [], 0.2)[0] == []
        finally:
            process.kill()


SECONDS = {"sleep": "SLEEP_SECONDS", "spawn": "IDLE_SECONDS", "channel": "SECONDS"}


def test_no_arguments(ready: Prepared, tmp_path: Path) -> None:
    """Without arguments a program prints one usage line to standard error and exits with 2."""
    done = run(list(ready.command(1, 1))[:-2], ready, tmp_path)
    name = ready.program.name if ready.workload == "sleep" else f"{ready.program.name}-{ready.workload}"
    usage = f"usage: {name} N [{SECONDS[ready.workload]}=10]\n"
    assert (done.stdout, done.stderr, done.returncode) == ("", usage, 2)


@pytest.mark.parametrize("name", [name for name, program in PROGRAMS.items() if program.variant != "idiomatic"])
def test_bad_arguments(name: str, tmp_path: Path) -> None:
    """Bad arguments give the usage line. (Idiomatic programs share the code that reads arguments.)"""
    ready = prepared(name)
    start = list(ready.command(1, 1))[:-2]
    for arguments in NO_ARGUMENTS:
        done = run([*start, *arguments], ready, tmp_path)
        usage = f"usage: {name} N [SLEEP_SECONDS=10]\n"
        assert (arguments, done.stdout, done.stderr, done.returncode) == (arguments, "", usage, 2)


def threads(workload: str) -> list[str]:
    """Return the programs with this workload whose tasks are threads."""
    return [name for name, its in ALL if its == workload and PROGRAMS[name].kind == "thread"]


@pytest.mark.parametrize("name", threads("spawn"))
def test_spawned_threads_are_threads(name: str, tmp_path: Path) -> None:
    """Every thread takes a PID: at least that many were allocated during the run."""
    ready, tasks = prepared(name, "spawn"), 2000
    before = last_pid()
    done = run(list(ready.command(tasks, 0)), ready, tmp_path)
    assert done.returncode == 0
    pid_max = int(Path("/proc/sys/kernel/pid_max").read_text())
    assert (last_pid() - before) % pid_max >= tasks


def last_pid() -> int:
    """Return the PID that the kernel allocated last."""
    return int(Path("/proc/loadavg").read_text().split()[-1])


@pytest.mark.parametrize("name", threads("channel"))
def test_a_ring_of_threads_has_them_all_at_once(name: str) -> None:
    """When ``started N`` is read, N threads in addition to the first are alive."""
    ready, tasks = prepared(name, "channel"), 100
    with subprocess.Popen(ready.command(tasks, 30), env=ready.env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"started 100\n"
            assert len(list(Path(f"/proc/{process.pid}/task").iterdir())) >= tasks + 1
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("name", "workload"), [(name, workload) for workload in ("sleep", "channel") for name in threads(workload)]
)
def test_a_thread_that_cannot_be_started(name: str, workload: str) -> None:
    """If a thread cannot be started, the program names it, gives the reason and exits at once, not with 0."""
    ready = prepared(name, workload)
    if (prlimit := shutil.which("prlimit")) is None:
        pytest.skip("no prlimit, which limits the address space (Debian's util-linux)")
    # A thread's stack is address space. The JVM reserves much more for itself at its start than Rust does.
    limit = 8 << 30 if ready.program.language == "Java" else 200 << 20
    argv = [prlimit, f"--as={limit}", *ready.command(20_000, 60)]
    done = subprocess.run(argv, env=ready.env, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode != 0
    assert "could not start thread " in done.stderr
    assert "done" not in done.stdout


@pytest.mark.parametrize(
    ("name", "flags", "few"),
    [("elixir", ("--erl", "+P 1048576"), ("--erl", "+P 1024")), ("erlang", ("+P", "1048576"), ("+P", "1024"))],
    ids=["elixir", "erlang"],
)
def test_more_processes_than_the_default(
    name: str, flags: tuple[str, ...], few: tuple[str, ...], tmp_path: Path
) -> None:
    """The flag for many processes is given only if the default is too small."""
    ready = prepared(name)
    assert ready.flags(262_000) == ()
    assert ready.flags(262_001) == flags
    assert ready.flags(1_000_000) == flags
    start = list(ready.command(1, 1))
    done = run([start[0], *few, *start[1:-2], "2000", "1"], ready, tmp_path)
    assert done.returncode == 1
    assert "could not start process " in done.stderr
    assert "started" not in done.stdout
