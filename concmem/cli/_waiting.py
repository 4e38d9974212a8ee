"""Wait for a measured command, and what signals mean meanwhile."""

from __future__ import annotations

import contextlib
import select
import signal
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from concmem.cli._streams import say

if TYPE_CHECKING:
    from concmem.measure import Running
    from concmem.model import Measurement

__all__ = ["Ended", "Signals", "ended_as_by_control_c", "exit_code", "wait_for"]

_LOOK_S = 0.25
"""How often we look whether the root has ended."""

_LIVES_ON_S = 2.0
"""How long after the root's end the rest of its tree may live before the user is told that we wait for it."""


class Signals:
    """
    What concmem does on the signals that people end a command with, while one runs.

    The first Ctrl-C is the target's own affair: it is in the terminal's foreground group and has got it too. The
    second, or one while only left-over processes live, ends the tree; SIGTERM and SIGHUP do so at once. What was
    ignored when concmem was started (``nohup``, ``&`` in a script) stays ignored.
    """

    def __init__(self) -> None:
        self.running: Running | None = None
        self.stopped_by: int | None = None
        self._interrupts = 0

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Meanwhile they mean that, and afterwards what they meant before."""
        before = {
            number: signal.signal(number, self._on)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) != signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def attach(self, running: Running) -> None:
        """End that tree, at once where a signal has come already."""
        self.running = running
        if self.stopped_by is not None:
            running.stop()

    def _on(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts < 2 and not (self.running is not None and self.running.root_ended):
                return
        self.stopped_by = number
        if self.running is not None:
            self.running.stop()


class Ended(KeyboardInterrupt):
    """
    SIGTERM or SIGHUP came, and is to end what Ctrl-C would.

    Attributes:
        number: Which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return f"ended by {signal.Signals(self.number).name}"


@contextlib.contextmanager
def ended_as_by_control_c() -> Iterator[None]:
    """Raise `Ended` at the first SIGTERM or SIGHUP, unless it is ignored; more of them change nothing."""

    def end(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise Ended(number)

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers if signal.getsignal(number) != signal.SIG_IGN}
    try:
        for number in before:
            signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _over(running: Running, timeout_s: float) -> bool:
    poller = select.poll()
    poller.register(running.fileno(), select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def _left_over() -> str:
    """The processes of the tree that still live, as "1234 (sleep), 1240 (sh)"; "" where none was found."""
    import psutil

    names = []
    for sampler in psutil.Process().children():
        for process in sampler.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                names.append(f"{process.pid} ({process.name()})")
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def wait_for(running: Running) -> Measurement:
    """Wait for the whole tree, and tell the user once when it outlives its root."""
    told = False
    while not _over(running, _LOOK_S):
        if told or not running.root_ended or _over(running, _LIVES_ON_S):
            continue
        told = True
        if names := _left_over():
            say(f"the command has ended but left running: {names}; Ctrl-C ends what is left")
    return running.wait()


def exit_code(measurement: Measurement, signals: Signals) -> int:
    """What ``concmem run`` exits with."""
    if measurement.exit.reason == "timeout":
        return 124
    if measurement.exit.reason == "memory_limit":  # the root may have ended well before what it left was over it
        return 128 + signal.SIGKILL
    if measurement.exit.reason == "interrupted" and signals.stopped_by is not None:
        return 128 + signals.stopped_by
    return measurement.exit.status
