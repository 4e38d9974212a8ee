"""Find out whether a signal came to the whole process group or to concmem alone."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from concmem._files.paths import SAMPLER

__all__ = ["Witness"]

_GRACE_S = 0.01
"""How much later than concmem the witness may get a signal that a program sends to one process after another."""


class Witness:
    """
    A process in concmem's own process group in which every signal stays pending (csrc/sampler/witness.c).

    A signal that is pending there was sent to the group, so the measured command has received it as well. A pending
    signal cannot be cleared from outside. So each query uses up one witness process, and a new one replaces it.
    """

    def __init__(self) -> None:
        self._pid = self._end = -1
        self._before = 0  # signals that earlier witnesses had, not queried yet

    def start(self) -> None:
        """Start the process, if possible. Without it, every signal counts as sent to concmem alone."""
        self._pid, self._end = _spawn()

    def sent_to_group(self, take_numbers: Callable[[], set[int]]) -> tuple[set[int], set[int]]:
        """
        Return the signals that concmem has received, and the subset that came to its process group.

        Args:
            take_numbers: Returns the numbers received since its last call. Signals are blocked during the call, so that
                the next signal is pending in the next witness only.
        """
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            numbers = take_numbers()
            pid, end = self._pid, self._end
            self._pid, self._end = _spawn()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        # kill(2) holds tasklist_lock until each process of the group has the signal. setpgid(2) waits for that lock,
        # and changes nothing here.
        with contextlib.suppress(OSError):
            os.setpgid(0, os.getpgrp())
        asked = sum(1 << number - 1 for number in numbers)
        pending = self._before | _pending(pid)
        deadline = time.monotonic() + _GRACE_S
        while pid >= 0 and asked & ~pending and time.monotonic() < deadline:
            time.sleep(_GRACE_S / 10)
            pending |= _pending(pid)
        _end(pid, end)
        self._before = pending & ~asked
        return numbers, {number for number in numbers if pending & 1 << number - 1}

    def close(self) -> None:
        """End the process."""
        pid, end, self._pid, self._end = self._pid, self._end, -1, -1
        _end(pid, end)


def _spawn() -> tuple[int, int]:
    """Return the PID of a new witness and the pipe end that keeps it alive, or -1 and -1 on an error."""
    try:
        reader, writer = os.pipe()
    except OSError:
        return -1, -1
    try:
        pid = os.posix_spawn(
            SAMPLER,
            [SAMPLER.name, "witness"],
            {},
            file_actions=[(os.POSIX_SPAWN_DUP2, reader, 0)],
            setsigmask=signal.valid_signals(),
        )
    except OSError:
        os.close(writer)
        return -1, -1
    finally:
        os.close(reader)
    return pid, writer


def _pending(pid: int) -> int:
    """Return the signals that are pending for a process, as a mask with bit n - 1 for signal n."""
    with contextlib.suppress(OSError):
        found = re.search(r"^ShdPnd:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
        return int(found[1], 16) if found else 0
    return 0


def _end(pid: int, end: int) -> None:
    if pid >= 0:
        os.close(end)
        # SIGKILL: it may have been stopped. It has not been reaped, so the PID is still its own.
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
