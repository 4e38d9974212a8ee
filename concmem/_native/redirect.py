"""Redirect standard input, output and error of the command, with the arguments of `subprocess`."""

from __future__ import annotations

import array
import fcntl
import os
import select
import termios

from concmem._native.resources import Resources
from concmem.errors import InvalidRequest
from concmem.options import DEVNULL, PIPE, STDOUT, Options, Target

__all__ = ["Redirection"]


def _is_open(fd: int) -> bool:
    try:
        os.get_inheritable(fd)
    except (OSError, OverflowError):
        return False
    return True


class Redirection:
    """
    The three standard descriptors of a command, and the output that is read from its pipes.

    `resources` owns and closes everything that is opened here.

    Attributes:
        fds: The descriptors that become 0, 1 and 2.
    """

    def __init__(self, resources: Resources, options: Options) -> None:
        stdin, stdout, stderr = options["stdin"], options["stdout"], options["stderr"]
        self._resources = resources
        self._collected: dict[str, bytearray] = {}
        self._readers: dict[str, int] = {}
        # Before anything is opened here: the kernel allocates the lowest free descriptor, so the next file that is
        # opened could get the number of a standard file that is closed in this process.
        self._closed = {number for number in range(3) if not _is_open(number)}
        if stdin == PIPE:
            raise InvalidRequest("stdin must not be PIPE: use a file or a file descriptor")
        first = self._open_target("stdin", stdin, 0, os.O_RDONLY)
        second = self._open_target("stdout", stdout, 1, os.O_WRONLY)
        third = second if stderr == STDOUT else self._open_target("stderr", stderr, 2, os.O_WRONLY)
        self.fds = (first, second, third)

    def _open_target(self, name: str, target: Target, inherited: int, mode: int) -> int:
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
            raise InvalidRequest(
                f"{name} must be an open file, a file descriptor, PIPE or DEVNULL, not {target!r}"
            ) from None
        if fd in self._closed or not _is_open(fd):
            raise InvalidRequest(f"{name} must be an open file, and {target!r} is not open")
        return fd

    def wait(self, *until: int) -> None:
        """Collect output until one of the descriptors in `until` is readable, then empty the pipes."""
        poll = select.poll()  # not a selector, which has its own descriptor that an exception could leave open
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
            self._empty_pipe(name, reader)

    def _empty_pipe(self, name: str, reader: int) -> None:
        """Read only what the pipe holds now: a process that still runs may write forever."""
        waiting = array.array("i", [0])
        fcntl.ioctl(reader, termios.FIONREAD, waiting)
        before = len(self._collected[name])
        while len(self._collected[name]) - before < waiting[0] and self._read(name, reader):
            pass

    def _read(self, name: str, reader: int) -> bool:
        """Read once; return whether there may be more."""
        try:
            piece = os.read(reader, 1 << 16)
        except BlockingIOError:
            return False
        self._collected[name] += piece
        return bool(piece)

    def collected(self, name: str) -> bytes | None:
        """Return what was written to ``stdout`` or ``stderr``; None if it was not a PIPE."""
        return bytes(self._collected[name]) if name in self._collected else None
