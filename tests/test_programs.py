from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from concmem import drivers
from concmem.drivers import Missing, Prepared

pytestmark = pytest.mark.toolchain

PROGRAMS = drivers.load_programs()
TIMEOUT_S = 60

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


@pytest.fixture(scope="module", params=list(PROGRAMS))
def ready(request: pytest.FixtureRequest) -> Prepared:
    """Each program, built; where its toolchain is missing the skip says what and how to get it."""
    program = PROGRAMS[request.param]
    toolchain = drivers.detect(program)
    if isinstance(toolchain, Missing):
        pytest.skip(f"{toolchain.reason} ({toolchain.install})")
    return drivers.prepare(program, toolchain)


def run(argv: list[str], ready: Prepared, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=ready.env, cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT_S)


@pytest.mark.parametrize("tasks", [1, 1000])
def test_starts_and_ends(ready: Prepared, tasks: int, tmp_path: Path) -> None:
    """
    Every program says when the last task is started and when all have ended, and no more; from any folder.

    A thousand tasks that slept one after the other would outlast the time limit by far.
    """
    done = run(list(ready.command(tasks, 0.25)), ready, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == (f"started {tasks}\ndone {tasks}\n", "", 0)
    assert list(tmp_path.iterdir()) == []


def test_started_comes_before_the_sleep_ends(ready: Prepared) -> None:
    """``started N`` is flushed: it can be read while the tasks sleep, and ``done N`` cannot."""
    with subprocess.Popen(ready.command(10, 30), env=ready.env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"started 10\n"
            assert process.poll() is None
        finally:
            process.kill()


def test_bad_arguments(ready: Prepared, tmp_path: Path) -> None:
    """Missing or bad arguments are one usage line on standard error and exit code 2, before anything is started."""
    start = list(ready.command(1, 1))[:-2]
    for arguments in NO_ARGUMENTS:
        done = run([*start, *arguments], ready, tmp_path)
        usage = f"usage: {ready.program.name} N [SLEEP_SECONDS=10]\n"
        assert (arguments, done.stdout, done.stderr, done.returncode) == (arguments, "", usage, 2)


@pytest.mark.parametrize("ready", [n for n, p in PROGRAMS.items() if p.kind == "thread"], indirect=True)
def test_a_thread_that_cannot_be_started(ready: Prepared) -> None:
    """Where the system refuses a thread, the program ends at once, not with 0, and says which thread and why."""
    if (prlimit := shutil.which("prlimit")) is None:
        pytest.skip("no prlimit, which limits the address space (Debian's util-linux)")
    # A thread's stack is address space. The JVM reserves much more for itself at its start than Rust does.
    limit = 8 << 30 if ready.program.language == "Java" else 200 << 20
    argv = [prlimit, f"--as={limit}", *ready.command(20_000, 60)]
    done = subprocess.run(argv, env=ready.env, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode != 0
    assert "could not start thread " in done.stderr
    assert "done" not in done.stdout


def test_more_processes_than_the_default(tmp_path: Path) -> None:
    """Elixir's flag for many processes is given where, and only where, the default is too small."""
    ready = prepared_elixir()
    assert ready.flags(262_000) == ()
    assert ready.flags(262_001) == ("--erl", "+P 1048576")
    assert ready.flags(1_000_000) == ("--erl", "+P 1048576")
    start = list(ready.command(1, 1))
    small = [start[0], "--erl", "+P 1024", *start[1:-2], "2000", "1"]
    done = run(small, ready, tmp_path)
    assert done.returncode == 1
    assert "could not start process " in done.stderr
    assert "started" not in done.stdout


def prepared_elixir() -> Prepared:
    program = PROGRAMS["elixir"]
    toolchain = drivers.detect(program)
    if isinstance(toolchain, Missing):
        pytest.skip(f"{toolchain.reason} ({toolchain.install})")
    return drivers.prepare(program, toolchain)
