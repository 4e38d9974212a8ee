"""Killed processes that do not end: the sampler soon stops waiting, and lists them with the reason."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import concmem
from concmem import errors
from concmem._cgroup.find import is_frozen
from concmem._figures.sentences import headline, remaining
from concmem._native.survivors import find_survivors
from concmem.cli._output import report
from concmem.sampler_report import LeftProcess, Survivor

LIMIT_S = 1.0
GIVEN_UP_S = 120.0
"""The sampler gives up 1.5 s after the last progress. This is for a busy machine."""

FREEZER = Path("/sys/fs/cgroup/freezer")

pytestmark = pytest.mark.usefixtures("no_child_left")

is_root = pytest.mark.skipif(os.geteuid() != 0, reason="requires root")


@pytest.fixture
def frozen_group() -> Iterator[Path]:
    """
    Make a group in the freezer of version 1, not frozen yet; thaw and remove it afterwards.

    In the arguments of a test it must come after `marked`, which waits for the end of all marked processes.
    """
    if os.geteuid() != 0 or not (FREEZER / "tasks").exists():
        pytest.skip("requires root and the freezer of control groups of version 1")
    group = FREEZER / f"concmem-test-{uuid.uuid4().hex}"
    group.mkdir()
    yield group
    (group / "freezer.state").write_text("THAWED")
    while (group / "tasks").read_text().split():
        continue  # a SIGKILL is pending for them
    group.rmdir()


FROZEN = """
sleep 600 &
until [ "$(cat /proc/$!/comm)" = sleep ]; do :; done
echo $! >{group}/tasks
echo FROZEN >{group}/freezer.state
until grep -q FROZEN {group}/freezer.state; do :; done
sleep 600
"""


def test_a_frozen_process(marked: Any, frozen_group: Path) -> None:
    """A limit kills the rest of the tree. The frozen process is listed, and all readings are kept."""
    m = concmem.measure(FROZEN.format(group=frozen_group), timeout_s=LIMIT_S, env=marked.env)
    assert m.exit.reason == "timeout"
    assert m.exit.signal == signal.SIGKILL
    assert m.tree_wall_s < LIMIT_S + GIVEN_UP_S
    assert len(m.timeline) > 1
    (survivor,) = m.sampler.survivors
    assert (survivor.name, survivor.reason) == ("sleep", "frozen")
    assert list(marked.alive()) == [survivor.pid]
    shown = report(m, sys.stderr)
    assert f"could not be killed: {survivor.pid} (sleep)" in shown
    assert "frozen" in shown
    again = concmem.Measurement.from_dict(json.loads(json.dumps(m.to_dict())))
    assert again.sampler.survivors == m.sampler.survivors


def test_a_frozen_root(frozen_group: Path) -> None:
    """Its exit is unknown. The measurement says why it could not be killed, and the sampler ends."""
    running = concmem.start(["/bin/sleep", "600"])
    (frozen_group / "tasks").write_text(str(running.root_pid))
    (frozen_group / "freezer.state").write_text("FROZEN")
    running.stop()
    m = running.wait()
    assert m.exit == concmem.Exit(None, None, "interrupted")
    assert [(s.pid, s.reason) for s in m.sampler.survivors] == [(running.root_pid, "frozen")]
    assert m.peak.status == "sampled"


@is_root
def test_an_own_group_that_was_frozen(marked: Any) -> None:
    """The target's own group is thawed, and all processes in it end."""
    running = concmem.start("sleep 600 & sleep 600", exact=True, cgroup=True, env=marked.env)
    line = next(text for text in Path(f"/proc/{running.root_pid}/cgroup").read_text().splitlines() if "0::" in text)
    name = line.rpartition("/")[2]
    groups = [path for path in Path("/sys/fs/cgroup").glob(f"**/{name}") if (path / "cgroup.freeze").exists()]
    if not name.startswith("concmem-") or not groups:
        running.stop()
        running.wait()
        pytest.skip("requires a mounted hierarchy of control groups of version 2")
    (groups[0] / "cgroup.freeze").write_text("1")
    while not is_frozen(running.root_pid or 0, Path("/")):
        time.sleep(0.001)
    running.stop()
    m = running.wait()
    assert m.sampler.survivors == ()
    assert m.exit.signal == signal.SIGKILL
    assert marked.alive() == {}


TRACER = """
import ctypes, sys, time
PTRACE_SEIZE = 0x4206
libc = ctypes.CDLL(None, use_errno=True)
print(libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None), ctypes.get_errno(), flush=True)
sys.stdin.read()
"""


def test_a_traced_process(marked: Any) -> None:
    """A process cannot be reaped while a tracer outside of the tree does not wait for it."""
    running = concmem.start("sleep 600 & echo $!; sleep 600", stdout=subprocess.PIPE, env=marked.env)
    marked.wait_for(4)  # the sampler, the shell and two children
    root_pid = running.root_pid
    pid = int(Path(f"/proc/{root_pid}/task/{root_pid}/children").read_text().split()[0])
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", TRACER, str(pid)], stdin=pipe, stdout=pipe, text=True) as tracer:
        assert tracer.stdout is not None
        seized = tracer.stdout.readline().split()
        if seized == ["-1", str(errno.EPERM)]:
            running.stop()
            running.wait()
            tracer.kill()
            pytest.skip("requires permission to trace another process of this user")
        assert seized[0] == "0"
        running.stop()
        m = running.wait()
        tracer.communicate()
    assert [(s.pid, s.name, s.reason) for s in m.sampler.survivors] == [(pid, "sleep", "traced")]
    assert m.exit.reason == "interrupted"


