"""The control groups that a target is started in: made before a measurement, removed after it."""

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

__all__ = ["Groups", "make_groups", "probe"]

_SCOPE = ("--user", "--scope", "-q", "-p", "Delegate=yes", "--")
_AS_SCOPE = "`systemd-run --user --scope -p Delegate=yes -- concmem ...`"
_AS_CONTAINER = "`docker run --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:rw ...`"
_T = TypeVar("_T")
_LIMITS = ("memory.max", "memory.high", "memory.swap.max")


class _NoGroup(Exception):
    """
    There can be no group here, and its text says why.

    Attributes:
        nor_elsewhere: It would be the same in any other group of this machine.
    """

    def __init__(self, why: str, nor_elsewhere: bool = False) -> None:
        super().__init__(why)
        self.nor_elsewhere = nor_elsewhere


@attrs.frozen
class _Made:
    """
    A group.

    Attributes:
        held: ``struct cm_group_folder *``: the path that C removes unless it was removed before, the descriptor, and
            the detached mount that it is reached by.
        folder: Where it was made; None where it is not ours to remove.
    """

    held: Any
    folder: Path | None

    @property
    def fd(self) -> int:
        return int(self.held.folder.fd)

    def close(self, is_ours: bool) -> None:
        if is_ours and self.folder is not None:
            remove(self.folder)
        native()[1].cm_forget_group(self.held)


@attrs.define
class Groups:
    """
    The control groups of one measurement.

    Attributes:
        memory_fd: The folder of a group with a memory controller, or -1; with `is_delegated` the outermost one there is.
        memory_version: Of that controller's files, 1 or 2 (so too with `is_delegated`), or 0 where there is none.
        selector_fd: The folder of a group of version 2 that is to hold the tree and nothing else, or -1; the same
            as `memory_fd` where that is of version 2, and -1 with `is_delegated`, where the sampler's own will be it.
        why_not: One sentence why there is no group that counts memory, or "".
        selector_why_not: One sentence why there is no selector, or "".
        prefix: What to put before the sampler's arguments.
        resources: What keeps the groups: they go with it at the latest.
        is_delegated: The prefix starts the sampler alone in a group that is delegated to it, in which it has to make the
            target's group itself.
    """

    memory_fd: int = -1
    memory_version: int = 0
    selector_fd: int = -1
    why_not: str = ""
    selector_why_not: str = ""
    prefix: tuple[bytes, ...] = ()
    is_delegated: bool = False
    resources: Resources = attrs.field(factory=Resources)
    _made: list[_Made] = attrs.field(factory=list, init=False)

    def next_held(self) -> Any:
        """Where the next group is to be kept."""
        ffi, _ = native()
        return ffi.addressof(self.resources.held, "groups", len(self._made))

    def kill(self) -> None:
        """Kill whatever lives in them: for when nobody else is there to end the tree."""
        for group in self._made:
            if group.folder is not None and self.resources.is_ours():
                kill(group.folder)

    def close(self) -> None:
        """Remove what was made, unless this is a forked child of who made it; what is busy stays for a later sweep."""
        made, self._made = self._made, []
        self.memory_fd = self.selector_fd = -1
        for group in made:
            group.close(self.resources.is_ours())


def _why(error: OSError, folder: Path, root: Path) -> str:
    """The sentence for what the kernel says to the attempt to make a group in `folder`."""
    if error.errno == errno.EROFS:
        return f"the control groups at {folder} are read-only: {_AS_CONTAINER} gives a container those of its host"
    if error.errno in (errno.EACCES, errno.EPERM):
        if find.user_manager(root):
            remedy = f"{_AS_SCOPE} may"
        elif os.geteuid() != 0:
            remedy = "root may"
        else:
            remedy = f"{_AS_CONTAINER} may"
        return f"no control group may be made in {folder} by this user: {remedy}"
    if error.errno == errno.EBUSY:
        everyone = f"for p in $(cat {folder}/cgroup.procs); do echo $p >{folder}/all/cgroup.procs; done"
        return (
            f"{folder} has processes in it, so that memory cannot be counted in groups below it: "
            f"`mkdir {folder}/all; {everyone}` moves them into one"
        )
    if error.errno == errno.ENOENT:
        return f"memory is not counted in the control groups below {folder}: those around it do not hand that down"
    return f"no control group can be made in {folder}: {error.strerror}"


