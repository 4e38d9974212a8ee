"""The pipes of a command: its input is written and its output is collected while it runs."""

from __future__ import annotations

import array
import contextlib
import fcntl
import io
import os
import select
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from concmem._native.resources import OpenFile
from concmem.errors import InvalidRequest

__all__ = ["Input", "Output", "Pipes"]

_PIECE_BYTES = 1 << 16
_NOTHING = memoryview(b"")


class Input:
    """
    The pipe to standard input.

    Attributes:
        end: The write end.
        is_streamed: Whether the caller writes to it.
        is_finishing: Whether it is closed once everything is written.
        is_broken: Whether the command does not read any more.
    """

    def __init__(self) -> None:
        self.end = OpenFile()
        self.is_streamed = False
        self.is_finishing = False
        self.is_broken = False
        self._rest = _NOTHING

    def append(self, data: memoryview) -> None:
        """Write this after what is left to write."""
        self._rest = memoryview(bytes(self._rest) + bytes(data)) if self._rest else data

    def finish(self, data: memoryview = _NOTHING) -> None:
        """Write this, and close the pipe at the end. The caller does not write to it any more."""
        self.is_streamed = False
        self.is_finishing = True
        self.append(data)
        if not self._rest:
            self.end.close()
        elif self.end.is_open:
            os.set_blocking(self.end.fileno(), False)

    def write(self) -> None:
        """Write a piece, and close the pipe after the last one, or if the command does not read any more."""
        try:
            self._rest = self._rest[self.end.write(self._rest[:_PIECE_BYTES]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._rest = _NOTHING
            self.is_broken = True
        if self.is_broken or (self.is_finishing and not self._rest):
            self.end.close()

    @property
    def has_data(self) -> bool:
        """Whether something is left to write."""
        return self.end.is_open and bool(self._rest)


class Output:
    """
    The pipe from standard output or standard error, and what was read from it.

    Attributes:
        end: The read end.
        limit_bytes: How much is kept at most, or None.
        dropped_bytes: How much was dropped.
        is_streamed: Whether the caller reads from it.
    """

    def __init__(self, limit_bytes: int | None) -> None:
        self.end = OpenFile()
        self.limit_bytes = limit_bytes
        self.dropped_bytes = 0
        self.is_streamed = False
        self._at_end = False
        # Its buffer is the bytes object that `getvalue` returns, so that the output is in memory only once.
        self._content = io.BytesIO()

    @property
    def has_more(self) -> bool:
        """Whether the pipe may have more to collect."""
        return self.end.is_open and not self._at_end and not self.is_streamed

    def read(self) -> int:
        """Read a piece, if there is one; return its size."""
        try:
            piece = os.read(self.end.fileno(), _PIECE_BYTES)
        except BlockingIOError:
            return 0
        self._at_end = not piece
        room = len(piece) if self.limit_bytes is None else self.limit_bytes - self._content.tell()
        self._content.write(piece[:room] if room < len(piece) else piece)
        self.dropped_bytes += max(0, len(piece) - room)
        return len(piece)

    def empty(self) -> None:
        """Read only what the pipe holds now: a process that still runs may write forever."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self.end.fileno(), termios.FIONREAD, waiting)
        left = waiting[0]
        while left > 0 and self.has_more:
            piece = self.read()
            left = left - piece if piece else 0

    def collect(self) -> None:
        """Collect from now on what the caller read before."""
        if self.is_streamed and self.end.is_open:
            os.set_blocking(self.end.fileno(), False)
        self.is_streamed = False

    def content(self) -> bytes:
        """Return what was read and kept."""
        return self._content.getvalue()

    def take(self) -> bytes:
        """Return the same, and forget it."""
        content, self._content = self._content.getvalue(), io.BytesIO()
        return content


class Pipes:
    """
    All pipes of a command. It owns this process's ends of them.

    Attributes:
        input: Standard input, or None if it is not a pipe.
        outputs: ``stdout`` and ``stderr``, if they are pipes.
    """

    def __init__(self) -> None:
        self.input: Input | None = None
        self.outputs: dict[str, Output] = {}
        self._thread: threading.Thread | None = None
        self._wakers: tuple[OpenFile, OpenFile] | None = None
        self._is_busy = False

    def check_input(self, given: Any, *, is_first: bool) -> None:
        """
        Check the input of a call of ``communicate``.

        Raises:
            InvalidRequest: Standard input is not a pipe, or it was given before.
        """
        if given is not None and self.input is None:
            raise InvalidRequest("input must not be given: standard input is not a PIPE")
        if given is not None and not is_first:
            raise InvalidRequest("input must not be given again: it is written since the first call")

    def interest(self) -> dict[int, int]:
        """Return the descriptors to wait for, each with its events of poll(2)."""
        wanted = {output.end.fileno(): select.POLLIN for output in self.outputs.values() if output.has_more}
        if self.input is not None and self.input.has_data:
            wanted[self.input.end.fileno()] = select.POLLOUT
        return wanted

    def handle(self, ready: Mapping[int, int]) -> None:
        """Read from and write to the descriptors that are ready."""
        for output in self.outputs.values():
            if output.has_more and output.end.fileno() in ready:
                output.read()
        if self.input is not None and self.input.has_data and self.input.end.fileno() in ready:
            self.input.write()

    def transfer(self, until: Sequence[int], timeout_s: float | None) -> bool:
        """
        Write input and collect output until a descriptor of `until` is readable, then read what the pipes still hold.

        Returns:
            Whether one is readable; False after `timeout_s`.
        """
        self.stop_thread()
        self._is_busy = True
        try:
            return self._transfer(until, timeout_s)
        finally:
            self._is_busy = False

    def _transfer(self, until: Sequence[int], timeout_s: float | None, *, only_pipes: bool = False) -> bool:
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            poll = select.poll()  # not a selector, which has its own descriptor that an exception could leave open
            wanted = self.interest()
            if only_pipes and not wanted:
                return False
            for fd, events in (*wanted.items(), *[(fd, select.POLLIN) for fd in until]):
                poll.register(fd, events)
            left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
            ready = dict(poll.poll(None if left_s is None else left_s * 1000))
            self.handle(ready)
            if not ready.keys().isdisjoint(until):
                self.empty()
                return True
            if left_s == 0:
                return False

    def close_unused_input(self) -> None:
        """Close the pipe to standard input if nothing writes to it."""
        if self.input is not None and not self.input.is_streamed and not self.input.has_data:
            self.input.end.close()

    def empty(self) -> None:
        """Read what the pipes hold now."""
        for output in self.outputs.values():
            if output.has_more:
                output.empty()

    def start_thread(self) -> None:
        """Collect the output in a thread, until `stop_thread` or the end of all pipes, unless it is collected now."""
        if self._is_busy or not self.interest() or (self._thread and self._thread.is_alive()):
            return
        self.stop_thread()
        self._wakers = wakers = OpenFile.pipe()
        # It refers to this object, not to the measurement, which ends when nothing refers to it any more.
        self._thread = thread = threading.Thread(
            target=self._transfer, args=((wakers[0].fileno(),), None), kwargs={"only_pipes": True}, daemon=True
        )
        with contextlib.suppress(RuntimeError):  # no more threads can be started: the next call tries again
            thread.start()

    def stop_thread(self) -> bool:
        """Stop the thread, if there is one; return whether there was."""
        thread, wakers = self._thread, self._wakers
        if thread is None or wakers is None:
            return False
        if thread.ident is not None:
            wakers[1].write(memoryview(b"x"))
            thread.join()
        self._thread = self._wakers = None
        return True

    def collected(self, name: str) -> bytes | None:
        """Return what was written to ``stdout`` or ``stderr``; None if that is no pipe, or if the caller reads it."""
        output = self.outputs.get(name)
        return None if output is None or output.is_streamed else output.content()

    def dropped_bytes(self, name: str) -> int:
        """Return how much of the output was dropped."""
        return self.outputs[name].dropped_bytes if name in self.outputs else 0

    def close(self) -> None:
        """Close this process's ends, except those that the caller reads or writes."""
        self.stop_thread()
        for output in self.outputs.values():
            if not output.is_streamed:
                output.end.close()
        if self.input is not None and not self.input.is_streamed:
            self.input.end.close()
