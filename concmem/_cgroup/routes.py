"""Make one control group, as near to the own group as permitted: one that counts memory, or one that selects a tree."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from concmem._cgroup import find
from concmem._cgroup.sweep import new_name, remove, remove_old_groups
from concmem._classes.record import Record
from concmem._native.resources import GroupFolder, OpenFile

__all__ = ["NoGroup", "TargetGroup", "is_limited", "make_memory_group", "make_selector_group"]

_AS_SCOPE = "`systemd-run --user --scope -p Delegate=yes -- concmem ...`"
_AS_CONTAINER = "`docker run --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:rw ...`"
_T = TypeVar("_T")
_LIMITS = ("memory.max", "memory.high", "memory.swap.max")
_LIMIT_FILES = {1: "memory.limit_in_bytes", 2: "memory.max"}


class NoGroup(Exception):
    """
    No group can be made here. The text says why.

    Attributes:
        everywhere: Whether the same holds for all other groups of this machine.
    """

    def __init__(self, why: str, everywhere: bool = False) -> None:
        super().__init__(why)
        self.everywhere = everywhere


class TargetGroup(Record):
    """
    A group that was made for a target.

    Attributes:
        folder: Its folder.
        path: The path of that; None if concmem must not remove it.
    """

    folder: GroupFolder
    path: Path | None

    @property
    def fd(self) -> int:
        """The descriptor of its folder."""
        return self.folder.fileno()

    def set_limit(self, version: int, limit_bytes: int) -> None:
        """Set the limit of a group that counts memory. Swap is not limited, as with MemoryMax of systemd."""
        assert self.path is not None
        _write(self.path / _LIMIT_FILES[version], b"%d" % limit_bytes)

    def close(self, is_ours: bool) -> None:
        """Remove it if it is this process's own, and close its descriptors."""
        if is_ours and self.path is not None:
            remove(self.path)
        self.folder.forget()


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


def _create(folder: GroupFolder, parent: Path, root: Path, for_leaving: bool) -> TargetGroup:
    """Make a group, and remove groups beside it that dead processes left."""
    remove_old_groups(parent, root)
    path = parent / new_name(root, for_leaving)
    group = TargetGroup(folder, path)
    folder.name(path)
    try:
        os.mkdir(path)
        folder.open(path)
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


def _create_counting(folder: GroupFolder, parent: Path, root: Path, for_leaving: bool) -> TargetGroup:
    """Make a group of version 2 with a memory controller."""
    _check_moving(parent)
    if "memory" not in find.text(parent / "cgroup.subtree_control").split():
        _write(parent / "cgroup.subtree_control", b"+memory")
    group = _create(folder, parent, root, for_leaving)
    if group.path is not None and (group.path / "memory.peak").exists():
        return group
    group.close(is_ours=True)
    raise NoGroup("this kernel has no memory.peak (5.19 or later)", everywhere=True)


def is_limited(group: Path) -> bool:
    """Return whether a group of version 2 limits the memory of its processes."""
    return any(find.text(group / name).strip() not in ("", "max") for name in _LIMITS)


def _memory_v2(folder: GroupFolder, own: find.Own, root: Path, for_leaving: bool) -> TargetGroup:
    """
    Make a group as near to the own group as permitted.

    This is seldom inside the own group: a group that contains processes cannot enable the memory controller for its
    children, unless it is the root group. So the new group is made beside the own group or one of its ancestors, but
    never outside of a memory limit.
    """
    if "memory" not in find.text(own.top / "cgroup.controllers").split():
        text = f"the control groups at {own.top} have no memory controller: booting with cgroup_enable=memory may help"
        raise NoGroup(text, everywhere=True)
    first = ""
    for parent in own.outwards():
        try:
            return _create_counting(folder, parent, root, for_leaving)
        except OSError as error:
            first = first or _why(error, parent, root)
            if error.errno not in (errno.EBUSY, errno.ENOENT):  # ENOENT: no such controller here
                break
        if parent != own.top and is_limited(parent):
            raise NoGroup(f"{parent} limits memory, and a control group outside of it would bypass the limit")
    raise NoGroup(first)


def _memory(folder: GroupFolder, root: Path, for_leaving: bool) -> tuple[int, TargetGroup]:
    """Return version and group. A controller is in one hierarchy only: if version 1 has it, version 2 does not."""
    if own := find.own_group(1, root):
        try:
            return 1, _create(folder, own.folder, root, for_leaving)
        except OSError as error:
            raise NoGroup(_why(error, own.folder, root)) from None
    if own := find.own_group(2, root):
        return 2, _memory_v2(folder, own, root, for_leaving)
    text = "no control group with a memory controller is mounted: as root, run `mount -t cgroup2 none /sys/fs/cgroup`"
    raise NoGroup(text, everywhere=True)


def _selector(folder: GroupFolder, root: Path, for_leaving: bool) -> TargetGroup:
    """Make a group of version 2 with any controllers; if that fails, on a detached mount."""
    why = ""
    if own := find.own_group(2, root):
        try:
            _check_moving(own.folder)
            return _create(folder, own.folder, root, for_leaving)
        except OSError as error:
            why = _why(error, own.folder, root)
    try:
        mount = folder.open_detached_mount()
    except OSError as error:
        raise NoGroup(
            why or f"control groups of version 2 are not mounted, and concmem cannot mount them: {error.strerror}"
        ) from None
    try:
        return _create(folder, mount, root, for_leaving)
    except OSError as error:
        raise NoGroup(f"no control group of version 2 can be made: {error.strerror}") from None


def _try_twice(
    route: Callable[[GroupFolder, Path, bool], _T], folder: GroupFolder, root: Path, for_leaving: bool
) -> _T:
    """Try a second time after reading the mounts again, which are cached between measurements."""
    try:
        return route(folder, root, for_leaving)
    except NoGroup:
        find.forget()
        return route(folder, root, for_leaving)


def make_memory_group(folder: GroupFolder, root: Path, for_leaving: bool) -> tuple[int, TargetGroup]:
    """
    Make a group that counts memory, and return its version and the group.

    Args:
        folder: The place for it.
        root: The folder that contains /proc and /sys.
        for_leaving: Whether processes may still run in it after the measurement.

    Raises:
        NoGroup: None can be made.
    """
    return _try_twice(_memory, folder, root, for_leaving)


def make_selector_group(folder: GroupFolder, root: Path, for_leaving: bool) -> TargetGroup:
    """Make a group of version 2 by which an eBPF program recognises the tree. Arguments and errors are as above."""
    return _try_twice(_selector, folder, root, for_leaving)