def _create(held: Any, parent: Path, root: Path, for_leaving: bool) -> _Made:
    """A new group; on the occasion, those that dead processes left beside it go."""
    ffi, lib = native()
    sweep(parent, root)
    made = _Made(held, parent / new_name(root, for_leaving))
    assert made.folder is not None
    checked(lib.cm_name_group(held, os.fsencode(made.folder)))
    try:
        os.mkdir(made.folder)
        checked(lib.cm_open(ffi.addressof(held, "folder"), os.fsencode(made.folder), os.O_RDONLY | os.O_DIRECTORY))
    except BaseException:
        made.close(is_ours=True)
        raise
    return made


def _check_moving(parent: Path) -> None:
    """Who moves into a group of version 2 has to be allowed to write to the innermost group that holds both."""
    OpenFile.of(parent / "cgroup.procs", os.O_WRONLY).close()


def _write(file: Path, what: bytes) -> None:
    opened = OpenFile.of(file, os.O_WRONLY)
    try:
        os.write(opened.fileno(), what)
    finally:
        opened.close()


def _create_counting(held: Any, parent: Path, root: Path, for_leaving: bool) -> _Made:
    """A new group of version 2 with a memory controller."""
    _check_moving(parent)
    if "memory" not in find.text(parent / "cgroup.subtree_control").split():
        _write(parent / "cgroup.subtree_control", b"+memory")
    made = _create(held, parent, root, for_leaving)
    if made.folder is not None and (made.folder / "memory.peak").exists():
        return made
    made.close(is_ours=True)
    raise _NoGroup("this kernel has no memory.peak (5.19 or later)", nor_elsewhere=True)


def _is_limited(group: Path) -> bool:
    return any(find.text(group / name).strip() not in ("", "max") for name in _LIMITS)


def _memory_v2(held: Any, own: find.Own, root: Path, for_leaving: bool) -> _Made:
    """
    A group in the nearest place that allows one.

    That is seldom the own group: one that holds processes (this one) hands no memory controller down, unless it is the
    outermost of all. So the new group is made beside it, or beside one around it; but never outside of a limit.
    """
    if "memory" not in find.text(own.top / "cgroup.controllers").split():
        text = f"the control groups at {own.top} have no memory controller: booting with cgroup_enable=memory may help"
        raise _NoGroup(text, nor_elsewhere=True)
    first = ""
    for parent in own.outwards():
        try:
            return _create_counting(held, parent, root, for_leaving)
        except OSError as error:
            first = first or _why(error, parent, root)
            if error.errno not in (errno.EBUSY, errno.ENOENT):  # ENOENT: no such controller here
                break
        if parent != own.top and _is_limited(parent):
            raise _NoGroup(f"{parent} limits memory, and a control group outside of it would escape the limit")
    raise _NoGroup(first)


def _memory(held: Any, root: Path, for_leaving: bool) -> tuple[int, _Made]:
    """Version and group. A controller is in one hierarchy only: where version 1 has it, version 2 has not."""
    if own := find.own_group(1, root):
        try:
            return 1, _create(held, own.folder, root, for_leaving)
        except OSError as error:
            raise _NoGroup(_why(error, own.folder, root)) from None
    if own := find.own_group(2, root):
        return 2, _memory_v2(held, own, root, for_leaving)
    text = "no control groups that count memory are mounted: as root, `mount -t cgroup2 none /sys/fs/cgroup` does it"
    raise _NoGroup(text, nor_elsewhere=True)


