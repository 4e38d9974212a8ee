"""One start of one program: its output and when it arrived, its memory, and whether it was stopped."""

from __future__ import annotations

import os
import re
import selectors
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

import attrs

import concmem
from concmem._escaping import escape_bytes
from concmem._native.resources import OpenFile
from concmem.host import threads_on_machine
from concmem.model import Measurement
from concmem.study.running.other_work import CpuMeter, OtherWork
from concmem.study.workloads import WORKLOADS, Workload

__all__ = ["Attempt", "Limits", "Message", "run_once"]

KEPT_LINES = 20
LINE_BYTES = 500
_POLL_S = 0.1
_COLOUR = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]")


@attrs.frozen
class Limits:
    """
    When to stop a run that does not end by itself.

    Attributes:
        launch_s: The time from the start of the root until all tasks must be launched.
        finish_s: The time from then until the program must have ended.
        memory_bytes: The memory limit of the tree, or None.
    """

    launch_s: float
    finish_s: float
    memory_bytes: int | None = None


@attrs.frozen
class Message:
    """
    A line of output that belongs to the workload.

    Attributes:
        at_s: When it arrived, from `Attempt.begun_s`.
        count: The number in it.
    """

    at_s: float
    count: int


@attrs.frozen
class Attempt:
    """
    The result of one start.

    Attributes:
        measurement: The measurement.
        begun_s: CLOCK_MONOTONIC just before the start of the root.
        messages: The lines that belong to the workload, by their first word. The times are upper bounds: they contain
            the start of the runtime and the way through the pipe.
        max_machine_threads: The most threads that were seen on the whole machine during the run, which count against
            its limits. They are read a few times a second.
        ended: Why the program was stopped: ``launch`` or ``finish`` (that limit of `Limits` was exceeded), ``wrong``
            (it printed a wrong line), or "" (it was not stopped).
        wrong: Why the line was wrong.
        last_line: The last line on its standard output.
        lines: The last lines of both streams, in order of arrival.
        errors: The last lines of standard error alone.
        other_work: The CPU time of other processes during the run, or None if unknown.
    """

    measurement: Measurement
    begun_s: float
    messages: Mapping[str, Message]
    max_machine_threads: int
    ended: Literal["", "launch", "finish", "wrong"]
    wrong: str
    last_line: str
    lines: tuple[str, ...]
    errors: tuple[str, ...]
    other_work: OtherWork | None = None

    def message_s(self, word: str) -> float | None:
        """Return when the line with that word arrived, or None."""
        return self.messages[word].at_s if word in self.messages else None


class _Stream:
    """The lines of one pipe, in bounded memory however much arrives."""

    def __init__(self, reader: OpenFile) -> None:
        self._reader = reader
        self.descriptor = reader.fileno()
        self.open = True
        self._rest = b""

    def read(self) -> list[str]:
        """Return the lines that are complete; at the end of the pipe the last one needs no newline."""
        try:
            data = os.read(self.descriptor, 65536)
        except BlockingIOError:
            return []
        self.open = bool(data)
        *lines, rest = (self._rest + data).split(b"\n")
        if not self.open and rest:
            lines.append(rest)
        self._rest = rest[:LINE_BYTES]
        return [text for line in lines if (text := _printable(line[:LINE_BYTES]))]

    def close(self) -> None:
        self._reader.close()


def _printable(line: bytes) -> str:
    return escape_bytes(_COLOUR.sub(b"", line).expandtabs().rstrip())


class _Output:
    """The output of a program so far."""

    def __init__(self, workload: Workload, tasks: int, begun_s: float) -> None:
        self._workload, self._tasks, self.begun_s = workload, tasks, begun_s
        self.messages: dict[str, Message] = {}
        self.wrong = ""
        self.max_machine_threads = 0
        self.last_line = ""
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.errors: deque[str] = deque(maxlen=KEPT_LINES)

    def read_lines(self, stream: _Stream, is_error: bool) -> None:
        for line in stream.read():
            self.lines.append(line)
            if is_error:
                self.errors.append(line)
                continue
            self.last_line = line
            if self.wrong or (parsed := self._workload.parse(line)) is None:
                continue
            word, count = parsed
            self.wrong = self._workload.wrong(word, count, self._tasks, self.messages)
            if not self.wrong:
                self.messages[word] = Message(self.now_s(), int(count))

    @property
    def launch_s(self) -> float | None:
        """When all tasks were launched."""
        launched = self.messages.get(self._workload.launched)
        return None if launched is None else launched.at_s

    def now_s(self) -> float:
        return time.monotonic() - self.begun_s


