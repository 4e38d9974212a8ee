"""`leftover`: what happens to processes that still run when the root has ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import concmem
from concmem import errors
from concmem._cgroup import sweep as _cgroup_sweep
from concmem._cgroup.groups import make_groups

MIB = 1 << 20
HELD_BYTES = 60 * MIB

pytestmark = pytest.mark.usefixtures("no_child_left")

HOLD = f"import time; b = bytearray({HELD_BYTES}); print(len(b), flush=True); time.sleep(600)"
DAEMON = f"mkfifo $0; setsid nohup {sys.executable} -c '{HOLD}' >$0 2>/dev/null & read held <$0; echo done"
"""The root ends when its daemon holds all its memory."""


def daemon(folder: Path) -> list[str]:
    return ["/bin/sh", "-c", DAEMON, str(folder / "fifo")]


def test_leave(marked: Any, tmp_path: Path) -> None:
    """The measurement ends with the root and includes the daemon's memory. The daemon still runs, and is listed."""
    m = concmem.measure(daemon(tmp_path), leftover="leave", stdout=subprocess.PIPE, env=marked.env)
    assert (m.exit.ok, m.stdout) == (True, b"done\n")
    (left,) = m.left_running
    assert list(marked.alive()) == [left.pid]
    assert left.name == Path(f"/proc/{left.pid}/comm").read_text().strip()
    assert m.peak.bytes is not None
    assert m.peak.bytes >= HELD_BYTES
    assert m.peak.high_bytes is None  # the daemon's largest size between two readings is unknown
    assert concmem.Measurement.from_dict(json.loads(json.dumps(m.to_dict()))).left_running == m.left_running


def test_leave_with_exit_records(marked: Any, tmp_path: Path) -> None:
    """A process that still runs has no exit record yet, so there is no upper end."""
    m = concmem.measure(daemon(tmp_path), leftover="leave", taskstats=True, stdout=subprocess.DEVNULL, env=marked.env)
    assert len(m.left_running) == 1
    assert m.peak.high_bytes is None


def test_leave_in_the_first_millisecond(marked: Any) -> None:
    """A root that ends before the first tick leaves its children running too."""
    for _ in range(10):
        m = concmem.measure("sleep 600 & exit 3", leftover="leave", env=marked.env)
        assert m.exit.code == 3
        (left,) = m.left_running
        assert left.pid in marked.alive()


def test_nothing_to_leave() -> None:
    """If no process outlives the root, the measurement is as usual."""
    for leftover in ("wait", "leave", "kill"):
        m = concmem.measure(["/bin/true"], leftover=leftover)  # type: ignore[arg-type]
        assert (m.exit.ok, m.left_running, m.sampler.survivors) == (True, (), ())
        assert m.peak.high_bytes is not None


def test_a_limit_holds_until_the_root_ends(marked: Any) -> None:
    """A limit kills the whole tree, even with `leave`."""
    m = concmem.measure("sleep 600 & sleep 600", leftover="leave", timeout_s=0.3, env=marked.env)
    assert (m.exit.reason, m.left_running) == ("timeout", ())
    assert marked.alive() == {}


@pytest.mark.parametrize("first", ["", "sleep 0.3; "])
def test_kill(marked: Any, first: str) -> None:
    """Processes that outlive the root are killed; the exit is still the root's own."""
    m = concmem.measure(f"sleep 600 & setsid sleep 600 & {first}exit 5", leftover="kill", env=marked.env)
    assert (m.exit.reason, m.exit.code, m.left_running) == ("exited", 5, ())
    assert marked.alive() == {}
    assert m.sampler.survivors == ()
    assert m.tree_wall_s >= m.wall_s


def test_kill_has_an_upper_end(marked: Any, tmp_path: Path) -> None:
    """Killed processes are reaped, so their own marks are upper ends."""
    m = concmem.measure(daemon(tmp_path), leftover="kill", stdout=subprocess.DEVNULL, env=marked.env)
    assert m.peak.status == "bounded"
    assert (m.peak.low_bytes or 0) <= HELD_BYTES + 20 * MIB
    assert (m.peak.high_bytes or 0) >= HELD_BYTES


