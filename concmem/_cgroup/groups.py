"""Make the control groups in which a target is started, and remove them after the measurement."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs

from concmem._cgroup import find
from concmem._cgroup.sweep import kill, new_name, remove, sweep
from concmem._native.resources import OpenFile, Resources, checked
from concmem._native.shared_memory import native
from concmem._native.source_table import Group

__all__ = ["Groups", "make_groups", "probe"]

_SCOPE = ("--user", "--scope", "-q", "-p", "Delegate=yes", "--")
_AS_SCOPE = "`systemd-run --user --scope -p Delegate=yes -- concmem ...`"
_AS_CONTAINER = "`docker run --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:rw ...`"
_T = TypeVar("_T")
_LIMITS = ("memory.max", "memory.high", "memory.swap.max")


class _NoGroup(Exception):
    """
    No group can be made here. The text says why.

    Attributes:
        everywhere: Whether the same holds for all other groups of this machine.
    """

    def __init__(self, why: str, everywhere: bool = False) -> None:
        super().__init__(why)
        self.everywhere = everywhere


@attrs.frozen(eq=False, repr=False)
class _Group:
    """
    A group that was made.

    Attributes:
        c_folder: ``struct cm_group_folder *``: the path, which C removes unless it was removed before, the descriptor,
            and the detached mount through which it is reached.
        folder: Its path; None if concmem must not remove it.
    """

    c_folder: Any
    folder: Path | None

    @property
    def fd(self) -> int:
        return int(self.c_folder.folder.fd)

    def close(self, is_ours: bool) -> None:
        if is_ours and self.folder is not None:
            remove(self.folder)
        native()[1].cm_forget_group(self.c_folder)


@attrs.define(eq=False, repr=False)
class Groups:
    """
    The control groups of one measurement.

    Attributes:
        memory_fd: The folder of a group with a memory controller, or -1; with `is_delegated`, the outermost group.
        memory_version: The version of that group, 1 or 2, or 0 if there is none.
        selector_fd: The folder of a group of version 2 that will hold only the tree, or -1. It is `memory_fd` if that
            is of version 2, and -1 with `is_delegated`, where the sampler uses its own group.
        why_not: One sentence why there is no group that counts memory, or "".
        selector_why_not: One sentence why there is no selector, or "".
        prefix: Arguments before those of the sampler.
        resources: The owner of the groups. They are released with it at the latest.
        is_delegated: Whether the prefix starts the sampler alone in a group that is delegated to it. The sampler then
            makes the target's group itself.
    """

    memory_fd: int = -1
    memory_version: int = 0
    selector_fd: int = -1
    why_not: str = ""
    selector_why_not: str = ""
    prefix: tuple[bytes, ...] = ()
    is_delegated: bool = False
    resources: Resources = attrs.field(factory=Resources)
    _groups: list[_Group] = attrs.field(factory=list, init=False)

    def next_c_folder(self) -> Any:
        """Return the ``struct cm_group_folder *`` for the next group."""
        ffi, _ = native()
        return ffi.addressof(self.resources.c_struct, "groups", len(self._groups))

    def fd(self, kind: Group) -> int:
        """Return the folder of a group, or -1."""
        return self.memory_fd if kind == "memory" else self.selector_fd

    def reason(self, kind: Group) -> str:
        """Return one sentence why there is no such group, or ""."""
        return self.why_not if kind == "memory" else self.selector_why_not

    def kill(self) -> None:
        """Kill all processes in the groups. It is called when the sampler is gone and cannot kill the tree."""
        for group in self._groups:
            if group.folder is not None and self.resources.is_ours():
                kill(group.folder)

    def close(self) -> None:
        """Remove the groups, unless this is a forked child. A busy group is left to a later sweep."""
        groups, self._groups = self._groups, []
        self.memory_fd = self.selector_fd = -1
        for group in groups:
            group.close(self.resources.is_ours())


def _why(error: OSError, folder: Path, root: Path) -> str:
    """Return the sentence for an error when making a group in `folder`."""
    if error.errno == errno.EROFS:
        return f"the control groups at {folder} are read-only: {_AS_CONTAINER} gives a container those of its host"
    if error.errno in (errno.EACCES, errno.EPERM):
        if find.user_manager(root):
            remedy = f"{_AS_SCOPE} may"
        elif os.geteuid() != 0:
            remedy = "root may"
        else:
            remedy = f"{_AS_CONTAINER} may"
        return f"this user may not make a control group in {folder}: {remedy}"
    if error.errno == errno.EBUSY:
        move_all = f"for p in $(cat {folder}/cgroup.procs); do echo $p >{folder}/all/cgroup.procs; done"
        return (
            f"{folder} contains processes, so that groups below it cannot count memory: "
            f"`mkdir {folder}/all; {move_all}` moves them into a group"
        )
    if error.errno == errno.ENOENT:
        return f"control groups below {folder} do not count memory: its parent groups do not enable the controller"
    return f"no control group can be made in {folder}: {error.strerror}"


def _create(c_folder: Any, parent: Path, root: Path, for_leaving: bool) -> _Group:
    """Make a group, and remove groups beside it that dead processes left."""
    ffi, lib = native()
    sweep(parent, root)
    group = _Group(c_folder, parent / new_name(root, for_leaving))
    assert group.folder is not None
    checked(lib.cm_name_group(c_folder, os.fsencode(group.folder)))
    try:
        os.mkdir(group.folder)
        checked(lib.cm_open(ffi.addressof(c_folder, "folder"), os.fsencode(group.folder), os.O_RDONLY | os.O_DIRECTORY))
    except BaseException:
        group.close(is_ours=True)
        raise
    return group


def _check_moving(parent: Path) -> None:
    """Check the permission to move a process into a group of version 2: to write to the innermost common ancestor."""
    OpenFile.of(parent / "cgroup.procs", os.O_WRONLY).close()


def _write(file: Path, what: bytes) -> None:
    opened = OpenFile.of(file, os.O_WRONLY)
    try:
        os.write(opened.fileno(), what)
    finally:
        opened.close()


def _create_counting(c_folder: Any, parent: Path, root: Path, for_leaving: bool) -> _Group:
    """Make a group of version 2 with a memory controller."""
    _check_moving(parent)
    if "memory" not in find.text(parent / "cgroup.subtree_control").split():
        _write(parent / "cgroup.subtree_control", b"+memory")
    group = _create(c_folder, parent, root, for_leaving)
    if group.folder is not None and (group.folder / "memory.peak").exists():
        return group
    group.close(is_ours=True)
    raise _NoGroup("this kernel has no memory.peak (5.19 or later)", everywhere=True)


def _is_limited(group: Path) -> bool:
    return any(find.text(group / name).strip() not in ("", "max") for name in _LIMITS)


def _memory_v2(c_folder: Any, own: find.Own, root: Path, for_leaving: bool) -> _Group:
    """
    Make a group as near to the own group as permitted.

    This is seldom inside the own group: a group that contains processes cannot enable the memory controller for its
    children, unless it is the root group. So the new group is made beside the own group or one of its ancestors, but
    never outside of a memory limit.
    """
    if "memory" not in find.text(own.top / "cgroup.controllers").split():
        text = f"the control groups at {own.top} have no memory controller: booting with cgroup_enable=memory may help"
        raise _NoGroup(text, everywhere=True)
    first = ""
    for parent in own.outwards():
        try:
            return _create_counting(c_folder, parent, root, for_leaving)
        except OSError as error:
            first = first or _why(error, parent, root)
            if error.errno not in (errno.EBUSY, errno.ENOENT):  # ENOENT: no such controller here
                break
        if parent != own.top and _is_limited(parent):
            raise _NoGroup(f"{parent} limits memory, and a control group outside of it would bypass the limit")
    raise _NoGroup(first)


def _memory(c_folder: Any, root: Path, for_leaving: bool) -> tuple[int, _Group]:
    """Return version and group. A controller is in one hierarchy only: if version 1 has it, version 2 does not."""
    if own := find.own_group(1, root):
        try:
            return 1, _create(c_folder, own.folder, root, for_leaving)
        except OSError as error:
            raise _NoGroup(_why(error, own.folder, root)) from None
    if own := find.own_group(2, root):
        return 2, _memory_v2(c_folder, own, root, for_leaving)
    text = "no control group with a memory controller is mounted: as root, run `mount -t cgroup2 none /sys/fs/cgroup`"
    raise _NoGroup(text, everywhere=True)


def _selector(c_folder: Any, root: Path, for_leaving: bool) -> _Group:
    """Make a group of version 2 with any controllers; if that fails, on a detached mount."""
    why = ""
    if own := find.own_group(2, root):
        try:
            _check_moving(own.folder)
            return _create(c_folder, own.folder, root, for_leaving)
        except OSError as error:
            why = _why(error, own.folder, root)
    ffi, _ = native()
    mount = ffi.addressof(c_folder, "mount")
    try:
        find.open_detached_mount(mount)
    except OSError as error:
        raise _NoGroup(
            why or f"control groups of version 2 are not mounted, and concmem cannot mount them: {error.strerror}"
        ) from None
    try:
        return _create(c_folder, Path(f"/proc/self/fd/{mount.fd}"), root, for_leaving)
    except OSError as error:
        raise _NoGroup(f"no control group of version 2 can be made: {error.strerror}") from None


def _try_twice(route: Callable[[Any, Path, bool], _T], c_folder: Any, root: Path, for_leaving: bool) -> _T:
    """Try a second time after reading the mounts again, which are cached between measurements."""
    try:
        return route(c_folder, root, for_leaving)
    except _NoGroup:
        find.forget()
        return route(c_folder, root, for_leaving)


def _add_scope(groups: Groups, root: Path) -> bool:
    """Let the user's systemd make a group; return False if there is none, or if the group would bypass a limit."""
    program, own = find.user_manager(root), find.own_group(2, root)
    if program is None or own is None:
        return False
    for group in own.outwards():
        if group.name == f"user-{os.getuid()}.slice":
            break  # the user's systemd is in this slice too
        if group != own.top and _is_limited(group):
            return False
    ffi, lib = native()
    scope = _Group(groups.next_c_folder(), None)
    checked(lib.cm_open(ffi.addressof(scope.c_folder, "folder"), os.fsencode(own.top), os.O_RDONLY | os.O_DIRECTORY))
    groups._groups.append(scope)
    groups.memory_fd, groups.memory_version, groups.is_delegated = scope.fd, 2, True
    groups.prefix = tuple(map(os.fsencode, (program, *_SCOPE)))
    return True


