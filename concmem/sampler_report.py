"""What measuring cost, what it may have missed, and the processes that it left behind."""

from __future__ import annotations

from typing import Literal

import attrs

from concmem._escaping import escape_fields, escape_text

__all__ = ["LeftProcess", "SamplerReport", "Survivor"]


@attrs.frozen
class LeftProcess:
    """
    A process that was alive when its measurement ended.

    Attributes:
        pid: Its number; 0 where that is not known.
        name: Its name in the kernel (at most 15 bytes); "" where that may not be read.
    """

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.pid or 'PID unknown'} ({escape_text(self.name) or 'name unknown'})"


SurvivorReason = Literal["frozen", "traced", "uninterruptible", "not_permitted", "unknown"]

_SURVIVOR_SENTENCES: dict[str, str] = {
    "frozen": "it is in a frozen control group, and ends when that is thawed",
    "traced": "another process traces it, and has to wait for it first",
    "uninterruptible": "it waits in the kernel, where no signal reaches it (state D)",
    "not_permitted": "it belongs to another user, and this one may not kill it",
    "unknown": "it had been killed, and did not end in time",
}


@attrs.frozen
class Survivor(LeftProcess):
    """
    A process that was to be killed, and was still there when the sampler gave up.

    Attributes:
        reason: ``frozen``, ``traced``, ``uninterruptible``, ``not_permitted`` or ``unknown``.
    """

    reason: SurvivorReason

    @property
    def sentence(self) -> str:
        """What `reason` means."""
        return _SURVIVOR_SENTENCES[self.reason]


@attrs.frozen(field_transformer=escape_fields)
class SamplerReport:
    """
    What the measuring itself cost, and what it may have missed.

    Attributes:
        interval_s: The time between two readings that was asked for.
        ticks: How many readings of the tree were made.
        late_ticks: How many readings began more than half an interval after they were due.
        longest_gap_s: The longest time between two readings.
        dropped_rows: Readings that were due and never made, because the one before took too long or the CPU was away:
            rows that the timeline would have and has not.
        dropped_processes: Processes that found no row in the process table; they are in every sum all the same.
        cpu_s: The sampler's own CPU time.
        rss_bytes: The sampler's own resident memory, without the recording that it shares with this process; None
            where all was over before it looked at itself.
        pss_readings, pss_s: How many readings of smaps_rollup were made, and the time that they took.
        refused_readings: Readings that the kernel refused (another user's process, say).
        floor_bytes: The sampler's own size at launch. No ``ru_maxrss`` of the root can read less. None where it was
            not looked at, because the root's stood far above it.
        survivors: Processes that were to be killed and did not end, each with the reason; empty where nothing is left.
        unseen: At most so many processes of the tree came and went between two readings and are not listed.
        inexact_windows: With ``windows``, how often a high-water mark could not be set back at once: what was touched
            and given up meanwhile can be missing.
        lost_exit_records: With ``taskstats``, how often records were dropped because they came too fast: by the kernel,
            or one of a child whose parent was not known yet.
        statm_exact: Whether statm counts every page at once here, found by trying.
        missing: Sources that were asked for and could not be had, each with one sentence.
    """

    interval_s: float
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
    survivors: tuple[Survivor, ...]
    unseen: int = 0
    inexact_windows: int = 0
    lost_exit_records: int = 0
    statm_exact: bool = False
    missing: dict[str, str] = attrs.field(factory=dict)
