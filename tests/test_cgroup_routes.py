from __future__ import annotations

import errno
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import attrs
import pytest

from concmem._cgroup import groups as _cgroup
from concmem._cgroup import routes as _cgroup_routes
from concmem._cgroup import sweep as _cgroup_sweep
from concmem._native.resources import GroupFolder
from concmem.errors import UnsupportedPlatform

pytestmark = pytest.mark.usefixtures("no_systemd")

NAME = re.compile(rf"concmem-{os.getpid()}-(\d+)-(\d+)-(\d+)")


def folder(fd: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{fd}"))


@attrs.define
class Machine:
    """A folder with the kernel files of another machine. Its control groups behave like the kernel's."""

    root: Path
    denied: dict[Path, int] = attrs.Factory(dict)
    """Groups in which no group can be made, each with the error."""
    has_peak: bool = True
    limits: dict[str, int] = attrs.Factory(dict)
    """Files for a limit that cannot be written, each with the error."""

    @property
    def cgroups(self) -> Path:
        """The folder where control groups are mounted."""
        return self.root / "sys/fs/cgroup"

    def begin(self, own: str, mountinfo: str) -> None:
        """Set this process's own group and its mounts."""
        proc = self.root / f"proc/{os.getpid()}"
        (proc / "ns").mkdir(parents=True, exist_ok=True)
        (proc / "ns/pid").touch()
        (proc / "stat").write_text(Path("/proc/self/stat").read_text())
        (proc / "cgroup").write_text(own)
        (proc / "mountinfo").write_text(mountinfo)
        if not (self.root / "proc/self").is_symlink():
            (self.root / "proc/self").symlink_to(str(os.getpid()))

    def group(self, path: str, enabled: str = "", processes: str = "", **files: str) -> Path:
        """Make a control group of version 2 and its missing ancestors; `files` have _ instead of a dot."""
        group = self.cgroups / path
        if not (group / "cgroup.procs").exists():
            group.mkdir(parents=True, exist_ok=True)
            self.fill(group)
        (group / "cgroup.subtree_control").write_text(enabled)
        (group / "cgroup.procs").write_text(processes)
        for name, text in files.items():
            (group / name.replace("_", ".", 1)).write_text(text)
        return group

    def fill(self, group: Path) -> None:
        """Write the files that the kernel creates in a new group."""
        for name in ("procs", "subtree_control", "kill"):
            (group / f"cgroup.{name}").write_text("")
        above = group.parent / "cgroup.subtree_control"
        controllers = above.read_text() if above.exists() else "cpu memory"
        (group / "cgroup.controllers").write_text(controllers)
        if "memory" in controllers and above.exists():
            (group / "memory.max").write_text("max\n")
            if self.has_peak:
                (group / "memory.peak").write_text("0\n")

    def check(self, group: Path) -> None:
        """Fail in groups in which no group can be made."""
        if code := self.denied.get(group):
            raise OSError(code, os.strerror(code))

    def write(self, file: Path, what: bytes) -> None:
        """Write a limit, or +memory with the errors of kernel/cgroup/cgroup.c."""
        if file.name in self.limits:
            raise OSError(self.limits[file.name], os.strerror(self.limits[file.name]))
        if file.name in ("memory.max", "memory.limit_in_bytes"):
            file.write_bytes(what)
            return
        self.check(file.parent)
        assert (file.name, what) == ("cgroup.subtree_control", b"+memory")
        if "memory" not in (file.parent / "cgroup.controllers").read_text():
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        if (file.parent / "cgroup.procs").read_text() and file.parent != self.cgroups:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        file.write_text("memory")


V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with version 2 at the usual place. By default, this process is in a delegated scope."""
    machine = Machine(tmp_path)
    mkdir, rmdir = os.mkdir, os.rmdir

    def make(path: Any, *args: Any, **kwargs: Any) -> None:
        if "concmem-" not in Path(path).name:
            return mkdir(path, *args, **kwargs)
        machine.check(Path(path).parent)
        mkdir(path, *args, **kwargs)
        machine.fill(Path(path))

    def remove(path: Any, **kwargs: Any) -> None:
        group = Path(path)
        if (group / "cgroup.procs").exists():
            if (group / "cgroup.procs").read_text() or [entry for entry in group.iterdir() if entry.is_dir()]:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            for entry in group.iterdir():
                entry.unlink()
        rmdir(path, **kwargs)

    monkeypatch.setattr(os, "mkdir", make)
    monkeypatch.setattr(os, "rmdir", remove)
    monkeypatch.setattr(_cgroup_routes, "_write", machine.write)
    machine.begin("0::/user.slice/app.slice/run-1.scope\n", V2)
    machine.group("", "cpu memory")
    machine.group("user.slice", "memory")
    machine.group("user.slice/app.slice", "memory")
    machine.group("user.slice/app.slice/run-1.scope", "", "1 2 3")
    return machine


@pytest.fixture
def systemd(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> str:
    """A systemd user manager: its socket, and systemd-run."""
    program = machine.root / "bin/systemd-run"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (machine.root / "run/user/1/systemd").mkdir(parents=True)
    (machine.root / "run/user/1/systemd/private").touch()
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    return str(program)


def made_in(machine: Machine, **kwargs: Any) -> str:
    """Return the group below which a memory group is made; it is removed again."""
    groups = _cgroup.make_groups(memory=True, selector=True, root=machine.root, **kwargs)
    assert groups.why_not == groups.selector_why_not == ""
    assert groups.memory_version == 2
    assert groups.selector_fd == groups.memory_fd >= 0
    made = folder(groups.memory_fd)
    assert NAME.fullmatch(made.name)
    groups.close()
    assert not made.exists()
    return str(made.parent.relative_to(machine.root / "sys/fs/cgroup"))


def why_not(machine: Machine) -> str:
    usable, why = _cgroup.probe(root=machine.root)
    assert not usable
    assert "\n" not in why
    assert not list(machine.root.glob("sys/fs/cgroup/**/concmem-*"))
    return why.replace(str(machine.cgroups), "CGROUPS")


def test_a_group_beside_the_own_one(machine: Machine) -> None:
    """The own group contains processes (EBUSY) and its parent enables memory: the group is made in the parent."""
    assert made_in(machine) == "user.slice/app.slice"
    assert _cgroup.probe(root=machine.root) == (True, "")


def test_memory_is_enabled_where_it_can_be(machine: Machine) -> None:
    """If the parent has the controller but does not enable it for its children, it is enabled."""
    above = machine.group("user.slice/app.slice", "")
    assert made_in(machine) == "user.slice/app.slice"
    assert (above / "cgroup.subtree_control").read_text() == "memory"


def test_an_ancestor_if_the_parent_has_no_controller(machine: Machine) -> None:
    """If the parent has no memory controller itself (ENOENT), its own parent is used."""
    machine.group("user.slice/app.slice", "", cgroup_controllers="cpu")
    assert made_in(machine) == "user.slice"


def test_in_the_root_group(machine: Machine) -> None:
    """The root group may contain processes and enable controllers."""
    machine.begin("0::/\n", V2)
    machine.group("", "", "1 2")
    assert made_in(machine) == "."


def test_a_part_of_the_tree_is_mounted(machine: Machine) -> None:
    """A container's bind mount: the own path begins with the group that is mounted."""
    machine.begin("0::/docker/abc/inner\n", V2.replace(" / /sys", " /docker/abc /sys"))
    machine.group("inner", "", "1")
    assert made_in(machine) == "."


@pytest.mark.parametrize("own", ["/docker/abc", "/../../other", "/user.slice (deleted)"])
def test_the_own_path_is_not_visible(own: str, machine: Machine) -> None:
    """With a path of another namespace, the top of the mount is used, and no group outside of it."""
    machine.group("../../other", "memory")
    machine.begin(f"0::{own}\n", V2)
    assert made_in(machine) == "."


def test_mount_points_are_searched(machine: Machine) -> None:
    """At any path, even with a space. A mount with the own group, or a writable one, is preferred."""
    elsewhere = machine.root / "mnt/a b"
    elsewhere.parent.mkdir()
    machine.cgroups.rename(elsewhere)
    mount = V2.replace("/sys/fs/cgroup", "/mnt/a\\040b")
    read_only = V2.replace("/sys/fs/cgroup rw", "/mnt/ro ro")
    (machine.root / "mnt/ro").symlink_to(elsewhere)
    machine.begin("0::/user.slice/app.slice/run-1.scope\n", V2 + read_only + mount)
    groups = _cgroup.make_groups(memory=True, selector=False, root=machine.root)
    assert folder(groups.memory_fd).parent == elsewhere / "user.slice/app.slice"
    assert groups._groups[0].path.parent == elsewhere / "user.slice/app.slice"
    groups.close()


def test_a_mount_that_moves_is_found_again(machine: Machine) -> None:
    """If a cached mount does not exist any more, the mounts are read again."""
    assert made_in(machine) == "user.slice/app.slice"
    machine.cgroups.rename(machine.root / "new")
    machine.begin("0::/user.slice/app.slice/run-1.scope\n", V2.replace("/sys/fs/cgroup", "/new"))
    groups = _cgroup.make_groups(memory=True, selector=False, root=machine.root)
    assert folder(groups.memory_fd).parent == machine.root / "new/user.slice/app.slice"
    groups.close()


def test_moving_to_another_group_is_noticed(machine: Machine) -> None:
    """The own group is never cached."""
    assert made_in(machine) == "user.slice/app.slice"
    machine.group("user.slice/other", "memory")
    machine.group("user.slice/other/run-2.scope", "", "4")
    machine.begin("0::/user.slice/other/run-2.scope\n", V2)
    assert made_in(machine) == "user.slice/other"


def test_nothing_is_made_without_a_request(machine: Machine) -> None:
    """Without a request for memory or a selector, no group is made."""
    groups = _cgroup.make_groups(memory=False, selector=False, root=machine.root)
    assert (groups.memory_fd, groups.selector_fd, groups.memory_version, groups._groups) == (-1, -1, 0, [])
    assert "not requested" in groups.why_not and "not requested" in groups.selector_why_not


def test_without_memory_peak(machine: Machine, systemd: str) -> None:
    """With an older kernel there is no group. No other file replaces memory.peak, and systemd is not tried."""
    machine.has_peak = False
    assert why_not(machine) == "this kernel has no memory.peak (5.19 or later)"


def test_never_outside_of_a_limit(machine: Machine, systemd: str) -> None:
    """A target must not bypass the memory limit of the group of concmem, not even through systemd."""
    machine.group("user.slice/app.slice/run-1.scope", "", "1", memory_max="1073741824\n")
    assert why_not(machine) == (
        "CGROUPS/user.slice/app.slice/run-1.scope limits memory, "
        "and a control group outside of it would bypass the limit"
    )


def test_a_selector_below_a_limit(machine: Machine) -> None:
    """A selector needs no controller, so it is made below the own group and its limits."""
    own = machine.group("user.slice/app.slice/run-1.scope", "", "1", memory_max="1073741824\n")
    groups = _cgroup.make_groups(memory=True, selector=True, root=machine.root)
    assert groups.memory_fd == -1
    assert folder(groups.selector_fd).parent == own
    groups.close()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM])
