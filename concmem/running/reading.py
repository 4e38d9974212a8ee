"""What a command that runs needs at the moment: the sampler's last reading, from the memory that it shares."""

from __future__ import annotations

from typing import Any

import attrs

from concmem._native.shared_memory import SharedMemory, native

__all__ = ["ReadProcess", "Reading", "last_reading"]


@attrs.frozen
class ReadProcess:
    """
    A process at a reading.

    Attributes:
        pid: Its PID.
        name: Its name in the kernel; "" if too many processes were seen to keep it.
        rss_bytes: Its RSS.
    """

    pid: int
    name: str
    rss_bytes: int


@attrs.frozen
class Reading:
    """
    The tree at one reading of the sampler. It is a single reading: `Measurement.peak` is what to rely on.

    Attributes:
        t_s: When it was made, in seconds from the start of the root.
        rss_bytes: The sum of RSS over the tree: pages that several processes share count for each.
        pss_bytes: The last sum of PSS, in which they count once; None if it has not been read. It is read less often.
        pss_t_s: When that was made, in seconds from the start of the root; None if it has not been read.
        alive: How many processes of the tree were alive.
        largest: The processes with the largest RSS, at most five, the largest first.
    """

    t_s: float
    rss_bytes: int
    pss_bytes: int | None
    pss_t_s: float | None
    alive: int
    largest: tuple[ReadProcess, ...]


def last_reading(memory: SharedMemory) -> Reading | None:
    """Return the last reading; None if there was none yet."""
    ffi, lib = native()
    read: Any = ffi.new("struct cm_reading *")
    if not lib.cm_last_reading(memory.head, read):
        return None
    has_pss = read.pss_t_ns != 0
    return Reading(
        t_s=read.t_ns / 1e9,
        rss_bytes=read.rss_bytes,
        pss_bytes=read.pss_bytes if has_pss else None,
        pss_t_s=read.pss_t_ns / 1e9 if has_pss else None,
        alive=read.alive,
        largest=tuple(
            [
                ReadProcess(read.largest_pid[i], memory.process_name(read.largest_row[i]), read.largest_rss_bytes[i])
                for i in range(read.nlargest)
            ]
        ),
    )
