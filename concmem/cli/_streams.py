"""Standard output and standard error: each write is whole, and one that failed shows in the exit status."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

import click

from concmem._escaping import escape_text

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["FAILED", "open_closed", "say", "sentence", "settle", "show", "tell", "write_whole"]

FAILED = 125
"""The exit status where output was lost and the command itself would end with 0."""


class _Whole(io.RawIOBase):
    """
    A descriptor that takes all of each write, or raises and keeps the error.

    A process that shares the descriptor may leave O_NONBLOCK on it, and Python then drops what does not fit at once.

    Attributes:
        error: The first error of a write, until the user has been told of it.
        failed: Whether any write has failed.
        was_closed: Whether the stream was closed when Python began: each write fails then.
    """

    def __init__(self, fd: int, name: str, *, was_closed: bool) -> None:
        self._fd = fd
        self._name = name
        self.was_closed = was_closed
        self.error: OSError | None = None
        self.failed = False

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            try:
                if self.was_closed:
                    raise OSError(errno.EBADF, os.strerror(errno.EBADF))
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                poller = select.poll()
                poller.register(self._fd, select.POLLOUT)
                poller.poll()
            except OSError as error:
                error.filename = self._name
                if not self.failed:
                    self.error = error
                self.failed = True
                raise
        return size


_raw: list[_Whole] = []


def _made_whole(stream: TextIO, name: str, *, was_closed: bool = False) -> TextIO:
    stream.flush()
    raw = _Whole(stream.fileno(), name, was_closed=was_closed)
    _raw.append(raw)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        newline="\n",
        line_buffering=stream.isatty() or name == "standard error",
    )


def open_closed() -> None:
    """
    Open each standard stream that was closed when Python began, to /dev/null.

    In ascending order, so that each gets its own number: a file that is opened later would get it otherwise, and with
    it what is meant for the stream. What is written to a closed standard output is lost; to be silent is what a
    standard error is closed for.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            fd = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            os.set_inheritable(fd, True)
            stream = io.TextIOWrapper(io.FileIO(fd, mode, closefd=False), encoding="utf-8", errors="replace")
            whole = _made_whole(stream, "standard output", was_closed=True) if name == "stdout" else stream
            setattr(sys, name, whole)


def write_whole() -> None:
    """Have all that is written to the two output streams from now on be written whole."""
    # Streams that a program has put in their place are its own affair.
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        sys.stdout = _made_whole(sys.stdout, "standard output")
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr = _made_whole(sys.stderr, "standard error")


def sentence(error: BaseException) -> str:
    """What an error says, in the order in which people write it: what it is about, then what is wrong."""
    if isinstance(error, OSError) and error.strerror and type(error).__str__ is OSError.__str__:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return str(error) or type(error).__name__


def say(sentence: str) -> None:
    """Tell the user something in one line, text from outside escaped; that it was lost shows in the exit status."""
    with contextlib.suppress(OSError):
        click.echo(f"concmem: {escape_text(sentence)}", err=True)


def show(line: str = "") -> None:
    """Print a line that the user asked for, text from outside escaped."""
    click.echo(escape_text(line))


def tell(error: BaseException, sentence: str) -> None:
    """Tell the user of an error, and not once more when the command ends."""
    for raw in _raw:
        if raw.error is error:
            raw.error = None
    say(sentence)


def settle(status: int) -> int:
    """
    Write what is still buffered, and return the exit status: 125 where output was lost and `status` is 0.

    What could not be written is forgotten: Python would try it again at exit, and change the exit status.
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
        if status != 128 + 13:  # ended as by SIGPIPE, which says nothing either
            say(f"{error.filename}: {error.strerror}")
    _raw.clear()
    return status
