"""Name control groups after the process that made them, and remove them, including those of dead processes."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import signal
import time
from functools import lru_cache
from pathlib import Path

from concmem._cgroup.find import text
from concmem._native.resources import OpenFile

__all__ = ["kill", "new_name", "remove", "remove_old_groups"]

_NAME = re.compile(r"concmem-(\d+)-(\d+)-(\d+)-\d+(-leave)?")  # pid, its start, the namespace of both, serial

_PATIENCE_S = 0.1  # the kernel may list a process in its group for a moment after it was reaped
_KILL_S = 2.0  # the longest time for killing the processes of a group one by one

_serial = itertools.count()
_left: set[str] = set()  # names of own groups that were still busy when they should have been removed
os.register_at_fork(after_in_child=_left.clear)


def _stat(pid: int | str, root: Path) -> tuple[str, int, str]:
    """Return state, threads and start (in clock ticks after boot) from /proc/PID/stat; "" if it cannot be read."""
    fields = text(root / f"proc/{pid}/stat").rpartition(") ")[2].split()
    return (fields[0], int(fields[17]), fields[19]) if len(fields) > 19 else ("", 0, "")


@lru_cache(maxsize=8)
def _self(pid: int, root: Path) -> tuple[str, str]:
    """Return start and PID namespace of this process. `pid` is part of the cache key, for forked children."""
    return _stat("self", root)[2] or "0", str(os.stat(root / "proc/self/ns/pid").st_ino)


os.register_at_fork(after_in_child=_self.cache_clear)


def new_name(root: Path, for_leaving: bool = False) -> str:
    """
    Return a unique name for a group. It identifies the process that made the group.

    From the name, another process can find out whether that process still runs.

    Args:
        root: The folder that contains /proc.
        for_leaving: Whether processes may still run in the group when its maker has ended. The name shows
            this: a group has no other attribute for it, and groups of version 2 cannot be renamed.
    """
    pid = os.getpid()
    return f"concmem-{pid}-{'-'.join(_self(pid, root))}-{next(_serial)}{'-leave' if for_leaving else ''}"


def _is_gone(pid: int, start: str, root: Path) -> bool:
    """
    Return whether a process of this PID namespace has ended.

    A zombie has ended, unless only its main thread has ended and other threads still run.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # it belongs to another user
    state, threads, began = _stat(pid, root)
    return (state == "Z" and threads <= 1) or began not in (start, "")  # with hidepid, /proc hides running processes


def remove_old_groups(parent: Path, root: Path) -> None:
    """
    Remove the groups in `parent` that dead processes made, and kill the processes in them.

    Groups that this process made and could not remove earlier are also removed. A group for processes that are left
    running is removed when they have ended.
    """
    own_pid = os.getpid()
    namespace = _self(own_pid, root)[1]
    try:
        names = os.listdir(parent)
        # If /proc is that of another PID namespace, its PIDs are not those of this one.
        is_own_proc = os.readlink(root / "proc/self") == str(own_pid)
    except OSError:
        return
    for name in names:
        match = _NAME.fullmatch(name)
        if is_own_proc and match and match[3] == namespace and _is_gone(int(match[1]), match[2], root):
            if not match[4]:
                kill(parent / name)
            remove(parent / name, patience_s=0 if match[4] else _PATIENCE_S)
        elif name in _left:
            remove(parent / name, patience_s=0)


def _pids_in(group: Path) -> set[int]:
    """Return the processes in a group and below it, except those without a PID in this namespace (listed as 0)."""
    return {int(pid) for folder, _, _ in os.walk(group) for pid in text(Path(folder, "cgroup.procs")).split()} - {0}


def kill(group: Path) -> None:
    """Kill all processes in a group and below it."""
    with (
        contextlib.suppress(OSError),  # version 2, Linux 5.14
        OpenFile.of(group / "cgroup.kill", os.O_WRONLY) as file,
    ):
        os.write(file.fileno(), b"1")
        return
    deadline_s = time.monotonic() + _KILL_S
    while (living := _pids_in(group)) and time.monotonic() < deadline_s:
        pidfds = {}
        for pid in living:
            with contextlib.suppress(OSError):
                pidfds[pid] = OpenFile.of_process(pid)
        # A PID may have been reused before its pidfd was opened. If the group lists it again after that, it was not.
        for pid in _pids_in(group) & pidfds.keys():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(pidfds[pid].fileno(), signal.SIGKILL)
        for process in pidfds.values():
            process.close()
        time.sleep(0.001)


def _remove_now(group: Path) -> bool:
    """Remove a group; return False if it is busy. True means removed, already gone, or not permitted."""
    try:
        os.rmdir(group)
    except OSError as error:
        return error.errno not in (errno.EBUSY, errno.ENOTEMPTY)
    return True


def remove(group: Path, patience_s: float = _PATIENCE_S) -> None:
    """
    Remove a group and the groups inside it.

    If processes still run in it after `patience_s`, a later `remove_old_groups` removes it.
    """
    deadline_s = time.monotonic() + patience_s
    _left.add(group.name)
    while not _remove_now(group):
        for folder, children, _ in os.walk(group, topdown=False):
            for child in children:
                _remove_now(Path(folder, child))
        if _remove_now(group):
            break
        if time.monotonic() >= deadline_s:
            return
        time.sleep(0.002)
    _left.discard(group.name)
