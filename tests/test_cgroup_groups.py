from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from concmem._cgroup import groups as _cgroup
from concmem._cgroup import sweep as _cgroup_sweep
from concmem.testing import known

MIB = 1 << 20

pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("no_systemd")]
"""Every measurement with its own group removes those of dead hosts."""

NAME = re.compile(rf"concmem-{os.getpid()}-(\d+)-(\d+)-(\d+)")


def folder(fd: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{fd}"))


def inside(fds: tuple[int, ...], *argv: str, **kwargs: Any) -> subprocess.Popen[bytes]:
    """Start a command that enters groups before its exec, as the sampler's child does for version 1."""
    enter = "".join(f"echo 0 >/proc/self/fd/{fd}/cgroup.procs && " for fd in fds)
    return subprocess.Popen(["/bin/sh", "-c", f'{enter}exec "$@"', "sh", *argv], pass_fds=fds, **kwargs)


def lives_in(group: Path) -> list[str]:
    return (group / "cgroup.procs").read_text().split()


def wait_until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


@pytest.fixture
def counting() -> Iterator[_cgroup.Groups]:
    """Make groups on this machine with a memory controller."""
    groups = _cgroup.make_groups(memory=True, selector=True)
    yield groups
    groups.close()


@pytest.fixture
def real_memory(counting: _cgroup.Groups) -> _cgroup.Groups:
    if counting.memory_fd < 0:
        pytest.skip(f"no group with a memory controller: {counting.why_not or 'only through systemd-run'}")
    return counting


@pytest.fixture
def real_selector(counting: _cgroup.Groups) -> _cgroup.Groups:
    if counting.selector_fd < 0:
        pytest.skip(f"no group of version 2: {counting.selector_why_not or 'only through systemd-run'}")
    return counting


def peak(groups: _cgroup.Groups) -> int:
    name = {1: "memory.max_usage_in_bytes", 2: "memory.peak"}[groups.memory_version]
    return int((folder(groups.memory_fd) / name).read_text())


def test_a_group_counts_its_processes(real_memory: _cgroup.Groups) -> None:
    """50 MiB touched in the group are 50 MiB in its charge, which is almost 0 before."""
    assert peak(real_memory) < MIB
    assert inside((real_memory.memory_fd,), *known("hold", 50 * MIB, 1, 0), stdout=subprocess.DEVNULL).wait() == 0
    assert 50 * MIB <= peak(real_memory) <= 53 * MIB


def test_a_selector_holds_the_tree(real_selector: _cgroup.Groups) -> None:
    """The selector contains the started process and its children, and no other process."""
    child = inside((real_selector.selector_fd,), "/bin/sh", "-c", "sleep 600 & wait", start_new_session=True)
    try:
        wait_until(lambda: len(lives_in(folder(real_selector.selector_fd))) == 2)
        assert str(child.pid) in lives_in(folder(real_selector.selector_fd))
        name = folder(real_selector.selector_fd).name
        assert re.search(rf"^0::.*/{name}$", Path(f"/proc/{child.pid}/cgroup").read_text(), re.M)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def test_close_removes_all(real_memory: _cgroup.Groups) -> None:
    """No group is left, not even those that the target made inside. A second close does nothing."""
    fds = {fd for fd in (real_memory.memory_fd, real_memory.selector_fd) if fd >= 0}
    made = [folder(fd) for fd in fds]
    (made[0] / "of the target" / "deeper").mkdir(parents=True)
    real_memory.close()
    real_memory.close()
    assert not [group for group in made if group.exists()]
    assert (real_memory.memory_fd, real_memory.selector_fd) == (-1, -1)
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_the_descriptors_may_be_closed_already(real_memory: _cgroup.Groups) -> None:
    """The group is removed even if the host has closed all descriptors."""
    made = folder(real_memory.memory_fd)
    os.close(real_memory.memory_fd)
    real_memory.close()
    assert not made.exists()


def test_names(real_memory: _cgroup.Groups) -> None:
    """A name contains the maker's PID and start, its PID namespace, and a serial number."""
    match = NAME.fullmatch(folder(real_memory.memory_fd).name)
    assert match
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    assert match[1] == stat[19]
    assert match[2] == str(os.stat("/proc/self/ns/pid").st_ino)


def test_threads_have_separate_groups(real_memory: _cgroup.Groups) -> None:
    """Eight threads at once never get the same group, and leave none."""
    found: list[Path] = []

    def work() -> None:
        for _ in range(20):
            groups = _cgroup.make_groups(memory=True, selector=False)
            found.append(folder(groups.memory_fd))
            groups.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 160
    assert not [group for group in found if group.exists()]


def test_close_waits_a_moment(real_memory: _cgroup.Groups, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing waits for processes that end a moment later. The time allowed here suits a busy machine."""
    monkeypatch.setattr(_cgroup_sweep.remove, "__defaults__", (60.0,))
    made = folder(real_memory.memory_fd)
    child = inside((real_memory.memory_fd,), "/bin/sleep", "0.05")
    wait_until(lambda: bool(lives_in(made)))
    real_memory.close()
    assert not made.exists()
    child.wait()


def test_a_busy_group_is_left_and_removed_later(real_memory: _cgroup.Groups) -> None:
    """Processes that still run are not killed. The next measurement after their end removes the group."""
    made = folder(real_memory.memory_fd)
    child = inside((real_memory.memory_fd,), "/bin/sleep", "600")
    wait_until(lambda: bool(lives_in(made)))
    started_s = time.monotonic()
    real_memory.close()
    assert time.monotonic() - started_s < 60
    _cgroup.make_groups(memory=True, selector=False).close()
    assert made.exists()
    assert child.poll() is None
    child.kill()
    child.wait()
    _cgroup.make_groups(memory=True, selector=False).close()
    assert not made.exists()


HOST = """
import json, os, subprocess, sys
from concmem._cgroup import groups as _cgroup
groups = _cgroup.make_groups(memory=True, selector=True)
fds = tuple({fd for fd in (groups.memory_fd, groups.selector_fd) if fd >= 0})
made = [os.readlink(f"/proc/self/fd/{fd}") for fd in fds]
os.mkdir(made[0] + "/nested")
enter = "".join(f"echo 0 >/proc/self/fd/{fd}/cgroup.procs && " for fd in fds)
deeper = enter + f"echo 0 >{made[0]}/nested/cgroup.procs && exec sleep 600"
for script in (enter + "exec sleep 600", deeper):
    subprocess.Popen(["setsid", "sh", "-c", script], pass_fds=fds, stdout=subprocess.DEVNULL)
print(json.dumps(made), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other_host(real_memory: _cgroup.Groups, marked: Any) -> Iterator[tuple[subprocess.Popen[str], list[Path]]]:
    """Start another host with groups: two processes run in them, one in a nested group."""
    host = subprocess.Popen(
        [sys.executable, "-c", HOST], env=marked.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert host.stdin and host.stdout
    made = [Path(name) for name in json.loads(host.stdout.readline())]
    wait_until(lambda: len(lives_in(made[0])) == 1 and len(lives_in(made[0] / "nested")) == 1)
    with host:
        yield host, made
        host.kill()
    _cgroup.make_groups(memory=True, selector=True).close()


def test_a_killed_host_is_swept(other_host: tuple[subprocess.Popen[str], list[Path]], marked: Any) -> None:
    """The next measurement removes the groups of a killed host, and kills the processes in them."""
    host, made = other_host
    host.kill()
    host.wait()
    marked.wait_for(2)
    _cgroup.make_groups(memory=True, selector=True).close()
    assert not [group for group in made if group.exists()]
    marked.wait_for(0)


def test_a_running_host_is_not_swept(other_host: tuple[subprocess.Popen[str], list[Path]], marked: Any) -> None:
    """Groups and processes of a running host are not touched. Those of a zombie host are removed."""
    host, made = other_host
    _cgroup.make_groups(memory=True, selector=True).close()
    assert all(group.exists() for group in made)
    assert len(marked.alive()) == 3
    host.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, host.pid, os.WEXITED | os.WNOWAIT)
    _cgroup.make_groups(memory=True, selector=True).close()
    assert not any(group.exists() for group in made)
    marked.wait_for(0)


def test_many_sweep_at_once(other_host: tuple[subprocess.Popen[str], list[Path]], marked: Any) -> None:
    """Several hosts can sweep the same groups at once."""
    host, made = other_host
    host.kill()
    host.wait()
    failed: list[str] = []

    def work() -> None:
        groups = _cgroup.make_groups(memory=True, selector=True)
        failed.extend(filter(None, (groups.why_not, groups.selector_why_not)))
        groups.close()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert not [group for group in made if group.exists()]
    marked.wait_for(0)


def test_a_forked_child_removes_nothing_of_its_parent(real_memory: _cgroup.Groups, host_python: Any) -> None:
    """`close` and sweeps in a forked child leave its parent's groups, which the parent can still remove."""
    script = (
        "import json, os\n"
        "from concmem._cgroup import groups as _cgroup\n"
        "groups = _cgroup.make_groups(memory=True, selector=True)\n"
        "made = os.readlink(f'/proc/self/fd/{groups.memory_fd}')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    groups.close()\n"
        "    own = _cgroup.make_groups(memory=True, selector=True)\n"
        "    ok = f'-{os.getpid()}-' in os.readlink(f'/proc/self/fd/{own.memory_fd}')\n"
        "    own.close()\n"
        "    os._exit(not ok)\n"
        "code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "there = os.path.exists(made)\n"
        "groups.close()\n"
        "print(json.dumps([code, there, os.path.exists(made)]))\n"
    )
    assert host_python(script) == [0, True, False]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_without_permission(real_memory: _cgroup.Groups, host_python: Any) -> None:
    """The sentence says where a group may not be made, and which user may make it."""
    script = (
        "import json, os\n"
        "from concmem._cgroup import groups as _cgroup\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "groups = _cgroup.make_groups(memory=True, selector=True)\n"
        "print(json.dumps([groups.memory_version, groups.why_not, groups.selector_fd, groups.selector_why_not]))\n"
    )
    version, why_not, fd, selector_why_not = host_python(script)
    assert (version, fd) == (0, -1)
    for why in (why_not, selector_why_not):
        assert re.fullmatch(r"this user may not make a control group in /\S+: root may", why)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_read_only_mount(real_memory: _cgroup.Groups, host_python: Any) -> None:
    """As in most containers: the sentence says so, and how to start the container instead."""
    mount = next(p for p in folder(real_memory.memory_fd).parents if os.path.ismount(p))
    script = (
        "import ctypes, json, subprocess, sys\n"
        "from concmem._cgroup import groups as _cgroup\n"
        "if ctypes.CDLL(None).unshare(0x20000) != 0:\n"  # CLONE_NEWNS
        "    print('null')\n"
        "    sys.exit()\n"
        "subprocess.run(['mount', '--make-private', sys.argv[1]], check=True)\n"  # / need not be a mount point
        "subprocess.run(['mount', '-o', 'remount,bind,ro', sys.argv[1]], check=True)\n"
        "print(json.dumps(_cgroup.probe()))\n"
    )
    result = host_python(script, mount)
    if result is None:
        pytest.skip("the container does not permit a mount namespace")
    usable, why_not = result
    assert not usable
    assert re.fullmatch(r"the control groups at \S+ are read-only: `docker run .*` gives .* host", why_not)


def test_a_detached_mount(tmp_path: Path) -> None:
    """If version 2 is not mounted, root gets a selector through a mount that is in no mount table."""
    proc = tmp_path / f"proc/{os.getpid()}"
    proc.mkdir(parents=True)
    for name in ("stat", "ns"):
        (proc / name).symlink_to(f"/proc/self/{name}")
    (proc / "cgroup").write_text("4:memory:/\n")
    (proc / "mountinfo").write_text("")
    (tmp_path / "proc/self").symlink_to(str(os.getpid()))
    before = Path("/proc/self/mountinfo").read_text()
    groups = _cgroup.make_groups(memory=False, selector=True, root=tmp_path)
    if groups.selector_fd < 0:
        pytest.skip(groups.selector_why_not)
    gc.collect()  # so that descriptors of earlier tests are not closed between the two counts
    descriptors = set(os.listdir("/proc/self/fd"))
    try:
        assert Path("/proc/self/mountinfo").read_text() == before
        name = groups._groups[0].path.name
        child = inside((groups.selector_fd,), "/bin/sleep", "600")
        own_cgroup = Path(f"/proc/{child.pid}/cgroup")
        wait_until(lambda: f"/{name}\n" in own_cgroup.read_text())
        child.kill()
        child.wait()
    finally:
        groups.close()
    assert len(descriptors) - len(os.listdir("/proc/self/fd")) == 2  # the group and the mount
    again = _cgroup.make_groups(memory=False, selector=True, root=tmp_path)
    assert name not in os.listdir(again._groups[0].path.parent)
    again.close()
