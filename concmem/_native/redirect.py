"""Standard input, output and error of the command, given as in `subprocess`."""

from __future__ import annotations

import array
import fcntl
import os
import select
import subprocess
import termios
from typing import IO, Any

from concmem._native.resources import Resources
from concmem.errors import InvalidRequest

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Redirection", "Target"]

DEVNULL = subprocess.DEVNULL
PIPE = subprocess.PIPE
STDOUT = subprocess.STDOUT

Target = int | IO[Any] | None


def _is_open(fd: int) -> bool:
    try:
        os.get_inheritable(fd)
    except (OSError, OverflowError):
        return False
    return True


class Redirection:
    """
    The three descriptors that a command gets, and what is read back from it.

    What is opened for it is among its resources, and closed with those.

    Attributes:
        fds: For descriptor 0, 1 and 2.
    """

    def __init__(self, resources: Resources, stdin: Target, stdout: Target, stderr: Target) -> None:
        self._resources = resources
        self._collected: dict[str, bytearray] = {}
        self._readers: dict[str, int] = {}
        # Looked at before anything of ours is opened: the kernel gives out the lowest free number, so what we open
        # next could stand where the target would take it for its own input or output.
        self._closed = {number for number in range(3) if not _is_open(number)}
        if stdin == PIPE:
            raise InvalidRequest("stdin cannot be PIPE: give a file or a descriptor to read from")
        first = self._one("stdin", stdin, 0, os.O_RDONLY)
        second = self._one("stdout", stdout, 1, os.O_WRONLY)
        third = second if stderr == STDOUT else self._one("stderr", stderr, 2, os.O_WRONLY)
        self.fds = (first, second, third)

    def _one(self, name: str, target: Target, inherited: int, mode: int) -> int:
        if target is None and inherited not in self._closed:
            return inherited
        if target is None or target == DEVNULL:
            return self._resources.open_null(inherited, mode)
        if target == PIPE:
            self._readers[name], writer = self._resources.open_pipe(inherited)
            self._collected[name] = bytearray()
            return writer
        try:
            fd = target if isinstance(target, int) else target.fileno()
        except (AttributeError, OSError, ValueError):
            raise InvalidRequest(f"{name} is an open file, a descriptor, PIPE or DEVNULL, not {target!r}") from None
        if fd in self._closed or not _is_open(fd):
            raise InvalidRequest(f"{name} is {target!r}, which is not an open file")
        return fd

    def wait(self, *until: int) -> None:
        """Collect what is written until one of the descriptors can be read, and the rest that lies in the pipes."""
        poll = select.poll()  # not a selector: it has a descriptor of its own, which an exception could leave open
        for fd in until:
            poll.register(fd, select.POLLIN)
        names = {reader: name for name, reader in self._readers.items()}
        for reader in names:
            poll.register(reader, select.POLLIN)
        ended = False
        while not ended:
            for fd, _ in poll.poll():
                if fd not in names:
                    ended = True
                elif not self._read(names[fd], fd):
                    poll.unregister(fd)
        for name, reader in self._readers.items():
            self._read_what_lies_there(name, reader)

    def _read_what_lies_there(self, name: str, reader: int) -> None:
        """No more than that: a process that lives on may write for ever."""
        waiting = array.array("i", [0])
        fcntl.ioctl(reader, termios.FIONREAD, waiting)
        before = len(self._collected[name])
        while len(self._collected[name]) - before < waiting[0] and self._read(name, reader):
            pass

    def _read(self, name: str, reader: int) -> bool:
        """Whether there may be more."""
        try:
            piece = os.read(reader, 1 << 16)
        except BlockingIOError:
            return False
        self._collected[name] += piece
        return bool(piece)

    def collected(self, name: str) -> bytes | None:
        """What was written to ``stdout`` or ``stderr``; None where it was no PIPE."""
        return bytes(self._collected[name]) if name in self._collected else None
