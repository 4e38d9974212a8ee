"""What measuring cost, what it may have missed, and which processes still run."""

from __future__ import annotations

from typing import Any, Literal

import attrs

from concmem._escaping import escape_fields, escape_text
from concmem._files.stored_form import older

__all__ = ["LeftProcess", "SamplerReport", "Survivor"]


@attrs.frozen
class LeftProcess:
    """
    A process that still ran when its measurement ended.

    Attributes:
        pid: Its PID; 0 if it is not known.
        name: Its name in the kernel (at most 15 bytes); "" if it could not be read.
    """

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.pid or 'PID unknown'} ({escape_text(self.name) or 'name unknown'})"


SurvivorReason = Literal["frozen", "traced", "uninterruptible", "not_permitted", "unknown"]

_SURVIVOR_SENTENCES: dict[str, str] = {
    "frozen": "it is in a frozen control group, and ends when the group is thawed",
    "traced": "another process traces it (ptrace), and must wait for it before it can be reaped",
    "uninterruptible": "it waits in the kernel and ignores signals (state D)",
    "not_permitted": "it belongs to another user, and this user may not kill it",
    "unknown": "it was killed, and did not end in time",
}


@attrs.frozen
class Survivor(LeftProcess):
    """
    A process that the sampler tried to kill, and that still ran when the sampler gave up.

    Attributes:
        reason: ``frozen``, ``traced``, ``uninterruptible``, ``not_permitted`` or ``unknown``.
    """

    reason: SurvivorReason

    @property
    def sentence(self) -> str:
        """What `reason` means."""
        return _SURVIVOR_SENTENCES[self.reason]


_MOST_SURVIVORS = 1 << 16
"""The capacity of the sampler's process table."""


def _from_count(survivors: Any) -> Any:
    """Convert the survivors of a stored measurement: up to schema 2 only their number was stored."""
    if type(survivors) is not int:
        return survivors
    if not 0 <= survivors <= _MOST_SURVIVORS:
        raise ValueError(f"survivors must be from 0 to {_MOST_SURVIVORS}, not {survivors}")
    return [{"pid": 0, "name": "", "reason": "unknown"}] * survivors


@attrs.frozen(field_transformer=escape_fields)
class SamplerReport:
    """
    What measuring cost, and what it may have missed.

    Attributes:
        interval_s: The requested time between two readings; None if it followed from `cpu_budget`.
        ticks: How many readings of the tree were made.
        late_ticks: How many readings began more than half an interval late.
        longest_gap_s: The longest time between two readings.
        dropped_rows: With a fixed interval, readings that were due but not made, because the one before took too long
            or the sampler had no CPU. The timeline lacks these rows.
        dropped_processes: Processes that did not fit into the process table. All sums still include them.
        cpu_s: The sampler's own CPU time.
        rss_bytes: The sampler's own resident memory, without the recording that it shares with this process; None if
            the command ended before the sampler read it.
        pss_readings, pss_s: How many readings of smaps_rollup were made, and the time that they took.
        refused_readings: Readings that the kernel refused, for example of another user's process.
        floor_bytes: The sampler's own size at launch. The root's ``ru_maxrss`` cannot be smaller. None if it was not
            read, because the root's ``ru_maxrss`` was far larger.
        survivors: Processes that the sampler tried to kill and that did not end, each with the reason.
        unseen: At most this many processes of the tree started and ended between two readings, and are not listed.
        inexact_windows: With ``windows``, how often a high-water mark was reset late. Memory that was touched and freed
            just then can be missing.
        lost_exit_records: With ``taskstats``, how often exit records were lost: the kernel dropped them because they
            came too fast, or the parent of the process was not known yet.
        statm_exact: Whether statm counts every page immediately here, found by trying.
        missing: Requested sources that were not available, each with one sentence.
        cpu_budget: The share of one CPU that the sampler was allowed; None with a fixed interval.
    """

    interval_s: float | None
    ticks: int
    late_ticks: int
    longest_gap_s: float
    dropped_rows: int
    dropped_processes: int
    cpu_s: float
    rss_bytes: int | None
    pss_readings: int
    pss_s: float
    refused_readings: int
    floor_bytes: int | None
    survivors: tuple[Survivor, ...] = attrs.field(metadata=older(_from_count))
    unseen: int = 0
    inexact_windows: int = 0
    lost_exit_records: int = 0
    statm_exact: bool = False
    missing: dict[str, str] = attrs.field(factory=dict)
    cpu_budget: float | None = None
