"""One start of one program: what it said and when, what it needed, and whether it was ended early."""

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
from concmem.study.running.other_work import OtherWork, Watch
from concmem.study.workloads import WORKLOADS, Workload

__all__ = ["Attempt", "Limits", "Said", "attempt"]

KEPT_LINES = 20
LINE_BYTES = 500
_LOOK_S = 0.1
_COLOUR = re.compile(rb"\x1b\[[0-9;?]*[ -/]*[@-~]")


@attrs.frozen
class Limits:
    """
    When to end a run that does not end by itself.

    Attributes:
        launch_s: From the start of the root until all tasks must be launched.
        finish_s: From then until the program must have ended.
        memory_bytes: What the tree may need, or None.
    """

    launch_s: float
    finish_s: float
    memory_bytes: int | None = None


@attrs.frozen
class Said:
    """
    A line of a program's that belongs to its workload.

    Attributes:
        at_s: When it arrived.
        count: The number in it.
    """

    at_s: float
    count: int


@attrs.frozen
class Attempt:
    """
    What one start gave.

    Attributes:
        measurement: What it needed.
        begun_s: CLOCK_MONOTONIC just before the start of the root.
        said: When each word of its workload arrived first, from `begun_s`, with the count behind it. Upper bounds:
            what the runtime needs to start, and the way through the pipe, are in them.
        most_on_machine: The most threads that were seen on the whole machine meanwhile, looked at a few times a second;
            they count against limits of the machine.
        ended: Which limit of `Limits` ended it: ``launch``, ``finish``; ``wrong`` where it said what it must not; or ""
            where it ended by itself.
        wrong: What that was.
        last_line: The last line on its standard output.
        lines: The last lines of both streams, in order of arrival.
        errors: The last lines of standard error alone.
        other_work: What others took of the CPUs meanwhile, or None.
    """

    measurement: Measurement
    begun_s: float
    said: Mapping[str, Said]
    most_on_machine: int
    ended: Literal["", "launch", "finish", "wrong"]
    wrong: str
    last_line: str
    lines: tuple[str, ...]
    errors: tuple[str, ...]
    other_work: OtherWork | None = None

    def said_s(self, word: str) -> float | None:
        """When it said that word, or None."""
        return self.said[word].at_s if word in self.said else None


class _Stream:
    """The lines of one pipe, in bounded room however much arrives."""

    def __init__(self, reader: OpenFile) -> None:
        self._reader = reader
        self.descriptor = reader.fileno()
        self.open = True
        self._rest = b""

    def read(self) -> list[str]:
        """Lines that are complete now; the last one need not end in a newline once the pipe is closed."""
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


class _Listener:
    """What a program has said so far."""

    def __init__(self, workload: Workload, tasks: int, begun_s: float) -> None:
        self._workload, self._tasks, self.begun_s = workload, tasks, begun_s
        self.said: dict[str, Said] = {}
        self.wrong = ""
        self.most_on_machine = 0
        self.last_line = ""
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.errors: deque[str] = deque(maxlen=KEPT_LINES)

    def hear(self, stream: _Stream, is_error: bool) -> None:
        for line in stream.read():
            self.lines.append(line)
            if is_error:
                self.errors.append(line)
                continue
            self.last_line = line
            if self.wrong or (heard := self._workload.parse(line)) is None:
                continue
            self.wrong = self._workload.wrong(*heard, self._tasks, self.said)
            if not self.wrong:
                self.said[heard[0]] = Said(self.now_s(), int(heard[1]))

    @property
    def launch_s(self) -> float | None:
        """When all was launched."""
        launched = self.said.get(self._workload.launched)
        return None if launched is None else launched.at_s

    def now_s(self) -> float:
        return time.monotonic() - self.begun_s


def attempt(
    command: Sequence[str],
    env: Mapping[str, str],
    tasks: int,
    limits: Limits,
    work: Workload = WORKLOADS["sleep"],
    look: Callable[[], None] = lambda: None,
) -> Attempt:
    """
    Start a program, listen to it, and end it when it passes a limit.

    An exception (Ctrl-C, or what `look` raises, which is called several times a second) ends the whole tree before it
    travels on.

    Raises:
        ConcmemError: It could not be started.
    """
    pipes = [OpenFile.pipe(), OpenFile.pipe()]
    streams = [_Stream(reader) for reader, _ in pipes]
    try:
        watch = Watch()
        # The clock starts before the root does: every time taken from it errs on the long side.
        listener = _Listener(work, tasks, time.monotonic())
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
            ended = _listen(running, listener, streams, limits, look)
            measurement = running.wait()
    finally:
        for stream in streams:
            stream.close()
    return Attempt(
        measurement=measurement,
        begun_s=listener.begun_s,
        said=dict(listener.said),
        most_on_machine=listener.most_on_machine,
        ended=ended,
        wrong=listener.wrong,
        last_line=listener.last_line,
        lines=tuple(listener.lines),
        errors=tuple(listener.errors),
        other_work=watch.so_far(),
    )


def _listen(
    running: concmem.Running,
    listener: _Listener,
    streams: Sequence[_Stream],
    limits: Limits,
    look: Callable[[], None],
) -> Literal["", "launch", "finish", "wrong"]:
    """Listen until the tree has ended; say which limit ended it."""
    ended: Literal["", "launch", "finish", "wrong"] = ""
    with selectors.DefaultSelector() as selector:
        over = selector.register(running.fileno(), selectors.EVENT_READ)
        for stream, is_error in zip(streams, (False, True), strict=True):
            selector.register(stream.descriptor, selectors.EVENT_READ, (stream, is_error))
        while True:
            timeout_s = _LOOK_S if ended else max(0.0, _limit_s(listener, limits) - listener.now_s())
            events = selector.select(min(timeout_s, _LOOK_S))
            look()
            listener.most_on_machine = max(listener.most_on_machine, threads_on_machine())
            for key, _ in events:
                if key.data is not None:
                    stream, is_error = key.data
                    listener.hear(stream, is_error)
                    if not stream.open:
                        selector.unregister(stream.descriptor)
            if any(key.fd == over.fd for key, _ in events):
                break
            if not ended:
                ended = _passed(listener, limits)
                if ended:
                    running.stop()
    for stream, is_error in zip(streams, (False, True), strict=True):
        _drain(stream, is_error, listener)
    return ended


def _limit_s(listener: _Listener, limits: Limits) -> float:
    return limits.launch_s if listener.launch_s is None else listener.launch_s + limits.finish_s


def _passed(listener: _Listener, limits: Limits) -> Literal["", "launch", "finish", "wrong"]:
    if listener.wrong:
        return "wrong"
    if listener.now_s() < _limit_s(listener, limits):
        return ""
    return "launch" if listener.launch_s is None else "finish"


def _drain(stream: _Stream, is_error: bool, listener: _Listener) -> None:
    """Hear what is still in the pipe, without waiting for a survivor that keeps its other end open."""
    with selectors.DefaultSelector() as selector, suppress(OSError):
        selector.register(stream.descriptor, selectors.EVENT_READ)
        while stream.open and selector.select(0):
            listener.hear(stream, is_error)
