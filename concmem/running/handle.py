"""A command that runs and is measured: `Running`, with the methods of `subprocess.Popen`."""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Iterator
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from concmem._figures.measurement import EndedTree
from concmem._native.shared_memory import native
from concmem.running.launched import Launched, Output

if TYPE_CHECKING:
    import concmem
    from concmem._native.request import Request
    from concmem.running.reading import Reading

__all__ = ["Running"]


class Running(Launched[Output]):
    """
    A command that is being measured. It has the attributes and methods of `subprocess.Popen`, and some of its own.

    Call `wait` or `communicate`, or use the object as a context manager, which kills the tree on exit. It does not
    change signal handlers, and it reaps no other child of this process.
    """

    def __init__(self, request: Request) -> None:
        self._files: dict[str, Any] = {}
        self._communicates = False
        super().__init__(request)

    @property
    def stdin(self) -> IO[Output] | None:
        """The file object of the pipe to standard input; None if it is not a PIPE."""
        file: IO[Output] | None = self._file("stdin")
        return file

    @property
    def stdout(self) -> IO[Output] | None:
        """
        The file object of the pipe from standard output; None if it is not a PIPE.

        Once it was used, the caller must read it: the measurement does not have this output, and a command that writes
        more than the pipe holds waits for the reader.
        """
        file: IO[Output] | None = self._file("stdout")
        return file

    @property
    def stderr(self) -> IO[Output] | None:
        """The same for standard error."""
        file: IO[Output] | None = self._file("stderr")
        return file

    def _file(self, name: str) -> Any:
        if name not in self._files:
            from concmem._native.streams import open_file

            self._waiting.acquire()
            try:
                was_collecting = self._pipes.stop_thread()
                if (file := open_file(self._pipes, name, self._request.wrap)) is not None:
                    self._files[name] = file
                if was_collecting:
                    self._pipes.start_thread()
            finally:
                self._waiting.release()
        return self._files.get(name)

    def poll(self) -> int | None:
        """
        Return `returncode`: None while the root runs.

        Raises:
            SamplerError: The sampler was killed.
        """
        self._keep_collecting()
        code = self.returncode
        if code is None and self._failure is not None:
            raise self._failure
        if code is None and self._memory is not None and self._resources.has_ended():
            return self._wait_until_ended().ending.returncode
        return code

    def wait(self, timeout: float | None = None) -> concmem.Measurement[Output]:
        """
        Wait until the last process of the tree has ended, and return the measurement.

        Of pipes that the caller does not use, input is closed and output is collected. A KeyboardInterrupt (or any
        other exception that a signal handler raises) kills the whole tree before it propagates.

        Args:
            timeout: In seconds. The command goes on after it; `timeout_s` is the option that ends it.

        Raises:
            TimeoutExpired: The timeout is over.
            SamplerError: The sampler was killed.
        """
        # No `with`: when a second exception arrives at the end of such a block, CPython 3.11 keeps the first one and
        # its frames in a reference cycle. An RLock: after an exception between the next two lines, this thread still
        # holds it, and must be able to acquire it again.
        begun_s = time.monotonic()
        if not self._waiting.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            raise self._expired(timeout)  # another thread waits
        try:
            ended = self._ended_tree(timeout, begun_s)
            if self._measurement is None:
                self._measurement = ended.measurement()
            return self._measurement
        finally:
            self._waiting.release()

    def communicate(
        self, input: Output | None = None, timeout: float | None = None
    ) -> tuple[Output | None, Output | None]:
        """
        Write input, close it, collect the output, wait as `wait` does, and return what ``stdout`` and ``stderr`` wrote.

        Args:
            input: For a command with ``stdin=PIPE``, in the first call only.
            timeout: In seconds. After it, call this again: no output is lost.

        Raises:
            TimeoutExpired, SamplerError: As `wait`.
            InvalidRequest: Input was given again, or standard input is not a PIPE.
        """
        if not self._waiting.acquire(timeout=-1 if timeout is None else max(0.0, timeout)):
            raise self._expired(timeout)
        try:
            if self._memory is not None:
                self._take_files_back(input)
            measured = self.wait(timeout)
            return measured.stdout, measured.stderr
        finally:
            self._waiting.release()

    def _take_files_back(self, input: Any) -> None:
        """Write the input, and collect the rest of what the caller has read from file objects so far."""
        pipe = self._pipes.input
        self._pipes.check_input(input, is_first=not self._communicates)
        if pipe is not None and not self._communicates:
            data = self._request.encode(input)
            if (file := self._files.get("stdin")) is not None and not file.closed:
                with contextlib.suppress(BrokenPipeError):
                    file.flush()
            pipe.finish(data)
        self._communicates = True
        for output in self._pipes.outputs.values():
            output.collect()

    def readings(self, every_s: float = 1.0) -> Iterator[Reading]:
        """
        Yield the last reading every `every_s` seconds, until the measurement ends, and the last one then.

        The output of the command is collected in the meantime. `wait` returns the measurement.
        """
        due_s, last_t_s = time.monotonic(), -1.0
        is_over = False
        while not is_over:
            due_s += every_s
            is_over = self._ends_before(due_s)
            reading = self.now()
            if reading is not None and not (is_over and reading.t_s == last_t_s):
                last_t_s = reading.t_s
                yield reading

    def _ends_before(self, due_s: float) -> bool:
        """Wait until then, or until the measurement ends; return whether it has ended."""
        while self._memory is not None and not self._resources.has_ended():
            left_s = due_s - time.monotonic()
            if left_s <= 0:
                return False
            poll = select.poll()
            poll.register(self.fileno(), select.POLLIN)
            poll.poll(left_s * 1000)
        return True

    def _wait_until_ended(self) -> EndedTree:
        """Do what `wait` does, without importing the classes of a measurement, for ``concmem run --quiet``."""
        self._waiting.acquire()
        try:
            return self._ended_tree(None)
        finally:
            self._waiting.release()

    def _wait_until_started(self) -> None:
        """
        Wait until the command is executed.

        Raises:
            CommandError, SamplerError: It could not be.
        """
        _, lib = native()
        try:
            assert self._memory is not None
            while not lib.cm_wait_started(self._resources.c_struct, self._memory.head):
                continue
            if lib.cm_phase(self._memory.head) in (lib.CM_PHASE_NEW, lib.CM_PHASE_FAILED):
                self._ended_tree(None)
        except BaseException:
            self._must_be_waited_for = False
            self._release()
            raise

    def _expired(self, timeout_s: float | None) -> Exception:
        """Return the error of a call that was not over in time."""
        from concmem.running.failures import TimeoutExpired

        return TimeoutExpired(self.args, timeout_s, self._pipes.collected("stdout"), self._pipes.collected("stderr"))

    def _ended_tree(self, timeout_s: float | None, begun_s: float = 0.0) -> EndedTree:
        """
        Wait until the tree has ended, or raise an error of `wait`.

        The lock must be held.
        """
        if self._ended is not None:
            return self._ended
        if self._failure is not None:
            raise self._failure
        is_over = False
        try:
            self._must_be_waited_for = False
            assert self._memory is not None
            self._pipes.close_unused_input()
            left_s = None if timeout_s is None else max(0.0, timeout_s - (time.monotonic() - begun_s))
            is_over = not self._pipes.transfer((self._resources.pidfd, self._memory.done_fd), left_s)
            if is_over:
                self._must_be_waited_for = True
            else:
                self._finish()
        except BaseException as error:
            is_over = False
            self._fail(error)
            raise
        finally:
            if not is_over:
                self._close()
        if self._ended is None:
            raise self._expired(timeout_s)
        return self._ended

    def __enter__(self) -> Running[Output]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._memory is not None and self._resources.is_ours():  # a copy in a forked child kills nothing
                self.stop()
                self.wait()
        except BaseException as failure:
            self._resources.release()
            if kind is None or not isinstance(failure, Exception):  # an error raised in the block takes precedence
                raise
        finally:
            self._close_files()

    def _close_files(self) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):  # what was not written cannot be written any more
                file.close()
