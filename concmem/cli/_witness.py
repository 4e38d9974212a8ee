"""Tell whether a signal came to the whole process group or to concmem alone."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from concmem._paths import SAMPLER

__all__ = ["Witness"]

_GRACE_S = 0.01
"""How long after concmem the witness may get a signal that a program sends to one process after the other."""


class Witness:
    """
    A process in concmem's own process group in which every signal stays pending (csrc/sampler/witness.c).

    A signal that is pending there was sent to the group, and the measured command has received it as well. A pending
    signal cannot be taken back from outside, so each question is asked of one process and a new one takes its place.
    """

    def __init__(self) -> None:
        self._pid = self._end = -1
        self._before = 0  # signals that the processes before this one had, and that were not asked for yet

    def start(self) -> None:
        """Start it, where that is possible; without it no signal counts as one that the group received."""
        self._pid, self._end = _spawn()

    def sent_to_group(self, take_numbers: Callable[[], set[int]]) -> tuple[set[int], set[int]]:
        """
        Return the signals that concmem has received, and those of them that came to its process group.

        Args:
            take_numbers: Gives the numbers that were received since it was last called. Signals are blocked meanwhile,
                so that the next signal is told of by the next process alone.
        """
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            numbers = take_numbers()
            pid, end = self._pid, self._end
            self._pid, self._end = _spawn()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        # kill(2) holds the kernel's lock of all processes until each process of the group has the signal. setpgid(2)
        # waits for that lock, and changes nothing here.
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
        """End it."""
        pid, end, self._pid, self._end = self._pid, self._end, -1, -1
        _end(pid, end)


def _spawn() -> tuple[int, int]:
    """A witness and the end of the pipe that keeps it alive; -1 and -1 where there can be none."""
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
    """The signals that are pending for a process, as a mask with bit n - 1 for signal n."""
    with contextlib.suppress(OSError):
        found = re.search(r"^ShdPnd:\s*([0-9a-f]+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
        return int(found[1], 16) if found else 0
    return 0


def _end(pid: int, end: int) -> None:
    if pid >= 0:
        os.close(end)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
