"""Naming control groups after the process that made them, and removing them, those of dead processes too."""

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

__all__ = ["kill", "new_name", "remove", "sweep"]

_NAME = re.compile(r"concmem-(\d+)-(\d+)-(\d+)-\d+(-leave)?")  # pid, its start, the namespace of both, serial

_PATIENCE_S = 0.1  # a process may be seen in its group for a moment after its parent was told of its end
_KILL_S = 2.0  # the longest that left-overs are hunted where each has to be killed by itself

_serial = itertools.count()
_left: set[str] = set()  # names of own groups that were still busy when they should have been removed
os.register_at_fork(after_in_child=_left.clear)


def _stat(pid: int | str, root: Path) -> tuple[str, int, str]:
    """State, threads and start in clock ticks after boot: fields 3, 20, 22 of /proc/PID/stat; "" where unreadable."""
    fields = text(root / f"proc/{pid}/stat").rpartition(") ")[2].split()
    return (fields[0], int(fields[17]), fields[19]) if len(fields) > 19 else ("", 0, "")


@lru_cache(maxsize=8)
def _self(pid: int, root: Path) -> tuple[str, str]:
    """Start and PID namespace of this process; `pid` is its number, so that a forked child asks anew."""
    return _stat("self", root)[2] or "0", str(os.stat(root / "proc/self/ns/pid").st_ino)


os.register_at_fork(after_in_child=_self.cache_clear)


def new_name(root: Path, for_leaving: bool = False) -> str:
    """
    A name for a group that no other has, from which anyone can tell whether its maker still lives.

    Args:
        root: Where /proc is.
        for_leaving: Whether processes may live on in it when its maker has ended. The name says so, because nothing
            else of a group can: version 2 renames none.
    """
    pid = os.getpid()
    return f"concmem-{pid}-{'-'.join(_self(pid, root))}-{next(_serial)}{'-leave' if for_leaving else ''}"


def _is_gone(pid: int, start: str, root: Path) -> bool:
    """
    Whether a process of the own PID namespace has ended.

    A zombie has, unless it is but the main thread of a process whose others live on.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass  # another user's
    state, threads, began = _stat(pid, root)
    return (state == "Z" and threads <= 1) or began not in (start, "")  # a /proc with hidepid hides living ones


def sweep(parent: Path, root: Path) -> None:
    """
    Remove the groups in `parent` whose makers are dead, with whatever lives in them, and own ones left busy.

    One that was made for processes that are left running is removed when they have ended.
    """
    own_pid = os.getpid()
    namespace = _self(own_pid, root)[1]
    try:
        names = os.listdir(parent)
        # Where /proc is that of another namespace, its numbers tell nothing about who lives in this one.
        knows = os.readlink(root / "proc/self") == str(own_pid)
    except OSError:
        return
    for name in names:
        match = _NAME.fullmatch(name)
        if knows and match and match[3] == namespace and _is_gone(int(match[1]), match[2], root):
            if not match[4]:
                kill(parent / name)
            remove(parent / name, patience_s=0 if match[4] else _PATIENCE_S)
        elif name in _left:
            remove(parent / name, patience_s=0)


def _living(group: Path) -> set[int]:
    """The processes in a group and below it; 0 is one that this namespace has no number for."""
    return {int(pid) for folder, _, _ in os.walk(group) for pid in text(Path(folder, "cgroup.procs")).split()} - {0}


def kill(group: Path) -> None:
    """Kill all that lives in a group and below it."""
    with (
        contextlib.suppress(OSError),  # version 2, Linux 5.14
        OpenFile.of(group / "cgroup.kill", os.O_WRONLY) as file,
    ):
        os.write(file.fileno(), b"1")
        return
    deadline_s = time.monotonic() + _KILL_S
    while (living := _living(group)) and time.monotonic() < deadline_s:
        held = {}
        for pid in living:
            with contextlib.suppress(OSError):
                held[pid] = OpenFile.of_process(pid)
        # A number may have changed hands since it was listed; one that is listed while it is held has not.
        for pid in _living(group) & held.keys():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(held[pid].fileno(), signal.SIGKILL)
        for process in held.values():
            process.close()
        time.sleep(0.001)


def _remove_now(group: Path) -> bool:
    """Whether no more can be done about a group: it is gone, or not ours to remove. False while it is busy."""
    try:
        os.rmdir(group)
    except OSError as error:
        return error.errno not in (errno.EBUSY, errno.ENOTEMPTY)
    return True


def remove(group: Path, patience_s: float = _PATIENCE_S) -> None:
    """
    Remove a group and the groups that were made in it.

    One in which something lives after `patience_s` is left to a later `sweep`.
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
