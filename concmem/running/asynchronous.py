"""A command that runs and is measured in asynchronous code: asyncio, uvloop, and trio through anyio."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from concmem._figures.measurement import EndedTree
from concmem._native.shared_memory import native
from concmem.errors import ConcmemError
from concmem.running.async_library import AsyncLibrary, running_library
from concmem.running.async_streams import InputStream, OutputStream
from concmem.running.launched import Launched, Output

if TYPE_CHECKING:
    import concmem
    from concmem._native.request import Request
    from concmem.running.reading import Reading

__all__ = ["AsyncRunning"]

_START_PAUSE_S = 0.0005
_LOOK_S = 0.05
"""How often `readings` checks whether the measurement has ended."""


class AsyncRunning(Launched[Output]):
    """
    A command that is being measured, for asynchronous code. It has the methods of `asyncio.subprocess.Process`.

    No thread waits for it. Use it as an asynchronous context manager, which kills the tree on exit and waits for its
    end. Cancelling `wait` or `communicate` does the same.
    """

    def __init__(self, request: Request) -> None:
        self._library: AsyncLibrary = running_library()
        self._lock: Any = self._library.make_lock()
        self._streams: dict[str, Any] = {}
        self._communicates = False
        super().__init__(request)

    def _keep_collecting(self) -> None:
        """Do nothing: `wait` and `communicate` collect the output, without a thread."""

    @property
    def stdin(self) -> InputStream[Output] | None:
        """The stream to standard input; None if it is not a PIPE."""
        pipe = self._pipes.input
        if "stdin" not in self._streams and pipe is not None and pipe.end.is_open:
            self._streams["stdin"] = InputStream(pipe, self._library, self._request.encode)
        return cast("InputStream[Output] | None", self._streams.get("stdin"))

    @property
    def stdout(self) -> OutputStream[Output] | None:
        """The stream from standard output; None if it is not a PIPE. Once it was used, the caller must read it."""
        return self._output_stream("stdout")

    @property
    def stderr(self) -> OutputStream[Output] | None:
        """The same for standard error."""
        return self._output_stream("stderr")

    def _output_stream(self, name: str) -> OutputStream[Output] | None:
        output = self._pipes.outputs.get(name)
        if name not in self._streams and output is not None and output.end.is_open:
            self._streams[name] = OutputStream(output, self._library, self._request.decoder())
        return cast("OutputStream[Output] | None", self._streams.get(name))

    async def wait(self) -> concmem.Measurement[Output]:
        """
        Wait until the last process of the tree has ended, and return the measurement.

        Cancelling it kills the whole tree and waits for its end. Any number of tasks may wait.

        Raises:
            SamplerError: The sampler was killed.
        """
        async with self._lock:
            ended = await self._ended_tree()
            if self._measurement is None:
                self._measurement = ended.measurement()
            return self._measurement

    async def communicate(self, input: Output | None = None) -> tuple[Output | None, Output | None]:
        """
        Write input, close it, collect the output, wait as `wait` does, and return what ``stdout`` and ``stderr`` wrote.

        Args:
            input: For a command with ``stdin=PIPE``.

        Raises:
            InvalidRequest: Input was given, and standard input is not a PIPE.
        """
        if self._memory is not None:
            self._pipes.check_input(input, is_first=not self._communicates)
            if self._pipes.input is not None and not self._communicates:
                self._pipes.input.finish(self._request.encode(input))
            self._communicates = True
            for output in self._pipes.outputs.values():
                output.collect()
        measured = await self.wait()
        return measured.stdout, measured.stderr

    async def readings(self, every_s: float = 1.0) -> AsyncIterator[Reading]:
        """Yield the last reading every `every_s` seconds, until the measurement ends, and the last one then."""
        due_s, last_t_s = time.monotonic(), -1.0
        is_over = False
        while not is_over:
            due_s += every_s
            while not (is_over := self._is_over()) and (left_s := due_s - time.monotonic()) > 0:
                await self._library.sleep(min(left_s, _LOOK_S))
            reading = self.now()
            if reading is not None and not (is_over and reading.t_s == last_t_s):
                last_t_s = reading.t_s
                yield reading

    def _is_over(self) -> bool:
        return self._memory is None or self._resources.has_ended()

    def _output(self, name: str) -> Any:
        content = self._pipes.collected(name)
        if content is not None and name in self._streams:
            return self._streams[name].finish(content)
        return super()._output(name)

    async def _started(self) -> None:
        """
        Wait until the command is executed.

        Raises:
            CommandError, SamplerError: It could not be.
        """
        _, lib = native()
        try:
            assert self._memory is not None
            while lib.cm_phase(self._memory.head) == lib.CM_PHASE_NEW and not self._resources.has_ended():
                await self._library.sleep(_START_PAUSE_S)
            if lib.cm_phase(self._memory.head) in (lib.CM_PHASE_NEW, lib.CM_PHASE_FAILED):
                await self._ended_tree()
        except BaseException:
            self._must_be_waited_for = False
            self._release()
            raise

    async def _ended_tree(self) -> EndedTree:
        if self._ended is not None:
            return self._ended
        if self._failure is not None:
            raise self._failure
        try:
            self._must_be_waited_for = False
            self._pipes.close_unused_input()
            try:
                await self._transfer()
            except BaseException:
                self.stop()
                await self._library.shielded(self._transfer)
                with contextlib.suppress(ConcmemError, UnicodeError):  # the cancellation takes precedence
                    self._finish()
                raise
            self._finish()
        except BaseException as error:
            if self._ended is None:
                self._fail(error)
            raise
        finally:
            self._close()
        assert self._ended is not None
        return self._ended

    async def _transfer(self) -> None:
        """Write input and collect output until the tree has ended."""
        assert self._memory is not None
        until = (self._resources.pidfd, self._memory.done_fd)
        while True:
            wanted = {**self._pipes.interest(), **dict.fromkeys(until, select.POLLIN)}
            await self._library.wait_for_any(wanted)
            ready = _ready_now(wanted)
            self._pipes.handle(ready)
            if not ready.keys().isdisjoint(until):
                self._pipes.empty()
                return

    async def __aenter__(self) -> AsyncRunning[Output]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._memory is not None and self._resources.is_ours():
                self.stop()
                await self._library.shielded(self.wait)
        except Exception:
            if kind is None:  # an error raised in the block takes precedence
                raise
        finally:
            self._resources.release()
            self._close_streams()

    def _close_streams(self) -> None:
        for stream in self._streams.values():
            stream.close_now()


def _ready_now(wanted: Mapping[int, int]) -> dict[int, int]:
    poll = select.poll()
    for fd, events in wanted.items():
        poll.register(fd, events)
    return dict(poll.poll(0))
