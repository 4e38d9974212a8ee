"""Find the control groups that this process may use: the mounts, its own group, the user's systemd."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path, PurePosixPath

from concmem._classes.record import Record

__all__ = ["Own", "forget", "is_frozen", "own_group", "text", "user_manager"]


class _Mount(Record):
    """A mount of version 2, or of a hierarchy of version 1."""

    version: int
    top: str  # the group that is mounted at `point`; not "/" if a container has only a part of the hierarchy
    point: Path
    read_only: bool

    def folder(self, path: str) -> Path | None:
        """Return the folder of a group; None if it is not visible in this mount."""
        group = PurePosixPath(path)
        if ".." in group.parts or not group.is_relative_to(self.top):
            return None
        folder = self.point / group.relative_to(self.top)
        return folder if folder.is_dir() else None


class Own(Record):
    """
    The group that contains this process.

    Attributes:
        folder: The group, or the mount point if the group is not below it (its path is of another namespace).
        top: The outermost group of the mount.
    """

    folder: Path
    top: Path

    def outwards(self) -> tuple[Path, ...]:
        """Return the group and its ancestors, up to the top."""
        parts = self.folder.relative_to(self.top).parts
        return (self.folder, *self.folder.parents)[: len(parts) + 1]


def text(file: Path) -> str:
    """Return the content of a kernel file; "" if it cannot be read."""
    try:
        return os.fsdecode(file.read_bytes())
    except OSError:
        return ""


def _unescaped(field: str) -> str:
    """Decode a field of /proc/PID/mountinfo, which writes spaces and similar characters as three octal digits."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), os.fsencode(field)))


@lru_cache(maxsize=8)
def _mounts(root: Path, controller: str = "memory") -> tuple[_Mount, ...]:
    """Return all mounts of version 2, and of version 1 with this controller. They are cached until `forget`."""
    mounts = []
    for line in text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        top, point, options = before.split(" ")[3:6]
        kind, _, of_all = after.split(" ", 2)
        version = 2 if kind == "cgroup2" else 1 if kind == "cgroup" and controller in of_all.split(",") else 0
        if version:
            read_only = "ro" in (*options.split(","), *of_all.split(","))
            mounts.append(_Mount(version, _unescaped(top), root / _unescaped(point).lstrip("/"), read_only))
    return tuple(mounts)


def forget() -> None:
    """Read the mounts again next time."""
    _mounts.cache_clear()


def _own_path(version: int, root: Path) -> str:
    """Return the own group from /proc/self/cgroup. It is not cached, because a process can be moved."""
    for line in text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(",") if version == 1 else number == "0":
            return path
    return "/"


def own_group(version: int, root: Path) -> Own | None:
    """Return the own group of version 2, or of version 1's memory controller; None if that is not mounted."""
    path = _own_path(version, root)
    mounts = [(mount, mount.folder(path)) for mount in _mounts(root) if mount.version == version]
    if not mounts:
        return None
    mount, folder = min(mounts, key=lambda pair: (pair[1] is None, pair[0].read_only))
    return Own(folder or mount.point, mount.point)


def is_frozen(pid: int, root: Path) -> bool:
    """Return whether a process is in a frozen control group, of version 1 or 2."""
    for line in text(root / f"proc/{pid}/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        version = 2 if number == "0" else 1 if "freezer" in controllers.split(",") else 0
        for mount in _mounts(root, "freezer"):
            folder = mount.folder(path) if mount.version == version else None
            if folder is None:
                continue
            if version == 1 and text(folder / "freezer.state").strip() in ("FROZEN", "FREEZING"):
                return True
            if version == 2 and "frozen 1" in text(folder / "cgroup.events").splitlines():
                return True
    return False


def user_manager(root: Path) -> str | None:
    """Return the path of systemd-run if this user has a systemd user manager, else None."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    here = root / runtime.lstrip("/")
    if not runtime or not any((here / socket).exists() for socket in ("systemd/private", "bus")):
        return None
    import shutil

    return shutil.which("systemd-run")