def test_not_permitted(code: int, machine: Machine, systemd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is one that this user can apply: systemd, root, or other options of the container."""
    machine.denied[machine.cgroups / "user.slice/app.slice/run-1.scope"] = code
    refusal = "this user may not make a control group in CGROUPS/user.slice/app.slice/run-1.scope: "
    groups = _cgroup.make_groups(memory=True, selector=False, root=machine.root, systemd_run=False)
    assert groups.why_not.endswith(": `systemd-run --user --scope -p Delegate=yes -- concmem ...` may")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert why_not(machine) == f"{refusal}root may"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert why_not(machine) == f"{refusal}`docker run --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:rw ...` may"


def test_moving_is_not_permitted(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that cannot be entered is not made. Entering requires write permission in the common ancestor."""
    above = machine.cgroups / "user.slice/app.slice"

    def check(parent: Path) -> None:
        if parent == above:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(_cgroup_routes, "_check_moving", check)
    assert "run-1.scope contains processes" in why_not(machine)


def test_read_only(machine: Machine) -> None:
    """Control groups are read-only in a container."""
    machine.denied[machine.cgroups / "user.slice/app.slice/run-1.scope"] = errno.EROFS
    assert why_not(machine).startswith(
        "the control groups at CGROUPS/user.slice/app.slice/run-1.scope are read-only: `docker run --cgroupns=host"
    )


def test_other_refusals(machine: Machine) -> None:
    """Other errors of the kernel are passed on, here that there are too many groups."""
    machine.denied[machine.cgroups / "user.slice/app.slice"] = errno.EAGAIN
    machine.begin("0::/user.slice/app.slice\n", V2)
    assert why_not(machine) == (
        "no control group can be made in CGROUPS/user.slice/app.slice: Resource temporarily unavailable"
    )


def test_all_processes_in_the_top_group_of_a_container(machine: Machine) -> None:
    """No place for a group: the sentence has the command that moves the processes."""
    machine.begin("0::/\n", V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/user.slice"))
    machine.group("user.slice", "", "1 2")
    group = "CGROUPS/user.slice"
    assert why_not(machine) == (
        f"{group} contains processes, so that groups below it cannot count memory: `mkdir {group}/all; "
        f"for p in $(cat {group}/cgroup.procs); do echo $p >{group}/all/cgroup.procs; done` moves them into a group"
    )


def test_memory_is_not_enabled(machine: Machine) -> None:
    """No ancestor enables the controller for its children."""
    for path in ("user.slice", "user.slice/app.slice", "user.slice/app.slice/run-1.scope"):
        machine.group(path, "", cgroup_controllers="cpu")
    machine.denied[machine.cgroups] = errno.EACCES
    assert why_not(machine) == (
        "control groups below CGROUPS/user.slice/app.slice/run-1.scope do not count memory: "
        "its parent groups do not enable the controller"
    )


def test_no_memory_controller(machine: Machine, systemd: str) -> None:
    """The kernel does not have it, or version 1 has it. systemd is not tried."""
    machine.group("", "cpu", cgroup_controllers="cpu")
    assert why_not(machine) == (
        "the control groups at CGROUPS have no memory controller: booting with cgroup_enable=memory may help"
    )


@pytest.mark.parametrize("mountinfo", ["", V1.replace("rw,memory", "rw,cpu"), V1.replace("cgroup cgroup", "tmpfs x")])
def test_nothing_is_mounted(mountinfo: str, machine: Machine) -> None:
    """A chroot, or version 1 without the memory controller."""
    machine.begin("0::/\n", mountinfo)
    assert why_not(machine) == (
        "no control group with a memory controller is mounted: as root, run `mount -t cgroup2 none /sys/fs/cgroup`"
    )


def test_without_proc(tmp_path: Path) -> None:
    """Without /proc there is a sentence and no exception."""
    usable, why = _cgroup.probe(root=tmp_path)
    assert not usable and why.startswith("no control group with a memory controller is mounted")


def test_version_1(machine: Machine) -> None:
    """The memory group is below the own group in version 1, the selector below that in version 2."""
    machine.begin("4:cpu,memory:/a\n1:name=systemd:/x\n0::/user.slice\n", V1 + V2)
    (machine.cgroups / "memory/a").mkdir(parents=True)
    groups = _cgroup.make_groups(memory=True, selector=True, root=machine.root)
    assert groups.memory_version == 1
    assert folder(groups.memory_fd).parent == machine.cgroups / "memory/a"
    assert folder(groups.selector_fd).parent == machine.cgroups / "user.slice"
    groups.close()
    assert not list(machine.cgroups.glob("**/concmem-*"))
    machine.denied[machine.cgroups / "memory/a"] = errno.EROFS
    assert "memory/a are read-only" in why_not(machine)


@pytest.mark.parametrize("version", [1, 2])
def test_a_limit(version: int, machine: Machine) -> None:
    """The group that counts memory has it, in the file of its version. No other group is limited."""
    file = {1: "memory.limit_in_bytes", 2: "memory.max"}[version]
    if version == 1:
        machine.begin("4:memory:/a\n0::/user.slice\n", V1 + V2)
        (machine.cgroups / "memory/a").mkdir(parents=True)
    groups = _cgroup.make_groups(memory=True, selector=True, root=machine.root, limit_bytes=50 << 20)
    assert groups.memory_version == version
    made = folder(groups.memory_fd)
    assert (made / file).read_text() == str(50 << 20)
    assert [path for path in machine.cgroups.rglob(file) if path.read_text() == str(50 << 20)] == [made / file]
    groups.close()


@pytest.mark.parametrize("how", ["no group", "read-only file"])
def test_a_limit_that_cannot_be_set(how: str, machine: Machine) -> None:
    """It is an error with one sentence, and no group is left."""
    if how == "no group":
        machine.denied[machine.cgroups / "user.slice/app.slice/run-1.scope"] = errno.EROFS
    else:
        machine.limits["memory.max"] = errno.EACCES
    with pytest.raises(UnsupportedPlatform, match=r"^the command cannot be limited to 50\.0 MiB: ") as raised:
        _cgroup.make_groups(memory=True, selector=True, root=machine.root, limit_bytes=50 << 20)
    assert ("are read-only" if how == "no group" else "Permission denied") in str(raised.value)
    assert not list(machine.cgroups.rglob("concmem-*"))


def test_the_sampler_sets_the_limit_of_a_group_that_it_makes(machine: Machine, systemd: str) -> None:
    """With systemd the group does not exist yet, so nothing is written and nothing fails."""
    machine.denied[machine.cgroups / "user.slice/app.slice/run-1.scope"] = errno.EACCES
    groups = _cgroup.make_groups(memory=True, selector=False, root=machine.root, limit_bytes=50 << 20)
    assert groups.is_delegated
    groups.close()


def test_a_selector_that_cannot_be_made(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its own sentence, about the existing mount if no detached mount can be made."""
    monkeypatch.setattr(GroupFolder, "open_detached_mount", refuse)
    machine.denied[machine.cgroups / "user.slice/app.slice/run-1.scope"] = errno.EROFS
    groups = _cgroup.make_groups(memory=False, selector=True, root=machine.root)
    assert groups.selector_fd == -1
    assert "are read-only" in groups.selector_why_not


def test_systemd(machine: Machine, systemd: str) -> None:
    """If only the user's systemd may make groups, it starts the sampler, which makes the group itself."""
    machine.denied[machine.cgroups / "user.slice/app.slice/run-1.scope"] = errno.EACCES
    groups = _cgroup.make_groups(memory=True, selector=True, root=machine.root)
    assert groups.prefix == tuple(
        map(os.fsencode, (systemd, "--user", "--scope", "-q", "-p", "Delegate=yes", "--"))
    )  # fmt: skip
    assert groups.is_delegated
    assert groups.memory_version == 2
    assert folder(groups.memory_fd) == folder(groups.selector_fd) == machine.cgroups
    assert groups.why_not == groups.selector_why_not == ""
    groups.close()
    assert _cgroup.probe(root=machine.root) == (True, "")


def test_systemd_is_used_only_if_required(machine: Machine, systemd: str) -> None:
    """A scope of systemd takes time, so it is not used if this process can make a group."""
    assert made_in(machine) == "user.slice/app.slice"


@pytest.mark.parametrize("limited", ["user-{}.slice", "user-{}.slice/session-1.scope"])
def test_systemd_and_limits(limited: str, machine: Machine, systemd: str) -> None:
    """A limit on the user's slice also limits the scope; a limit on the session would be bypassed."""
    slice_, session = (f"user-{os.getuid()}.slice{end}" for end in ("", "/session-1.scope"))
    limited = limited.format(os.getuid())
    machine.group(slice_, "memory")
    machine.group(session, "", "1")
    machine.group(limited, memory_max="1000000\n")
    machine.begin(f"0::/{session}\n", V2)
    machine.denied[machine.cgroups / session] = errno.EACCES
    groups = _cgroup.make_groups(memory=True, selector=False, root=machine.root)
    assert groups.is_delegated is (limited == slice_)


@pytest.mark.parametrize("missing", ["socket", "program", "variable"])
def test_no_systemd(missing: str, machine: Machine, systemd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It requires the socket, systemd-run, and the variable with the folder of the socket."""
    if missing == "socket":
        (machine.root / "run/user/1/systemd/private").unlink()
    elif missing == "program":
        os.unlink(systemd)
    else:
        monkeypatch.delenv("XDG_RUNTIME_DIR")
    machine.denied[machine.cgroups / "user.slice/app.slice/run-1.scope"] = errno.EACCES
    assert "may not make a control group in" in why_not(machine)


def ended_pid() -> int:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    return child.pid


def test_which_names_are_swept(machine: Machine) -> None:
    """Only groups with concmem's names, of this PID namespace, with a maker that has ended or a reused PID."""
    own_start, namespace = _cgroup_sweep._self(os.getpid(), machine.root)
    parent = "user.slice/app.slice"
    dead, other = ended_pid(), 1
    (machine.root / "proc/1").mkdir()
    (machine.root / "proc/1/stat").write_text(Path("/proc/1/stat").read_text())
    start = _cgroup_sweep._stat(other, Path("/"))[2]
    goes = [f"concmem-{dead}-5-{namespace}-0", f"concmem-{other}-{int(start) + 1}-{namespace}-3"]
    stays = [
        f"concmem-{dead}-5-{int(namespace) + 1}-0",  # of another namespace
        f"concmem-{other}-{start}-{namespace}-3",  # its maker still runs
        f"concmem-{os.getpid()}-{own_start}-{namespace}-999",  # another measurement of this process
        f"concmem-{dead}-5-{namespace}",
        f"other-{dead}-5-{namespace}-0",
    ]
    for name in goes + stays:
        machine.group(f"{parent}/{name}")
    made_in(machine)
    there = {path.name for path in (machine.cgroups / parent).iterdir() if path.is_dir()}
    assert there == {*stays, "run-1.scope"}


def test_a_hidden_process_is_not_a_dead_one(machine: Machine) -> None:
    """With hidepid, /proc shows nothing of another user's process, which is not taken for dead."""
    namespace = _cgroup_sweep._self(os.getpid(), machine.root)[1]
    hidden = machine.group(f"user.slice/app.slice/concmem-1-5-{namespace}-0")
    made_in(machine)
    assert hidden.exists()


def test_nothing_is_swept_with_another_proc(machine: Machine) -> None:
    """If /proc is that of another namespace, no process is taken for dead."""
    namespace = _cgroup_sweep._self(os.getpid(), machine.root)[1]
    group = machine.group(f"user.slice/app.slice/concmem-{ended_pid()}-5-{namespace}-0")
    own = machine.root / "proc/self"
    own.unlink()
    (machine.root / f"proc/{os.getpid()}").rename(machine.root / "proc/12345678")
    own.symlink_to("12345678")
    made_in(machine)
    assert group.exists()


def test_a_group_is_killed_at_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 2 kills a group with one write, even if processes in it fork."""
    monkeypatch.setattr(_cgroup_sweep, "_PATIENCE_S", 0)
    namespace = _cgroup_sweep._self(os.getpid(), machine.root)[1]
    group = machine.group(f"user.slice/app.slice/concmem-{ended_pid()}-5-{namespace}-0", "", str(ended_pid()))
    made_in(machine)
    assert (group / "cgroup.kill").read_text() == "1"
    _cgroup_sweep._left.clear()


def refuse(*_: Any) -> int:
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_no_mount_without_permission(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the permission to mount, the sentence says so."""
    monkeypatch.setattr(GroupFolder, "open_detached_mount", refuse)
    machine.begin("4:memory:/\n", "")
    groups = _cgroup.make_groups(memory=False, selector=True, root=machine.root)
    assert groups.selector_why_not == (
        "control groups of version 2 are not mounted, and concmem cannot mount them: Operation not permitted"
    )