def _selector(held: Any, root: Path, for_leaving: bool) -> _Made:
    """A group of version 2, with whatever controllers; else on a mount that nobody sees."""
    why = ""
    if own := find.own_group(2, root):
        try:
            _check_moving(own.folder)
            return _create(held, own.folder, root, for_leaving)
        except OSError as error:
            why = _why(error, own.folder, root)
    ffi, _ = native()
    mount = ffi.addressof(held, "mount")
    try:
        find.open_detached_mount(mount)
    except OSError as error:
        raise _NoGroup(
            why or f"no control groups of version 2 are mounted, and none can be: {error.strerror}"
        ) from None
    try:
        return _create(held, Path(f"/proc/self/fd/{mount.fd}"), root, for_leaving)
    except OSError as error:
        raise _NoGroup(f"no control group of version 2 can be made: {error.strerror}") from None


def _looking_twice(route: Callable[[Any, Path, bool], _T], held: Any, root: Path, for_leaving: bool) -> _T:
    """Mounts are remembered from one measurement to the next; what they allow no more is tried once with new ones."""
    try:
        return route(held, root, for_leaving)
    except _NoGroup:
        find.forget()
        return route(held, root, for_leaving)


def _add_scope(groups: Groups, root: Path) -> bool:
    """Have systemd make a group for this user; not where there is no such, or where it escaped a limit."""
    program, own = find.user_manager(root), find.own_group(2, root)
    if program is None or own is None:
        return False
    for group in own.outwards():
        if group.name == f"user-{os.getuid()}.slice":
            break  # the user's systemd is in it, too
        if group != own.top and _is_limited(group):
            return False
    ffi, lib = native()
    made = _Made(groups.next_held(), None)
    checked(lib.cm_open(ffi.addressof(made.held, "folder"), os.fsencode(own.top), os.O_RDONLY | os.O_DIRECTORY))
    groups._made.append(made)
    groups.memory_fd, groups.memory_version, groups.is_delegated = made.fd, 2, True
    groups.prefix = tuple(map(os.fsencode, (program, *_SCOPE)))
    return True


def _add_memory(groups: Groups, root: Path, systemd_run: bool, for_leaving: bool) -> None:
    try:
        groups.memory_version, made = _looking_twice(_memory, groups.next_held(), root, for_leaving)
    except _NoGroup as error:
        if not systemd_run or error.nor_elsewhere or not _add_scope(groups, root):
            groups.why_not = str(error)
        return
    groups._made.append(made)
    groups.memory_fd = made.fd


def _add_selector(groups: Groups, root: Path, for_leaving: bool) -> None:
    if groups.memory_version == 2:
        groups.selector_fd = groups.memory_fd
        return
    try:
        made = _looking_twice(_selector, groups.next_held(), root, for_leaving)
    except _NoGroup as error:
        groups.selector_why_not = str(error)
        return
    groups._made.append(made)
    groups.selector_fd = made.fd


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
    Make the control groups for one measurement; what cannot be made is said in the result.

    Args:
        memory: Whether a group that counts memory is wanted.
        selector: Whether a group is wanted by which a program in the kernel can tell the tree.
        root: Where /proc and /sys are.
        systemd_run: Whether systemd may be asked for a scope where this process can make no group itself.
        for_leaving: Whether processes may live on in them afterwards: no sweep kills these.
        resources: What is to keep them; else something of their own does.
    """
    groups = Groups(resources=resources or Resources())
    try:
        if memory:
            _add_memory(groups, root, systemd_run, for_leaving)
        else:
            groups.why_not = "a control group that counts memory was not asked for"
        if selector:
            _add_selector(groups, root, for_leaving)
        else:
            groups.selector_why_not = "a control group that selects the tree was not asked for"
    except BaseException:
        groups.close()
        raise
    return groups


def probe(*, root: Path = Path("/")) -> tuple[bool, str]:
    """Whether a group that counts memory can be had here, and else one sentence that says why not."""
    groups = make_groups(memory=True, selector=False, root=root)
    groups.close()
    return groups.memory_version != 0, groups.why_not