def run_once(
    command: Sequence[str],
    env: Mapping[str, str],
    tasks: int,
    limits: Limits,
    work: Workload = WORKLOADS["sleep"],
    poll: Callable[[], None] = lambda: None,
) -> Attempt:
    """
    Start a program, read its output, and stop it when it exceeds a limit.

    `poll` is called several times a second. If it raises an exception, or Ctrl-C does, the whole tree is killed first.

    Raises:
        ConcmemError: The program could not be started.
    """
    pipes = [OpenFile.pipe(), OpenFile.pipe()]
    streams = [_Stream(reader) for reader, _ in pipes]
    try:
        cpu_meter = CpuMeter()
        # The clock starts before the root does, so times from it are never too short.
        output = _Output(work, tasks, time.monotonic())
        try:
            running = concmem.start(
                list(command),
                env=dict(env),
                memory_limit_bytes=limits.memory_bytes,
                taskstats=True,
                stdin=concmem.DEVNULL,
                stdout=pipes[0][1].fileno(),
                stderr=pipes[1][1].fileno(),
            )
        finally:
            for _, writer in pipes:
                writer.close()
        with running:
            ended = _read_until_end(running, output, streams, limits, poll)
            measurement = running.wait()
    finally:
        for stream in streams:
            stream.close()
    return Attempt(
        measurement=measurement,
        begun_s=output.begun_s,
        messages=dict(output.messages),
        max_machine_threads=output.max_machine_threads,
        ended=ended,
        wrong=output.wrong,
        last_line=output.last_line,
        lines=tuple(output.lines),
        errors=tuple(output.errors),
        other_work=cpu_meter.read(),
    )


def _read_until_end(
    running: concmem.Running,
    output: _Output,
    streams: Sequence[_Stream],
    limits: Limits,
    poll: Callable[[], None],
) -> Literal["", "launch", "finish", "wrong"]:
    """Read the output until the tree has ended; return why the program was stopped, or ""."""
    ended: Literal["", "launch", "finish", "wrong"] = ""
    with selectors.DefaultSelector() as selector:
        tree_end = selector.register(running.fileno(), selectors.EVENT_READ)
        for stream, is_error in zip(streams, (False, True), strict=True):
            selector.register(stream.descriptor, selectors.EVENT_READ, (stream, is_error))
        while True:
            timeout_s = _POLL_S if ended else max(0.0, _limit_s(output, limits) - output.now_s())
            events = selector.select(min(timeout_s, _POLL_S))
            poll()
            output.max_machine_threads = max(output.max_machine_threads, threads_on_machine())
            for key, _ in events:
                if key.data is not None:
                    stream, is_error = key.data
                    output.read_lines(stream, is_error)
                    if not stream.open:
                        selector.unregister(stream.descriptor)
            if any(key.fd == tree_end.fd for key, _ in events):
                break
            if not ended:
                ended = _why_stop(output, limits)
                if ended:
                    running.stop()
    for stream, is_error in zip(streams, (False, True), strict=True):
        _drain(stream, is_error, output)
    return ended


def _limit_s(output: _Output, limits: Limits) -> float:
    return limits.launch_s if output.launch_s is None else output.launch_s + limits.finish_s


def _why_stop(output: _Output, limits: Limits) -> Literal["", "launch", "finish", "wrong"]:
    if output.wrong:
        return "wrong"
    if output.now_s() < _limit_s(output, limits):
        return ""
    return "launch" if output.launch_s is None else "finish"


def _drain(stream: _Stream, is_error: bool, output: _Output) -> None:
    """Read what is left in the pipe, without waiting for a surviving process that keeps its other end open."""
    with selectors.DefaultSelector() as selector, suppress(OSError):
        selector.register(stream.descriptor, selectors.EVENT_READ)
        while stream.open and selector.select(0):
            output.read_lines(stream, is_error)
