"""One machine runs one program of a study at a time, always: who has it, and waiting for it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from concmem.errors import ConcmemError

__all__ = ["MachineBusy", "alone", "alone_in_turn"]

# A name without a file: it needs no folder that all users may write to, and is free as soon as its holder has ended,
# however that happened.
_NAME = "\0concmem-bench"
_LOOK_S = 0.5


class MachineBusy(ConcmemError):
    """
    Somebody else's study is at work on this machine.

    Attributes:
        pid: Whose; 0 where that cannot be known.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self.pid = pid

    def _sentence(self) -> str:
        who = f"process {self.pid}" if self.pid else "another process"
        return f"{who} is running a study on this machine"


@contextmanager
def alone() -> Iterator[None]:
    """
    Have the machine to oneself, among all studies of all users that share its network namespace.

    Raises:
        MachineBusy: Another has it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as held:
        try:
            held.bind(_NAME)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise MachineBusy(_holder()) from None
        held.listen()
        yield


@contextmanager
def alone_in_turn(note: Callable[[str], None]) -> Iterator[None]:
    """`alone`, but wait for whoever has the machine, and say so."""
    with contextlib.ExitStack() as stack:
        told = False
        while True:
            try:
                stack.enter_context(alone())
            except MachineBusy as busy:
                if not told:
                    note(f"waiting: {busy}, and one machine runs one program at a time")
                told = True
                time.sleep(_LOOK_S)
            else:
                break
        yield


def _holder() -> int:
    """Who listens at the name: the kernel tells those who connect."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)
        try:
            asking.connect(_NAME)
        except OSError:  # it has just ended, or has not yet begun to listen
            return 0
        credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, _, _ = struct.unpack("3i", credentials)
    return 0 if pid == os.getpid() else int(pid)
