"""
The machine lock: only one study measures on a machine at a time.

The lock is an abstract socket name. It needs no folder that all users may write to, and the kernel frees it as soon as
the holding process has ended in any way. The holder describes itself in the names of further sockets. Every user can
read these in /proc/net/unix, any number of processes can wait, and the names end with the holder.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote, unquote

import attrs

from concmem.errors import ConcmemError
from concmem.units import format_seconds

__all__ = ["Holder", "MachineBusy", "find_holder", "lock_machine", "wait_for_machine"]

_NAME = "\0concmem-bench"
_POLL_S = 0.5
_NAME_BYTES = 107
"""The length of the longest abstract name that Python and unix(7) both take."""
_SOCKETS = "/proc/net/unix"
_READS, _READ_PAUSE_S = 20, 0.01


@attrs.frozen
class Holder:
    """
    The process that holds the machine lock.

    Attributes:
        pid: Its PID; 0 if unknown.
        folder: The folder of its study; "" if unknown.
        since_s: When it got the lock, in seconds since the epoch; 0 if unknown.
        pid_namespace: The inode number of the PID namespace that `pid` belongs to.
    """

    pid: int = 0
    folder: str = ""
    since_s: int = 0
    pid_namespace: int = 0

    def __str__(self) -> str:
        if not self.pid:
            return "another process is running a study on this machine"
        where = "" if self.pid_namespace == _pid_namespace() else " of another PID namespace"
        into = f" in {self.folder}" if self.folder else ""
        return f"process {self.pid}{where} is running a study{into} on this machine, since {_time(self.since_s)}"


class MachineBusy(ConcmemError):
    """
    Another study is measuring on this machine.

    Attributes:
        holder: The process that holds the machine lock.
    """

    exit_code = 75
    """EX_TEMPFAIL of sysexits.h: the same command can succeed later."""

    def __init__(self, holder: Holder, waited_s: float = 0.0) -> None:
        super().__init__(holder, waited_s)
        self.holder, self._waited_s = holder, waited_s

    def _sentence(self) -> str:
        waited = f"; it was still running after {format_seconds(self._waited_s)}" if self._waited_s else ""
        return f"{self.holder}{waited}"


@contextmanager
def lock_machine(folder: str = "") -> Iterator[None]:
    """
    Hold the machine lock, which excludes all studies of all users in this network namespace.

    Args:
        folder: The folder of the study, which is shown to waiting processes.

    Raises:
        MachineBusy: Another process holds the lock.
    """
    with contextlib.ExitStack() as stack:
        # Closed last, after the description, so that a readable description always is that of the current holder.
        lock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            lock.bind(_NAME)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise MachineBusy(_wait_for_description()) from None
        with contextlib.suppress(OSError):  # out of descriptors: the lock works without a description
            for name in _names(Holder(os.getpid(), folder, int(time.time()), _pid_namespace())):
                stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)).bind(name)
        yield


@contextmanager
def wait_for_machine(
    note: Callable[[str], None],
    *,
    folder: str = "",
    wait_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """
    Hold the machine lock like `lock_machine`, but wait for the process that holds it, and say which one that is.

    Args:
        note: Called with one sentence for each process that is waited for.
        folder: The folder of the study.
        wait_s: How long to wait: None without limit, 0 not at all.
        clock: Returns the time in seconds.
        pause: Waits for a number of seconds.

    Raises:
        MachineBusy: Another process still holds the lock after `wait_s`.
    """
    begun_s = clock()
    with contextlib.ExitStack() as stack:
        waits_for: Holder | None = None
        while True:
            try:
                stack.enter_context(lock_machine(folder))
                break
            except MachineBusy as busy:
                waited_s = clock() - begun_s
                if wait_s is not None and waited_s >= wait_s:
                    raise MachineBusy(busy.holder, waited_s if wait_s else 0.0) from None
                if busy.holder != waits_for:
                    note(f"waiting: {busy}; a machine measures one program at a time")
                waits_for = busy.holder
                pause(_POLL_S if wait_s is None else min(_POLL_S, wait_s - waited_s))
        yield


def find_holder() -> Holder | None:
    """Return the process that holds the machine lock; None if it is free."""
    names = _bound_names()
    return _find_description(names) or Holder() if _as_listed(_NAME) in names else None


def _wait_for_description() -> Holder:
    """Return the holder; one that has just got the lock has no description for a moment."""
    for _ in range(_READS):
        if holder := _find_description(_bound_names()):
            return holder
        time.sleep(_READ_PAUSE_S)
    return Holder()


def _names(holder: Holder) -> list[str]:
    """Return the names that describe a holder, without any byte that /proc/net/unix would show as another."""
    # The names of a killed holder may still exist beside those of the next one: PID and time tell them apart.
    prefix = f"{_NAME}:{holder.pid:x}-{holder.since_s:x}:"
    length = _NAME_BYTES - len(prefix) - len("9999:9999:")
    text = quote(json.dumps(attrs.astuple(holder)))
    parts = [text[start : start + length] for start in range(0, len(text), length)]
    return [f"{prefix}{number}:{len(parts)}:{part}" for number, part in enumerate(parts)]


def _find_description(names: set[str]) -> Holder | None:
    """Return the holder that these names describe, or None. Any user can bind a name, so the text is untrusted."""
    pattern = re.compile(re.escape(_as_listed(_NAME)) + r":([\da-f-]{1,20}):(\d{1,4}):(\d{1,4}):([\w.~/%-]+)", re.ASCII)
    parts_by_holder: dict[str, dict[int, tuple[int, str]]] = {}
    for name in names:
        if match := pattern.fullmatch(name):
            parts_by_holder.setdefault(match[1], {})[int(match[2])] = int(match[3]), match[4]
    holders = [holder for parts in parts_by_holder.values() if (holder := _join_parts(parts))]
    return max(holders, key=lambda holder: holder.since_s, default=None)


def _join_parts(parts: dict[int, tuple[int, str]]) -> Holder | None:
    if set(parts) != set(range(len(parts))) or {count for count, _ in parts.values()} != {len(parts)}:
        return None
    try:
        content = json.loads(unquote("".join(parts[number][1] for number in range(len(parts)))))
        pid, folder, since_s, pid_namespace = content
        return Holder(int(pid), str(folder), int(since_s), int(pid_namespace))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _bound_names() -> set[str]:
    try:
        with open(_SOCKETS, encoding="utf-8", errors="replace") as file:
            return {fields[7] for line in file if len(fields := line.split()) > 7}
    except OSError:
        return set()


def _as_listed(name: str) -> str:
    """Return a name as the kernel lists it, with ``@`` for each NUL."""
    return name.replace("\0", "@")


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _time(seconds: int) -> str:
    try:
        return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
