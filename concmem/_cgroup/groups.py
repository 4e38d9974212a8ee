"""Make the control groups in which a target is started, and remove them after the measurement."""

from __future__ import annotations

import os
from pathlib import Path

from concmem._cgroup import find
from concmem._cgroup.routes import NoGroup, TargetGroup, is_limited, make_memory_group, make_selector_group
from concmem._cgroup.sweep import kill
from concmem._native.resources import GroupFolder, Resources
from concmem._native.source_table import Group
from concmem.errors import UnsupportedPlatform
from concmem.units import format_bytes

__all__ = ["Groups", "limit_error", "make_groups", "probe"]

_SCOPE = ("--user", "--scope", "-q", "-p", "Delegate=yes", "--")


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

    def __init__(
        self,
        memory_fd: int = -1,
        memory_version: int = 0,
        is_delegated: bool = False,
        resources: Resources | None = None,
    ) -> None:
        self.memory_fd = memory_fd
        self.memory_version = memory_version
        self.selector_fd = -1
        self.why_not = ""
        self.selector_why_not = ""
        self.prefix: tuple[bytes, ...] = ()
        self.is_delegated = is_delegated
        self.resources = resources or Resources()
        self._groups: list[TargetGroup] = []

    def next_folder(self) -> GroupFolder:
        """Return the place for the next group."""
        return self.resources.group_folder(len(self._groups))

    def fd(self, kind: Group) -> int:
        """Return the folder of a group, or -1."""
        return self.memory_fd if kind == "memory" else self.selector_fd

    def reason(self, kind: Group) -> str:
        """Return one sentence why there is no such group, or ""."""
        return self.why_not if kind == "memory" else self.selector_why_not

    def kill(self) -> None:
        """Kill all processes in the groups. It is called when the sampler is gone and cannot kill the tree."""
        for group in self._groups:
            if group.path is not None and self.resources.is_ours():
                kill(group.path)

    def close(self) -> None:
        """Remove the groups, unless this is a forked child. A busy group is removed later."""
        groups, self._groups = self._groups, []
        self.memory_fd = self.selector_fd = -1
        for group in groups:
            group.close(self.resources.is_ours())


def _add_scope(groups: Groups, root: Path) -> bool:
    """Let the user's systemd make a group; return False if there is none, or if the group would bypass a limit."""
    program, own = find.user_manager(root), find.own_group(2, root)
    if program is None or own is None:
        return False
    for group in own.outwards():
        if group.name == f"user-{os.getuid()}.slice":
            break  # the user's systemd is in this slice too
        if group != own.top and is_limited(group):
            return False
    scope = TargetGroup(groups.next_folder(), None)
    scope.folder.open(own.top)
    groups._groups.append(scope)
    groups.memory_fd, groups.memory_version, groups.is_delegated = scope.fd, 2, True
    groups.prefix = tuple(map(os.fsencode, (program, *_SCOPE)))
    return True


def _add_memory(groups: Groups, root: Path, systemd_run: bool, for_leaving: bool) -> None:
    try:
        groups.memory_version, group = make_memory_group(groups.next_folder(), root, for_leaving)
    except NoGroup as error:
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
        group = make_selector_group(groups.next_folder(), root, for_leaving)
    except NoGroup as error:
        groups.selector_why_not = str(error)
        return
    groups._groups.append(group)
    groups.selector_fd = group.fd


def limit_error(limit_bytes: int, why: str) -> UnsupportedPlatform:
    """Return the error for a target that must not start, because nothing would hold its group to this limit."""
    return UnsupportedPlatform(f"the command cannot be limited to {format_bytes(limit_bytes)}: {why}")


def _set_limit(groups: Groups, limit_bytes: int) -> None:
    """Set the limit of the group that counts memory. The sampler does it if it makes the group."""
    if not groups.memory_version:
        raise limit_error(limit_bytes, groups.why_not)
    if groups.is_delegated:
        return
    (group,) = groups._groups
    try:
        group.set_limit(groups.memory_version, limit_bytes)
    except OSError as error:
        raise limit_error(limit_bytes, f"{error.filename or group.path}: {error.strerror}") from None


def make_groups(
    memory: bool,
    selector: bool,
    *,
    root: Path = Path("/"),
    systemd_run: bool = True,
    for_leaving: bool = False,
    resources: Resources | None = None,
    limit_bytes: int | None = None,
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
        limit_bytes: The limit of the group that counts memory, or None.

    Raises:
        UnsupportedPlatform: There is a limit, and no group that can have it.
    """
    groups = Groups(resources=resources)
    try:
        if memory:
            _add_memory(groups, root, systemd_run, for_leaving)
            if limit_bytes is not None:
                _set_limit(groups, limit_bytes)
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