def _add_memory(groups: Groups, root: Path, systemd_run: bool, for_leaving: bool) -> None:
    try:
        groups.memory_version, group = _try_twice(_memory, groups.next_c_folder(), root, for_leaving)
    except _NoGroup as error:
        if not systemd_run or error.everywhere or not _add_scope(groups, root):
            groups.why_not = str(error)
        return
    groups._groups.append(group)
    groups.memory_fd = group.fd


def _add_selector(groups: Groups, root: Path, for_leaving: bool) -> None:
    if groups.memory_version == 2:
        groups.selector_fd = groups.memory_fd
        return
    try:
        group = _try_twice(_selector, groups.next_c_folder(), root, for_leaving)
    except _NoGroup as error:
        groups.selector_why_not = str(error)
        return
    groups._groups.append(group)
    groups.selector_fd = group.fd


def make_groups(
    memory: bool,
    selector: bool,
    *,
    root: Path = Path("/"),
    systemd_run: bool = True,
    for_leaving: bool = False,
    resources: Resources | None = None,
) -> Groups:
    """
    Make the control groups for one measurement. The result says what could not be made.

    Args:
        memory: Whether to make a group that counts memory.
        selector: Whether to make a group by which an eBPF program recognises the tree.
        root: The folder that contains /proc and /sys.
        systemd_run: Whether to ask systemd for a scope if this process cannot make a group.
        for_leaving: Whether processes may still run in the groups afterwards. No sweep kills these.
        resources: The owner of the groups; by default a new one.
    """
    groups = Groups(resources=resources or Resources())
    try:
        if memory:
            _add_memory(groups, root, systemd_run, for_leaving)
        else:
            groups.why_not = "a control group that counts memory was not requested"
        if selector:
            _add_selector(groups, root, for_leaving)
        else:
            groups.selector_why_not = "a control group that selects the tree was not requested"
    except BaseException:
        groups.close()
        raise
    return groups


def probe(*, root: Path = Path("/")) -> tuple[bool, str]:
    """Return whether a group that counts memory can be made here; if not, with one sentence why."""
    groups = make_groups(memory=True, selector=False, root=root)
    groups.close()
    return groups.memory_version != 0, groups.why_not
