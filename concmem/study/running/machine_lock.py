"""
One machine measures one program of a study at a time: the lock, its holder, and waiting for it.

The lock is an abstract socket name: it needs no folder that all users may write to, and the kernel frees it as soon as
its holder has ended, however that happened. The holder describes itself in the names of further sockets, which every
user can read in /proc/net/unix, however many processes wait, and which end with the holder as well.
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

__all__ = ["Holder", "MachineBusy", "alone", "alone_in_turn", "find_holder"]

_NAME = "\0concmem-bench"
_LOOK_S = 0.5
_NAME_BYTES = 107
"""The length of the longest abstract name that Python and unix(7) both take."""
_SOCKETS = "/proc/net/unix"
_ASKS, _ASK_S = 20, 0.01


@attrs.frozen
class Holder:
    """
    The process that has the machine.

    Attributes:
        pid: Its PID; 0 where it does not say.
        folder: Where it stores its study; "" where it does not say.
        since_s: When it got the machine, in seconds since the epoch; 0 where it does not say.
        pid_namespace: The PID namespace that `pid` belongs to, by its inode number.
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
        holder: The process that has the machine.
    """

    exit_code = 75
    """EX_TEMPFAIL of sysexits.h: the same command can succeed later."""

    def __init__(self, holder: Holder, waited_s: float = 0.0) -> None:
        super().__init__(holder, waited_s)
        self.holder, self._waited_s = holder, waited_s

    def _sentence(self) -> str:
        waited = f"; it had not ended after {format_seconds(self._waited_s)}" if self._waited_s else ""
        return f"{self.holder}{waited}"


@contextmanager
def alone(folder: str = "") -> Iterator[None]:
    """
    Have the machine, among all studies of all users that share its network namespace.

    Args:
        folder: Where the study is stored, for those that wait.

    Raises:
        MachineBusy: Another process has it.
    """
    with contextlib.ExitStack() as stack:
        # Closed last, after the description: a description that can be read is that of the present holder.
        held = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        try:
            held.bind(_NAME)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise MachineBusy(_ask_holder()) from None
        with contextlib.suppress(OSError):  # out of descriptors: then it has no description
            for name in _names(Holder(os.getpid(), folder, int(time.time()), _pid_namespace())):
                stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)).bind(name)
        yield


@contextmanager
def alone_in_turn(
    note: Callable[[str], None],
    *,
    folder: str = "",
    wait_s: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """
    As `alone`, but wait for the process that has the machine, and say which one that is.

    Args:
        note: Called with one sentence for each process that is waited for.
        folder: Where the study is stored.
        wait_s: How long to wait; None for as long as it takes, 0 for not at all.
        clock: Tells the time.
        pause: Passes it.

    Raises:
        MachineBusy: That was not long enough.
    """
    begun_s = clock()
    with contextlib.ExitStack() as stack:
        waits_for: Holder | None = None
        while True:
            try:
                stack.enter_context(alone(folder))
                break
            except MachineBusy as busy:
                waited_s = clock() - begun_s
                if wait_s is not None and waited_s >= wait_s:
                    raise MachineBusy(busy.holder, waited_s if wait_s else 0.0) from None
                if busy.holder != waits_for:
                    note(f"waiting: {busy}, and one machine measures one program at a time")
                waits_for = busy.holder
                pause(_LOOK_S if wait_s is None else min(_LOOK_S, wait_s - waited_s))
        yield


def find_holder() -> Holder | None:
    """The process that has the machine now; None where it is free."""
    names = _bound_names()
    return _described(names) or Holder() if _shown(_NAME) in names else None


def _ask_holder() -> Holder:
    """A process that has just got the machine describes itself a moment later."""
    for _ in range(_ASKS):
        if holder := _described(_bound_names()):
            return holder
        time.sleep(_ASK_S)
    return Holder()


def _names(holder: Holder) -> list[str]:
    """The names that describe a holder; they contain no byte that /proc/net/unix would show as another."""
    # The names of a holder that is being killed may exist for a moment beside those of the next: each has a mark.
    before = f"{_NAME}:{holder.pid:x}-{holder.since_s:x}:"
    length = _NAME_BYTES - len(before) - len("9999:9999:")
    text = quote(json.dumps(attrs.astuple(holder)))
    parts = [text[start : start + length] for start in range(0, len(text), length)]
    return [f"{before}{number}:{len(parts)}:{part}" for number, part in enumerate(parts)]


def _described(names: set[str]) -> Holder | None:
    """The holder that these names describe; None where none does. Any user can bind a name: its text is untrusted."""
    pattern = re.compile(re.escape(_shown(_NAME)) + r":([\da-f-]{1,20}):(\d{1,4}):(\d{1,4}):([\w.~/%-]+)", re.ASCII)
    of_mark: dict[str, dict[int, tuple[int, str]]] = {}
    for name in names:
        if match := pattern.fullmatch(name):
            of_mark.setdefault(match[1], {})[int(match[2])] = int(match[3]), match[4]
    holders = [holder for parts in of_mark.values() if (holder := _put_together(parts))]
    return max(holders, key=lambda holder: holder.since_s, default=None)


def _put_together(parts: dict[int, tuple[int, str]]) -> Holder | None:
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


def _shown(name: str) -> str:
    """A name as the kernel lists it: with ``@`` for each NUL."""
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
