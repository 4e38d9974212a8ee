"""Standard output and standard error: write everything, and report a failed write in the exit status."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

from concmem._escaping import escape_text
from concmem._files.blocking import waiting_call

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["FAILED", "finish_output", "open_closed", "report_error", "say", "sentence", "show", "write_whole"]

FAILED = 125
"""The exit status if output was lost and the command would end with 0."""


class _WholeWriter(io.RawIOBase):
    """
    A file descriptor on which each write is complete, or raises and keeps the error.

    A process that shares the descriptor may leave O_NONBLOCK set. Python would then drop what does not fit at once.
    When a signal has ended a write that had to wait for a reader, all further output is dropped.

    Attributes:
        error: The first error of a write, until it has been printed.
        failed: Whether any write has failed.
        was_closed: Whether the stream was closed when Python started. Then each write fails.
    """

    def __init__(self, fd: int, name: str, *, was_closed: bool) -> None:
        self._fd = fd
        self._name = name
        self.was_closed = was_closed
        self.error: OSError | None = None
        self.failed = False
        self._is_given_up = False

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest and not self._is_given_up:
            try:
                if self.was_closed:
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
                with waiting_call:
                    rest = rest[self._write(rest) :]
            except OSError as error:
                error.filename = self._name
                if not self.failed:
                    self.error = error
                self.failed = True
                raise
            except BaseException:
                self._is_given_up = not self._wait_for_reader(0)
                raise
        return size

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            self._wait_for_reader()
            return 0

    def _wait_for_reader(self, timeout_ms: int | None = None) -> bool:
        poller = select.poll()
        poller.register(self._fd, select.POLLOUT)
        return bool(poller.poll(timeout_ms))


_raw: list[_WholeWriter] = []


def _whole_stream(stream: TextIO, name: str, *, was_closed: bool = False) -> TextIO:
    stream.flush()
    raw = _WholeWriter(stream.fileno(), name, was_closed=was_closed)
    _raw.append(raw)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        # What a terminal cannot show must not end the command: standard error does the same.
        errors="backslashreplace" if stream.errors == "strict" else stream.errors,
        newline="\n",
        line_buffering=stream.isatty() or name == "standard error",
    )


def open_closed() -> None:
    """
    Open each standard stream that was closed when Python started, to /dev/null.

    The order is ascending, so that each stream gets its own number. Otherwise a file that is opened later would get
    the number, and the stream's output. Writing to a closed standard output is an error. Writing to a closed standard
    error is not: users close it to silence the command.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            os.set_inheritable(fd, True)
            stream = io.TextIOWrapper(io.FileIO(fd, mode, closefd=False), encoding="utf-8", errors="replace")
            whole = _whole_stream(stream, "standard output", was_closed=True) if name == "stdout" else stream
            setattr(sys, name, whole)


def write_whole() -> None:
    """Replace the two output streams by ones on which each write is complete."""
    # Leave streams alone that the calling program has replaced.
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        sys.stdout = _whole_stream(sys.stdout, "standard output")
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr = _whole_stream(sys.stderr, "standard error")


def sentence(error: BaseException) -> str:
    """Return the message of an error: what it concerns first, then what is wrong."""
    if isinstance(error, OSError) and error.strerror and type(error).__str__ is OSError.__str__:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return str(error) or type(error).__name__


def say(sentence: str) -> None:
    """Print one line to standard error, text from outside escaped. A failed write changes the exit status."""
    with contextlib.suppress(OSError):
        print(f"concmem: {escape_text(sentence)}", file=sys.stderr, flush=True)


def show(line: str = "") -> None:
    """Print a line to standard output, text from outside escaped."""
    print(escape_text(line), flush=True)


def report_error(error: BaseException, sentence: str) -> None:
    """Print an error, and do not print it again when the command ends."""
    for raw in _raw:
        if raw.error is error:
            raw.error = None
    say(sentence)


def finish_output(status: int) -> int:
    """
    Flush the buffers and return the exit status: 125 if output was lost and `status` is 0.

    What could not be written is discarded. Otherwise Python would try again at exit, and change the exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    for raw in _raw:
        raw.was_closed = False
    lost = [raw.error for raw in _raw if raw.error is not None]
    if status == 0 and any(raw.failed for raw in _raw):
        status = FAILED
    for error in lost:
        if status != 128 + 13:  # SIGPIPE prints nothing either
            say(f"{error.filename}: {error.strerror}")
    _raw.clear()
    return status
