"""Describe how a command was killed. What it used until then can be less than what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from concmem.units import format_bytes, signal_name

if TYPE_CHECKING:
    from concmem.model import Exit, Figure, OutOfMemory

__all__ = ["ending_phrase", "with_ending_note"]

_BY = {
    "timeout": "by the timeout",
    "memory_limit": "by the memory limit",
    "cpu_limit": "by the limit on CPU time",
    "processes_limit": "by the limit on processes",
    "interrupted": "by an interrupt",
}


def _by_killer(oom: OutOfMemory, memory_limit_bytes: int | None) -> str:
    limit = "" if memory_limit_bytes is None else f" (memory limit: {format_bytes(memory_limit_bytes)})"
    if oom.limit_bytes is not None:
        limit = f" (limit of its control group: {format_bytes(oom.limit_bytes)})"
    return f"{'' if oom.certain else 'probably '}ended by the OOM killer{limit}"


def ending_phrase(exit: Exit, oom: OutOfMemory | None, memory_limit_bytes: int | None = None) -> str:
    """
    Return "it was ended by the timeout" or a similar phrase; "" if the command ended by itself.

    Args:
        exit: How its root ended.
        oom: The processes that the OOM killer killed, or None.
        memory_limit_bytes: The limit of the surrounding control group; named if the OOM killer killed a process.
    """
    if exit.reason == "cgroup_limit":
        limit = "" if oom is None or oom.limit_bytes is None else f" ({format_bytes(oom.limit_bytes)})"
        return f"it was ended by the limit of its control group{limit}"
    if exit.reason == "oom" and oom is not None:
        return f"it was {_by_killer(oom, memory_limit_bytes)}"
    ended = _BY.get(exit.reason, "")
    if not ended and exit.signal is not None:
        ended = f"by {signal_name(exit.signal)}"
    parts = [f"it was ended {ended}"] if ended else []
    if oom is not None:
        count = "a process of it was" if oom.kills == 1 else f"{oom.kills} processes of it were"
        parts.append(f"{count} {_by_killer(oom, memory_limit_bytes)}")
    return " and ".join(parts)


def with_ending_note(peak: Figure, exit: Exit, oom: OutOfMemory | None) -> Figure:
    """Return the figure; if the command was killed, with a note that it may need more."""
    when = ending_phrase(exit, oom)
    if not when or peak.bytes is None:
        return peak
    notes = f"what it used until {when}: it may need more"
    return attrs.evolve(peak, note="; ".join(filter(None, (notes, peak.note))))
