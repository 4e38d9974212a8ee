"""Wait for a measured command, and handle signals while it runs."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from concmem._files.blocking import waiting_call
from concmem.cli._streams import say
from concmem.cli._witness import Witness
from concmem.units import signal_name

if TYPE_CHECKING:
    from concmem._figures.measurement import EndedTree
    from concmem._figures.outcome import Ending
    from concmem.running import Running

__all__ = ["Ended", "Signals", "ended_as_by_control_c", "exit_code", "wait_for"]

_OTHERS = {
    *(signal.SIGKILL, signal.SIGSTOP),
    *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT),  # job control
    *(signal.SIGCHLD, signal.SIGURG, signal.SIGWINCH),  # end no process
    *(signal.SIGILL, signal.SIGTRAP, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV, signal.SIGSYS),
}
"""Signals that are not handled. The last line has faults of this process, which cannot continue after them."""

_BLOCKED_S = 0.5
"""After a signal, a write that has not gone on for this long, and for no more than twice as long, is given up."""

_LOOK_S = 0.25
"""How often to check whether the root has ended."""

_LIVES_ON_S = 2.0
"""How long the rest of the tree may outlive the root before a line says that concmem waits for it."""


class Signals:
    """
    Handle signals while a command runs.

    A signal to the whole process group needs no action: the target received it too. A signal to concmem alone is passed
    on to the root, as timeout(1) does. The second Ctrl-C kills the tree, and so does the first one after the root has
    ended. SIGTERM and SIGHUP kill the tree at once. Signals that were ignored when concmem was started (``nohup``,
    ``&`` in a script) stay ignored. Job control works as usual.

    A signal that comes while output is written ends the write, by `Ended`, if the reader does not read. Otherwise the
    output is written: timeout(1) sends its signal twice.
    """

    def __init__(self) -> None:
        self.running: Running | None = None
        self.stopped_by: int | None = None
        self._interrupts = 0
        self._received: set[int] = set()
        self._witness = Witness()
        self._root_pidfd = -1
        self._wake_fd = -1
        self._ends_write = 0
        self._seen_count = 0

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Install the handlers; restore the previous ones on exit."""
        self._wake_fd, waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        before = {
            number: signal.signal(number, self._on)
            for number in (signal.valid_signals() - _OTHERS)
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
        }
        waker_before = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        self._witness.start()
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.set_wakeup_fd(waker_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._witness.close()
            fds = (self._wake_fd, waker, self._root_pidfd)
            self._wake_fd = self._root_pidfd = -1
            for fd in fds:
                if fd >= 0:
                    os.close(fd)

    def attach(self, running: Running) -> None:
        """Set the tree to kill on a signal. Kill it at once if a signal has already come."""
        self.running = running
        if self.stopped_by is not None:
            running.stop()

    def _on(self, number: int, frame: FrameType | None) -> None:
        if waiting_call.is_going_on and not self._ends_write:
            self._ends_write = number
            signal.signal(signal.SIGALRM, self._on_timer)
            signal.setitimer(signal.ITIMER_REAL, _BLOCKED_S, _BLOCKED_S)
        if number not in (signal.SIGTERM, signal.SIGHUP):
            self._interrupts += number == signal.SIGINT
            if number != signal.SIGINT or (self._interrupts < 2 and not (self.running and self.running.root_ended)):
                self._received.add(number)
                return
        self.stopped_by = number
        if self.running is not None:
            self.running.stop()

    def _on_timer(self, number: int, frame: FrameType | None) -> None:
        """Raise `Ended` if the write that was going on at the last call is still going on."""
        if waiting_call.is_going_on and waiting_call.count == self._seen_count:
            raise Ended(self._ends_write)
        self._seen_count = waiting_call.count

    def wait(self, running: Running, timeout_s: float) -> bool:
        """Wait for the tree, a signal or the timeout, and pass signals on. Return whether the tree has ended."""
        self._pass_on(running)
        poller = select.poll()
        poller.register(running.fileno(), select.POLLIN)
        poller.register(self._wake_fd, select.POLLIN)
        ready = dict(poller.poll(timeout_s * 1000))
        if self._wake_fd in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_fd, 4096)
        self._pass_on(running)
        return running.fileno() in ready

    def _take(self) -> set[int]:
        numbers, self._received = self._received, set()
        return numbers

    def _pass_on(self, running: Running) -> None:
        while self._received:
            numbers, by_group = self._witness.sent_to_group(self._take)
            for number in sorted(numbers - by_group):
                self._send(running, number)

    def _send(self, running: Running, number: int) -> None:
        """Send a signal to the root."""
        try:
            if self._root_pidfd < 0 and running.root_pid is not None:
                self._root_pidfd = os.pidfd_open(running.root_pid)
            # The root is not reaped before `root_ended` is set, so the PID was still the root's.
            if self._root_pidfd >= 0 and not running.root_ended:
                signal.pidfd_send_signal(self._root_pidfd, number)
        except ProcessLookupError:
            return
        except OSError as error:
            say(f"cannot pass {signal_name(number)} on to the command: {error.strerror}")


class Ended(KeyboardInterrupt):
    """
    A signal came that ends the command, such as SIGTERM or SIGHUP; handled like Ctrl-C.

    Attributes:
        number: The number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return f"ended by {signal.Signals(self.number).name}"


@contextlib.contextmanager
def ended_as_by_control_c() -> Iterator[None]:
    """Raise `Ended` at the first SIGTERM or SIGHUP, unless it is ignored. Ignore further ones."""

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


def _left_over() -> str:
    """Return the processes of the tree that are still alive, as "1234 (sleep), 1240 (sh)", or ""."""
    import psutil

    names = []
    for sampler in psutil.Process().children():
        for process in sampler.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                names.append(f"{process.pid} ({process.name()})")
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def wait_for(running: Running, signals: Signals) -> EndedTree:
    """Wait for the whole tree, pass signals on, and print one line if the tree outlives its root."""
    outlived_s: float | None = None
    printed = False
    while not signals.wait(running, _LOOK_S):
        if printed or not running.root_ended:
            continue
        outlived_s = time.monotonic() if outlived_s is None else outlived_s
        if time.monotonic() - outlived_s < _LIVES_ON_S:
            continue
        printed = True
        if names := _left_over():
            say(f"the command has ended; waiting for the processes that it left running: {names} (Ctrl-C kills them)")
    return running._wait_until_ended()


def exit_code(ending: Ending, signals: Signals) -> int:
    """Return the exit status of ``concmem run``."""
    if ending.reason in ("timeout", "cpu_limit"):
        return 124
    if ending.reason in ("memory_limit", "processes_limit"):  # the root may have ended with 0 long before
        return 128 + signal.SIGKILL
    if ending.is_stopped and signals.stopped_by is not None:
        return 128 + signals.stopped_by
    return ending.status