class SilentFileSystem:
    """A FUSE file system that answers only the first request."""

    def __init__(self, point: Path) -> None:
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        self.asked = threading.Event()
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"silent", os.fsencode(point), b"fuse", 0, options) != 0:
            os.close(self._fd)
            raise OSError(ctypes.get_errno(), "mount")
        self._point = point
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        unique = struct.unpack_from("<IIQ", os.read(self._fd, 1 << 17))[2]
        answer = struct.pack("<IIIIHHI36x", 7, 31, 1 << 16, 0, 12, 9, 1 << 16)  # fuse_init_out
        os.write(self._fd, struct.pack("<IiQ", 16 + len(answer), 0, unique) + answer)
        os.read(self._fd, 1 << 17)
        self.asked.set()

    def close(self) -> None:
        """Unmount, so that processes waiting for an answer get an error."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.umount2(os.fsencode(self._point), 1 | 2)  # MNT_FORCE | MNT_DETACH
        os.close(self._fd)
        self._thread.join()


@is_root
def test_a_process_that_waits_in_the_kernel(tmp_path: Path, marked: Any) -> None:
    """A process that waits for a file system without an answer ignores signals."""
    try:
        silent = SilentFileSystem(tmp_path)
    except OSError as error:
        pytest.skip(f"requires FUSE file systems: {error}")
    try:
        running = concmem.start(["/bin/cat", str(tmp_path / "file")], stderr=concmem.DEVNULL, env=marked.env)
        assert silent.asked.wait(300)
        running.stop()
        m = running.wait()
    finally:
        silent.close()
    assert [(s.name, s.reason) for s in m.sampler.survivors] == [("cat", "uninterruptible")]
    assert m.exit.code is None
    marked.wait_for(0)


WITHOUT_CAP_KILL = """
import ctypes, json, os, sys
PR_CAPBSET_DROP, CAP_KILL = 24, 5
if len(sys.argv) == 2:
    assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_KILL, 0, 0, 0) == 0
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], sys.argv[1], "again"])
import concmem
argv, null = [sys.executable, "-S", "-c", STARTS_OTHERS], concmem.DEVNULL
m = concmem.measure(argv, timeout_s=0.5, stdout=null, stderr=null)
print(json.dumps([m.exit.reason, [[s.name, s.reason] for s in m.sampler.survivors]]))
"""
STARTS_OTHERS = """
import os, time
with open("/proc/self/comm", "w") as file:
    file.write("starts-others")
os.setgroups([]); os.setgid(65534); os.setuid(65534)
while True:
    if os.fork() == 0:
        if os.fork() == 0:  # one that the sampler must reap
            time.sleep(0.02)
        os._exit(0)
    time.sleep(0.02)
    os.wait()
