"""The pipes of a command as asynchronous streams, with the methods of those of asyncio."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Any, Generic, cast

from concmem._native.pipes import Input
from concmem._native.pipes import Output as OutputPipe
from concmem.running.async_library import AsyncLibrary
from concmem.running.launched import Output

__all__ = ["InputStream", "OutputStream"]

_PIECE_BYTES = 1 << 16


class InputStream(Generic[Output]):
    """The stream to the standard input of a command, as `asyncio.StreamWriter`."""

    def __init__(self, pipe: Input, library: AsyncLibrary, encode: Callable[[Any], memoryview]) -> None:
        pipe.is_streamed = True
        self._pipe = pipe
        self._library = library
        self._encode = encode

    def write(self, data: Output) -> None:
        """Write what the pipe takes at once. `drain` or `Running.wait` write the rest."""
        if self._pipe.end.is_open:
            self._pipe.append(self._encode(data))
            self._pipe.write()

    async def drain(self) -> None:
        """
        Wait until everything is written.

        Raises:
            BrokenPipeError: The command does not read any more.
        """
        while self._pipe.has_data:
            await self._library.wait_for_any({self._pipe.end.fileno(): select.POLLOUT})
            if self._pipe.has_data:
                self._pipe.write()
        if self._pipe.is_broken:
            raise BrokenPipeError("the command has closed its standard input")

    def close(self) -> None:
        """Close the stream once everything is written."""
        self._pipe.finish()

    def close_now(self) -> None:
        """Close the stream."""
        self._pipe.end.close()

    def is_closing(self) -> bool:
        """Return whether it is closed, or will be once everything is written."""
        return self._pipe.is_finishing or not self._pipe.end.is_open

    async def wait_closed(self) -> None:
        """Wait until a stream that is closing is closed."""
        try:
            await self.drain()
        except BrokenPipeError:
            self.close_now()


class OutputStream(Generic[Output]):
    """A stream from the output of a command, as `asyncio.StreamReader`."""

    def __init__(self, pipe: OutputPipe, library: AsyncLibrary, decoder: Any) -> None:
        pipe.is_streamed = True
        self._pipe = pipe
        self._library = library
        self._decoder = decoder
        self._nothing: Any = b"" if decoder is None else ""
        self._unread = bytearray(pipe.take())
        self._decoded: Any = self._nothing
        self._at_end = False

    async def read(self, n: int = -1) -> Output:
        """Return at most `n` bytes or characters, as soon as there are some, or all until the end; none at the end."""
        while not self._at_end and n != 0 and (n < 0 or not self._available()):
            await self._fill()
        return self._take(len(self._available()) if n < 0 else n)

    async def readline(self) -> Output:
        """Return a line with its newline; at the end what is left, or nothing."""
        newline: Any = b"\n" if self._decoder is None else "\n"
        searched = 0
        while (at := self._available().find(newline, searched)) < 0 and not self._at_end:
            searched = len(self._available())
            await self._fill()
        return self._take(at + 1 if at >= 0 else len(self._available()))

    def at_eof(self) -> bool:
        """Return whether everything has been read."""
        return self._at_end and not self._available()

    def __aiter__(self) -> OutputStream[Output]:
        return self

    async def __anext__(self) -> Output:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    def finish(self, content: bytes) -> Output:
        """Return what the caller has not read, and `content`, which was read from the pipe after it."""
        rest: Any = self._take(len(self._available()))
        return cast(Output, rest + (content if self._decoder is None else self._decoder.decode(content, final=True)))

    def close_now(self) -> None:
        """Close the stream."""
        self._at_end = True
        self._pipe.end.close()

    def _available(self) -> Any:
        return self._unread if self._decoder is None else self._decoded

    def _take(self, n: int) -> Output:
        available = self._available()
        taken: Any = bytes(available[:n]) if self._decoder is None else available[:n]
        if self._decoder is None:
            del self._unread[:n]
        else:
            self._decoded = available[n:]
        return cast(Output, taken)

    async def _fill(self) -> None:
        if not self._pipe.end.is_open:
            self._at_end = True
            return
        try:
            piece = os.read(self._pipe.end.fileno(), _PIECE_BYTES)
        except BlockingIOError:
            await self._library.wait_for_any({self._pipe.end.fileno(): select.POLLIN})
            return
        self._at_end = not piece
        if self._decoder is None:
            self._unread += piece
        else:
            self._decoded += self._decoder.decode(piece, final=not piece)
