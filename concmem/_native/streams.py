"""The pipes of a command as file objects, as `subprocess.Popen` has them."""

from __future__ import annotations

import io
import os
import threading
from typing import TYPE_CHECKING, Any

from concmem._native.pipes import Output, Pipes
from concmem._native.resources import OpenFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

__all__ = ["open_file"]


class _Stream(io.RawIOBase):
    """One end of a pipe. The descriptor belongs to C, so no exception can leave it open."""

    def __init__(self, end: OpenFile) -> None:
        super().__init__()
        self._end = end

    def fileno(self) -> int:
        if self.closed or not self._end.is_open:  # its number can be another file's
            raise ValueError("I/O operation on closed file")
        return self._end.fileno()

    def close(self) -> None:
        if not self.closed:
            self._end.close()
        super().close()


class _Reader(_Stream):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        return os.readv(self.fileno(), [buffer])


class _Writer(_Stream):
    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        self.fileno()
        return self._end.write(memoryview(data).cast("B"))


def _pump(before: bytes, source: OpenFile, sink: OpenFile) -> None:
    """Write what was already read into another pipe, and then what comes from the first."""
    piece = before
    try:
        while piece:
            rest = memoryview(piece)
            while rest:
                rest = rest[sink.write(rest) :]
            piece = os.read(source.fileno(), 1 << 16)
    except BrokenPipeError:  # the caller has closed the file object
        pass
    finally:
        source.close()
        sink.close()


def _reading_end(output: Output) -> OpenFile:
    """Return a descriptor that gives the whole output, also what has been collected."""
    before = output.take()
    os.set_blocking(output.end.fileno(), True)
    if not before:
        return output.end
    reader, writer = OpenFile.pipe()
    os.set_blocking(reader.fileno(), True)
    source, output.end = output.end, reader
    threading.Thread(target=_pump, args=(before, source, writer), daemon=True).start()
    return reader


def open_file(pipes: Pipes, name: str, wrap: Callable[..., Any]) -> Any:
    """
    Give a pipe to the caller, who uses it through the file object that is returned; None if there is no such pipe.

    Args:
        pipes: The pipes of a command.
        name: ``stdin``, ``stdout`` or ``stderr``.
        wrap: Makes a text file of a binary one, or returns it as it is.
    """
    given, output = pipes.input, pipes.outputs.get(name)
    if name == "stdin" and given is not None and given.end.is_open:
        given.is_streamed = True
        os.set_blocking(given.end.fileno(), True)
        return wrap(io.BufferedWriter(_Writer(given.end)), write_through=True)
    if output is not None and output.end.is_open:
        output.is_streamed = True
        return wrap(io.BufferedReader(_Reader(_reading_end(output))))
    return None