"""


@is_root
def test_a_process_that_is_not_permitted_to_be_killed_and_starts_others(marked: Any) -> None:
    """Processes that it starts while the tree is killed are no progress: the sampler gives up all the same."""
    code = f"STARTS_OTHERS = {STARTS_OTHERS!r}\n{WITHOUT_CAP_KILL}"
    argv = [sys.executable, "-c", code, code]
    done = subprocess.run(argv, env=marked.env, capture_output=True, text=True, timeout=GIVEN_UP_S)
    reason, survivors = json.loads(done.stdout)
    assert reason == "timeout"
    assert ["starts-others", "not_permitted"] in survivors


def own_sampler() -> int:
    """Return the PID of the only sampler of this process. A sampler that checks itself may execute itself once more."""
    while True:
        children = {
            int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
        }
        for pid in children:
            if b"concmem-sampler" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        time.sleep(0.001)


def test_a_stopped_sampler_can_be_told_to_kill_the_tree(marked: Any) -> None:
    """Its target could stop it."""
    running = concmem.start(["/bin/sleep", "600"], env=marked.env)
    os.kill(own_sampler(), signal.SIGSTOP)
    running.stop()
    assert running.wait().exit.reason == "interrupted"
    assert marked.alive() == {}


def test_a_stopped_sampler_kills_the_tree_when_its_host_is_killed(marked: Any) -> None:
    """The kernel lets it go on at the end of its host."""
    code = "import concmem; r = concmem.start(['/bin/sleep', '600']); print(r.root_pid, flush=True); r.wait()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=marked.env) as host:
        assert host.stdout is not None
        root = int(host.stdout.readline())
        sampler = int(Path(f"/proc/{root}/stat").read_text().rpartition(") ")[2].split()[1])
        os.kill(sampler, signal.SIGSTOP)
        host.kill()
    marked.wait_for(0)


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_stopped_witness_does_not_delay_the_end(marked: Any, is_killed: bool) -> None:
    """`concmem run` ends although its witness is stopped, and the witness ends with it."""
    argv = [sys.executable, "-m", "concmem", "run", "-q", "--", "sh", "-c", "echo; read line; exit 7"]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, env=marked.env) as command:
        assert command.stdout is not None
        command.stdout.readline()
        children = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()
        (witness,) = (int(pid) for pid in children if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"witness\0"))
        os.kill(witness, signal.SIGSTOP)
        if is_killed:
            command.kill()
        command.communicate(b"\n", timeout=GIVEN_UP_S)
    assert command.returncode == (-signal.SIGKILL if is_killed else 7)
    deadline = time.monotonic() + GIVEN_UP_S
    while Path(f"/proc/{witness}/stat").exists() and " T " in Path(f"/proc/{witness}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_reasons(tmp_path: Path) -> None:
    """Each reason comes from /proc and the groups. A process with the same PID but another start is not examined."""
    own = os.getpid()
    (tmp_path / f"proc/{own}").mkdir(parents=True)
    (tmp_path / "proc/self").mkdir()
    mounts = "30 1 0:1 / /v1 rw - cgroup cgroup rw,freezer\n31 1 0:2 / /v2 rw - cgroup2 none rw\n"
    (tmp_path / "proc/self/mountinfo").write_text(mounts)
    states = (("v1/g", "freezer.state", "FREEZING\n"), ("v2/g", "cgroup.events", "populated 1\nfrozen 1\n"))
    for group, file, state in states:
        (tmp_path / group).mkdir(parents=True)
        (tmp_path / group / file).write_text(state)
    (tmp_path / "v1/other").mkdir()

    def reason(state: str, tracer: int = 0, cgroup: str = "", start: int = 77) -> str:
        fields = [state, *("0" for _ in range(18)), "77", *("0" for _ in range(20))]
        (tmp_path / f"proc/{own}/stat").write_text(f"{own} (a) b) {' '.join(fields)}\n")
        (tmp_path / f"proc/{own}/status").write_text(f"Name:\ta\nTracerPid:\t{tracer}\n")
        (tmp_path / f"proc/{own}/cgroup").write_text(cgroup)
        (survivor,) = find_survivors([(own, "a", start)], 1, tmp_path)
        return survivor.reason

    assert reason("D") == "uninterruptible"
    assert reason("Z", tracer=5) == "traced"
    assert reason("D", cgroup="6:freezer:/g\n0::/\n") == "frozen"
    assert reason("S", cgroup="6:cpu,freezer:/other\n0::/g\n") == "frozen"
    assert reason("D", cgroup="6:freezer:/other\n0::/\n") == "uninterruptible"
    assert reason("R") == "unknown"
    assert reason("D", start=78) == "unknown"
    assert find_survivors([], 2, tmp_path) == (Survivor(0, "", "unknown"),) * 2


def test_remaining_processes_as_text(measured: concmem.Measurement) -> None:
    """The headline says how many still run. Lines below list at most eight with the reasons; names are escaped."""
    some = (Survivor(7, "a\x1b[1m", "traced"), Survivor(0, "", "unknown"))
    left = attrs.evolve(measured, left_running=tuple(LeftProcess(pid, "sh") for pid in range(1, 11)))
    assert "It left 10 processes running." in headline(left)
    (line,) = remaining(left)
    assert line.startswith("left running: 1 (sh), 2 (sh)")
    assert line.endswith("8 (sh) and 2 more")
    killed = attrs.evolve(measured, sampler=attrs.evolve(measured.sampler, survivors=some))
    assert headline(killed).endswith("2 processes could not be killed.")
    assert remaining(killed) == [
        f"could not be killed: 7 (a\\x1b[1m): {some[0].sentence}",
        f"could not be killed: PID unknown (name unknown): {some[1].sentence}",
    ]
    assert all(line in str(killed) for line in remaining(killed))
    many = attrs.evolve(measured, sampler=attrs.evolve(measured.sampler, survivors=some[:1] * 20))
    assert remaining(many)[-1] == "could not be killed: 12 more"
    assert (remaining(measured), "processes" in headline(measured)) == ([], False)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_stored_count_is_read(measured: concmem.Measurement, count: int) -> None:
    """Up to schema 2 only the number of survivors was stored."""
    stored = measured.to_dict()
    old = {**stored, "schema": 2, "sampler": {**stored["sampler"], "survivors": count}}
    assert concmem.Measurement.from_dict(old).sampler.survivors == (Survivor(0, "", "unknown"),) * count


@pytest.mark.parametrize("wrong", [-1, 1 << 40, True, None, "two", [5], [{"pid": 1, "name": "a", "reason": "tired"}]])
def test_invalid_survivors(measured: concmem.Measurement, wrong: Any) -> None:
    """A stored value that is neither a valid count nor a list of processes is refused."""
    stored = measured.to_dict()
    with pytest.raises(errors.RecordingError):
        concmem.Measurement.from_dict({**stored, "sampler": {**stored["sampler"], "survivors": wrong}})