def test_a_pipe_that_is_written_to_for_ever(marked: Any) -> None:
    """A process that writes to the pipe forever does not block `wait`. The content of the pipe is returned."""
    m = concmem.measure("echo first; yes & exit 0", leftover="leave", stdout=subprocess.PIPE, env=marked.env)
    assert (m.stdout or b"").startswith(b"first\n")
    marked.wait_for(0)  # SIGPIPE


def test_a_pipe_that_is_held_open(marked: Any) -> None:
    """A process that keeps the pipe open and never writes does not block `wait`."""
    m = concmem.measure("echo first; sleep 600 & exit 0", leftover="leave", stdout=subprocess.PIPE, env=marked.env)
    assert m.stdout == b"first\n"
    assert len(m.left_running) == 1


def test_an_invalid_leftover() -> None:
    """Another value is refused, and the message lists the allowed ones."""
    with pytest.raises(errors.InvalidRequest, match="'wait', 'leave' or 'kill'"):
        concmem.measure(["/bin/true"], leftover="stay")  # type: ignore[arg-type]


SHOWS_GROUPS = """
import concmem, json
m = concmem.measure("sleep 600 >/dev/null 2>&1 & exit 0", cgroup=True, exact=True, leftover="leave")
pid = m.left_running[0].pid
lines = open(f"/proc/{pid}/cgroup").read().splitlines()
print(json.dumps([pid, [line.split(":", 2) for line in lines if "/concmem-" in line]]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="requires root: control groups")
def test_groups_of_processes_left_running(host_python: Any, marked: Any) -> None:
    """When their maker has ended, a later run kills no process in them, and removes them when they are empty."""
    pid, lines = host_python(SHOWS_GROUPS)
    folders = [
        folder
        for _, controllers, path in lines
        for mount in ("memory" if "memory" in controllers else "unified", "")
        if (folder := Path("/sys/fs/cgroup", mount, path.lstrip("/"))).is_dir()
    ]
    if not folders:
        pytest.skip("requires a hierarchy of control groups in which a group can be made")
    make_groups(True, True).close()
    assert all(folder.is_dir() for folder in folders)
    assert psutil.pid_exists(pid)
    os.kill(pid, 9)
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    deadline_s = time.monotonic() + 30
    while any(
        folder.is_dir() for folder in folders
    ):  # the kernel lists a process in its group for a moment after its end
        assert time.monotonic() < deadline_s
        make_groups(True, True).close()


def test_names_of_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Processes in groups of dead makers are killed, except in groups made for processes left running."""
    killed: list[str] = []
    monkeypatch.setattr(_cgroup_sweep, "kill", lambda group: killed.append(group.name))
    monkeypatch.setattr(_cgroup_sweep, "_is_gone", lambda *_: True)
    names = [_cgroup_sweep.new_name(Path("/"), for_leaving) for for_leaving in (False, True)]
    for name in names:
        (tmp_path / name).mkdir()
    _cgroup_sweep.remove_old_groups(tmp_path, Path("/"))
    assert killed == names[:1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("leftover", ["leave", "kill"])
def test_the_command(leftover: str, marked: Any, tmp_path: Path) -> None:
    """``--leftover`` does the same, exits like the root, and lists the processes left running; the sampler ends."""
    command = [sys.executable, "-m", "concmem", "run", "--leftover", leftover, "--", *daemon(tmp_path)]
    done = subprocess.run(command, env=marked.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert ("left running:" in done.stderr) == (leftover == "leave")
    for pid, line in marked.alive().items():
        assert f"{pid} (" in done.stderr
        assert "sampler" not in line
    assert len(marked.alive()) == (leftover == "leave")


def test_the_command_refuses_other_values() -> None:
    """Like every other option: status 2 and one sentence."""
    command = [sys.executable, "-m", "concmem", "run", "--leftover", "stay", "--", "/bin/true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'wait', 'leave', 'kill'" in done.stderr
