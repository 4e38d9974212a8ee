"""Whose life is measured: the root's and that of all it started, or the root's alone."""

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
"""The root ends when its daemon holds all that it will."""


def daemon(folder: Path) -> list[str]:
    return ["/bin/sh", "-c", DAEMON, str(folder / "fifo")]


def test_leave(marked: Any, tmp_path: Path) -> None:
    """The measurement ends with the root, and has what the daemon held; the daemon lives on, and is named."""
    m = concmem.measure(daemon(tmp_path), leftover="leave", stdout=subprocess.PIPE, env=marked.env)
    assert (m.exit.ok, m.stdout) == (True, b"done\n")
    (left,) = m.left_running
    assert list(marked.alive()) == [left.pid]
    assert left.name == Path(f"/proc/{left.pid}/comm").read_text().strip()
    assert m.peak.bytes is not None
    assert m.peak.bytes >= HELD_BYTES
    assert m.peak.high_bytes is None  # what the daemon held between two readings is not known
    assert concmem.Measurement.from_dict(json.loads(json.dumps(m.to_dict()))).left_running == m.left_running


def test_leave_with_exit_records(marked: Any, tmp_path: Path) -> None:
    """The record of a process that lives on has not been sent: no upper end is claimed from records."""
    m = concmem.measure(daemon(tmp_path), leftover="leave", taskstats=True, stdout=subprocess.DEVNULL, env=marked.env)
    assert len(m.left_running) == 1
    assert m.peak.high_bytes is None


def test_leave_in_the_first_millisecond(marked: Any) -> None:
    """A root that ends before the first tick leaves what it started, too."""
    for _ in range(10):
        m = concmem.measure("sleep 600 & exit 3", leftover="leave", env=marked.env)
        assert m.exit.code == 3
        (left,) = m.left_running
        assert left.pid in marked.alive()


def test_nothing_to_leave() -> None:
    """A tree that ends with its root is measured as ever."""
    for leftover in ("wait", "leave", "kill"):
        m = concmem.measure(["/bin/true"], leftover=leftover)  # type: ignore[arg-type]
        assert (m.exit.ok, m.left_running, m.sampler.survivors) == (True, (), ())
        assert m.peak.high_bytes is not None


def test_a_limit_holds_until_the_root_ends(marked: Any) -> None:
    """A limit ends the whole tree, whatever was to be left."""
    m = concmem.measure("sleep 600 & sleep 600", leftover="leave", timeout_s=0.3, env=marked.env)
    assert (m.exit.reason, m.left_running) == ("timeout", ())
    assert marked.alive() == {}


@pytest.mark.parametrize("first", ["", "sleep 0.3; "])
def test_kill(marked: Any, first: str) -> None:
    """What the root leaves is killed; how the root ended stays as it was."""
    m = concmem.measure(f"sleep 600 & setsid sleep 600 & {first}exit 5", leftover="kill", env=marked.env)
    assert (m.exit.reason, m.exit.code, m.left_running) == ("exited", 5, ())
    assert marked.alive() == {}
    assert m.sampler.survivors == ()
    assert m.tree_wall_s >= m.wall_s


def test_kill_has_an_upper_end(marked: Any, tmp_path: Path) -> None:
    """What was killed was waited for: its own mark bounds it."""
    m = concmem.measure(daemon(tmp_path), leftover="kill", stdout=subprocess.DEVNULL, env=marked.env)
    assert m.peak.status == "bounded"
    assert (m.peak.low_bytes or 0) <= HELD_BYTES + 20 * MIB
    assert (m.peak.high_bytes or 0) >= HELD_BYTES


def test_a_pipe_that_is_written_to_for_ever(marked: Any) -> None:
    """One that lives on and writes without end keeps nobody waiting; what lay in the pipe is there."""
    m = concmem.measure("echo first; yes & exit 0", leftover="leave", stdout=subprocess.PIPE, env=marked.env)
    assert (m.stdout or b"").startswith(b"first\n")
    marked.wait_for(0)  # SIGPIPE


def test_a_pipe_that_is_held_open(marked: Any) -> None:
    """One that holds the pipe open and never writes keeps nobody waiting."""
    m = concmem.measure("echo first; sleep 600 & exit 0", leftover="leave", stdout=subprocess.PIPE, env=marked.env)
    assert m.stdout == b"first\n"
    assert len(m.left_running) == 1


def test_no_such_leftover() -> None:
    """Anything else is refused, with what is allowed."""
    with pytest.raises(errors.InvalidRequest, match="'wait', 'leave' or 'kill'"):
        concmem.measure(["/bin/true"], leftover="stay")  # type: ignore[arg-type]


SHOWS_GROUPS = """
import concmem, json
m = concmem.measure("sleep 600 >/dev/null 2>&1 & exit 0", cgroup=True, exact=True, leftover="leave")
pid = m.left_running[0].pid
lines = open(f"/proc/{pid}/cgroup").read().splitlines()
print(json.dumps([pid, [line.split(":", 2) for line in lines if "/concmem-" in line]]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="root is missing: control groups")
def test_groups_of_what_was_left(host_python: Any, marked: Any) -> None:
    """Their maker has gone: a later run kills nothing in them, and removes them when that has ended."""
    pid, lines = host_python(SHOWS_GROUPS)
    folders = [
        folder
        for _, controllers, path in lines
        for mount in ("memory" if "memory" in controllers else "unified", "")
        if (folder := Path("/sys/fs/cgroup", mount, path.lstrip("/"))).is_dir()
    ]
    if not folders:
        pytest.skip("a hierarchy of control groups in which one can be made is missing")
    make_groups(True, True).close()
    assert all(folder.is_dir() for folder in folders)
    assert psutil.pid_exists(pid)
    os.kill(pid, 9)
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    deadline_s = time.monotonic() + 30
    while any(folder.is_dir() for folder in folders):  # a process is in its group for a moment longer
        assert time.monotonic() < deadline_s
        make_groups(True, True).close()


def test_names_of_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of groups whose makers are dead, only what is in those that were not made for leaving is killed."""
    killed: list[str] = []
    monkeypatch.setattr(_cgroup_sweep, "kill", lambda group: killed.append(group.name))
    monkeypatch.setattr(_cgroup_sweep, "_is_gone", lambda *_: True)
    names = [_cgroup_sweep.new_name(Path("/"), for_leaving) for for_leaving in (False, True)]
    for name in names:
        (tmp_path / name).mkdir()
    _cgroup_sweep.sweep(tmp_path, Path("/"))
    assert killed == names[:1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("leftover", ["leave", "kill"])
def test_the_command(leftover: str, marked: Any, tmp_path: Path) -> None:
    """``--leftover`` does the same, ends as the root does, and names what it has left; no sampler stays."""
    command = [sys.executable, "-m", "concmem", "run", "--leftover", leftover, "--", *daemon(tmp_path)]
    done = subprocess.run(command, env=marked.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert ("left running:" in done.stderr) == (leftover == "leave")
    for pid, line in marked.alive().items():
        assert f"{pid} (" in done.stderr
        assert "sampler" not in line
    assert len(marked.alive()) == (leftover == "leave")


def test_the_command_refuses_other_words() -> None:
    """As every other option: status 2, one sentence."""
    command = [sys.executable, "-m", "concmem", "run", "--leftover", "stay", "--", "/bin/true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'wait', 'leave', 'kill'" in done.stderr
