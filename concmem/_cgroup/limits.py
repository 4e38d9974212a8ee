"""The control groups that limit this process, and the memory limit that they set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from concmem._cgroup.find import text

__all__ = ["control_groups", "version_and_memory_limit"]


def _group_mounts(proc: str, controller: str) -> tuple[str | None, str | None]:
    """Return where control groups of version 2, and of version 1 with this controller, are mounted."""
    mounts = [line.split() for line in text(Path(proc, "mounts")).splitlines()]
    v2 = next((fields[1] for fields in mounts if fields[2] == "cgroup2"), None)
    v1 = next((fields[1] for fields in mounts if fields[2] == "cgroup" and controller in fields[3].split(",")), None)
    return v2, v1


def control_groups(controller: str, proc: str = "/proc/self") -> Iterator[tuple[Path, int]]:
    """
    Yield the control groups that limit this process, each with its version: its own group, then its ancestors.

    A folder may not exist if the group is not in this namespace.

    Args:
        controller: ``memory`` or ``pids``: of version 1, only groups with this controller.
        proc: The folder of the process in /proc.
    """
    v2, v1 = _group_mounts(proc, controller)
    own = {
        fields[1]: fields[2]
        for line in text(Path(proc, "cgroup")).splitlines()
        if len(fields := line.split(":", 2)) == 3
    }
    for mount, key, version in ((v2, "", 2), (v1, controller, 1)):
        path = next((p for names, p in own.items() if key in names.split(",")), None)
        if mount is None or path is None:
            continue
        folder = Path(mount + path)
        for group in (folder, *folder.parents):
            yield group, version
            if group == Path(mount):
                break


def version_and_memory_limit() -> tuple[str, int | None]:
    """Return the version of control groups, and the smallest memory limit of the own group and its ancestors."""
    v2, v1 = _group_mounts("/proc/self", "memory")
    limits = []
    for group, number in control_groups("memory"):
        limit = text(group / ("memory.max" if number == 2 else "memory.limit_in_bytes")).strip()
        if limit.isdigit() and int(limit) < 1 << 60:  # version 1 writes "no limit" as a huge number
            limits.append(int(limit))
    version = {(True, True): "hybrid", (True, False): "v2", (False, True): "v1"}.get((v2 is not None, v1 is not None))
    return version or "none", min(limits, default=None)
