"""
The words of a measurement: frozen, with units in their names, and free of any way to measure.

Bytes and seconds everywhere. Nothing here imports numpy or the native extension.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import attrs

from concmem._escaping import escape_fields
from concmem._lazy import Later
from concmem.host import Host
from concmem.sampler_report import LeftProcess, SamplerReport
from concmem.timeline import Timeline

__all__ = ["SCHEMA", "Exit", "Figure", "Measurement", "OutOfMemory", "Process", "Status"]

SCHEMA = 3
"""
The number of the stored form, in every file that is written.

1: the first. 2: more sources: ``tree_peak_swap``, ``cgroup_parts``, ``maxima``, ``swapped_bytes``; all that was added
has a default, so that files of 1 are read as they are. 3: ``oom``, and that reason of an exit; ``left_running``;
``sampler.survivors`` is a list of processes, where it was a number, and is read as either.
"""

Status = Literal["exact", "bounded", "sampled", "upper_bound", "unavailable"]
Reason = Literal["exited", "signaled", "timeout", "memory_limit", "interrupted", "oom"]


@attrs.frozen
class Figure:
    """
    One amount of memory, with where it came from and how exact it is.

    Attributes:
        bytes: The amount, or None where the status is ``unavailable``.
        status: ``exact`` (the kernel's own maximum, page-exact), ``bounded`` (the truth lies between
            `low_bytes` and `high_bytes`), ``sampled`` (the largest reading: a lower bound),
            ``upper_bound`` (the truth is no larger), or ``unavailable``.
        source: The kernel interfaces that it was read from.
        error_bytes: By how much the truth can exceed `bytes`.
        note: One sentence: why it is unavailable, or what a reader should know about it.
        over_bytes: By how much `bytes` can exceed the truth: the kernel's high-water marks come from
            per-CPU counters that can run ahead as well as behind.
        high_source: Where `high_bytes` comes from; "" where that is `source` too.
    """

    bytes: int | None
    status: Status
    source: str
    error_bytes: int = 0
    note: str = ""
    over_bytes: int = 0
    high_source: str = ""

    @property
    def low_bytes(self) -> int | None:
        """The least that the truth can be; None where nothing is known."""
        if self.bytes is None:
            return None
        return 0 if self.status == "upper_bound" else max(0, self.bytes - self.over_bytes)

    @property
    def high_bytes(self) -> int | None:
        """The most that the truth can be; None where nothing is known, or where `bytes` is only a lower bound."""
        if self.bytes is None or self.status == "sampled":
            return None
        return self.bytes + self.error_bytes

    def __str__(self) -> str:
        from concmem.units import format_bytes

        if self.bytes is None:
            return f"unavailable: {self.note}"
        margins = (("-", self.over_bytes), ("+", self.error_bytes))
        shown = " ".join(f"{sign}{format_bytes(size)}" for sign, size in margins if size)
        error = f" ({shown})" if shown else ""
        return f"{format_bytes(self.bytes)}{error}, {self.status.replace('_', ' ')}, from {self.source}"


@attrs.frozen
class Exit:
    """
    How the root process ended, and why.

    Attributes:
        code: Its exit code, or None where a signal ended it.
        signal: The signal's number, or None where it exited. Both are None where it lives on, because it is another
            user's and could not be killed.
        reason: ``exited``; ``signaled``; ``oom``, a SIGKILL that concmem did not send while the kernel's OOM killer
            ended processes (`OutOfMemory.certain` says whether that is proved); or that concmem ended the tree:
            ``timeout``, ``memory_limit``, ``interrupted``.
    """

    code: int | None
    signal: int | None
    reason: Reason

    @property
    def status(self) -> int:
        """What a shell would show as ``$?``: the exit code, or 128 + the signal's number; 125 where it lives on."""
        if self.signal is not None:
            return 128 + self.signal
        return 125 if self.code is None else self.code

    @property
    def ok(self) -> bool:
        """Whether the root exited by itself with code 0."""
        return self.reason == "exited" and self.code == 0

    def __str__(self) -> str:
        from concmem.units import signal_name

        if self.signal is None:
            how = "could not be killed" if self.code is None else f"exit code {self.code}"
        else:
            number, name = f"signal {self.signal}", signal_name(self.signal)
            how = number if name == number else f"{number} ({name})"
        why = {
            "timeout": "timed out",
            "memory_limit": "over the memory limit",
            "interrupted": "interrupted",
            "oom": "out of memory",
        }
        return f"{how}, {why[self.reason]}" if self.reason in why else how


@attrs.frozen(field_transformer=escape_fields)
class OutOfMemory:
    """
    That the kernel's OOM killer ended processes of the tree.

    Attributes:
        kills: How many.
        source: The counter that says so: ``memory.events oom_kill`` or ``memory.oom_control oom_kill`` of the command's
            own control group, else ``/proc/vmstat oom_kill``.
        certain: False where it was the counter of the whole machine, and a process of the tree ended by a SIGKILL that
            concmem did not send.
    """

    kills: int
    source: str
    certain: bool


@attrs.frozen
class Process:
    """
    One process of the tree, as far as it was seen.

    Attributes:
        pid, ppid: Its number, and its parent's when it was first seen.
        comm: Its name in the kernel (at most 15 bytes), after any exec.
        argv: Its arguments, after any exec; empty where it ended before they could be read, cut where `argv_is_cut`.
        start_s: When it was first seen, from the start of the measurement.
        end_s: When its end was noticed; the end of the measurement where it lives on.
        peak: Its own high-water mark.
        user_s, system_s: Its CPU time and that of the children it waited for; None where it was not the
            sampler that reaped it.
        argv_is_cut: Whether it has more arguments than `argv` holds: no more than 4 KiB of each process's are kept.
    """

    pid: int
    ppid: int
    comm: str
    argv: tuple[str, ...]
    start_s: float
    end_s: float
    peak: Figure
    user_s: float | None = None
    system_s: float | None = None
    argv_is_cut: bool = False


@attrs.frozen
class Measurement(Later):
    """
    What one command, and everything that it started, needed.

    Attributes:
        peak: **The headline**, what the command as a whole needed; where it was ended before it was done, what it used
            until then, and the note says so. With one process that is `largest_peak_rss`;
            with several the largest of that, `tree_peak_pss` and the sum of RSS less all that can be shared, with
            `tree_upper_bound` as its upper end.
        root_peak_rss: The root process's own high-water mark.
        largest_peak_rss: The largest single process of the tree.
        tree_peak_pss: The tree at its worst moment, shared pages counted once.
        tree_peak_rss_sum: The sum of RSS at its worst moment, shared pages counted once per process.
        tree_upper_bound: What the tree cannot have exceeded.
        cgroup_peak: What the kernel charged to the command's own control group, page cache and kernel memory included.
        tree_peak_swap: The most that the tree had swapped out.
        command: The argument vector, or the one string that went to ``/bin/sh -c``.
        exit: How it ended.
        wall_s: From the start of the root to its end.
        tree_wall_s: From the start of the root to the end of the last process of the tree, or of the measurement where
            some live on.
        user_s, system_s: CPU time of the whole tree, as far as the sampler or an ancestor reaped it.
        minor_faults, major_faults: Page faults of the same.
        processes: Every process that was seen, in order of discovery.
        max_alive: The most processes that were seen alive at once.
        max_threads: The most threads that were seen alive at once, over the tree.
        timeline: How memory moved.
        cgroup_parts: What the charge of the control group consisted of when it was largest: bytes of ``anon``,
            ``file``, ``shmem``, ``kernel``, and of that ``kernel_stack``, ``page_tables``, ``sock``.
        maxima: The largest of every column that was read, as ``source.column``, in bytes or counts.
        oom: What the kernel's OOM killer did to the tree, or None where nothing is known of it.
        swapped_bytes: What the whole machine swapped in or out meanwhile; None where it has no swap.
        left_running: The processes that lived on when the root had ended, with ``leftover="leave"``.
        start_monotonic_s: CLOCK_MONOTONIC at the start of the root: what timelines count from.
        sampler: What the measuring cost, and what it may have missed.
        host: The machine.
        started_at: When, as ISO 8601 with its UTC offset.
        stdout, stderr: What the command wrote, where PIPE was given; else None.
        version: Of concmem.
        schema: Of the stored form.
    """

    command: tuple[str, ...] | str
    exit: Exit
    peak: Figure
    root_peak_rss: Figure
    largest_peak_rss: Figure
    tree_peak_pss: Figure
    tree_peak_rss_sum: Figure
    tree_upper_bound: Figure
    cgroup_peak: Figure
    wall_s: float
    tree_wall_s: float
    user_s: float
    system_s: float
    minor_faults: int
    major_faults: int
    processes: tuple[Process, ...] = attrs.field(repr=False)
    max_alive: int
    max_threads: int
    sampler: SamplerReport = attrs.field(repr=False)
    host: Host = attrs.field(repr=False)
    started_at: str
    version: str = attrs.field(repr=False)
    timeline: Timeline = attrs.field(factory=Timeline, repr=False, eq=False)
    stdout: bytes | None = attrs.field(default=None, repr=False)
    stderr: bytes | None = attrs.field(default=None, repr=False)
    tree_peak_swap: Figure = Figure(None, "unavailable", "status VmSwap", note="it was not looked at")
    cgroup_parts: dict[str, int] = attrs.field(factory=dict, repr=False)
    maxima: dict[str, int] = attrs.field(factory=dict, repr=False)
    swapped_bytes: int | None = None
    oom: OutOfMemory | None = None
    left_running: tuple[LeftProcess, ...] = ()
    start_monotonic_s: float = 0.0
    schema: int = attrs.field(default=SCHEMA, repr=False)

    @property
    def figures(self) -> dict[str, Figure]:
        """All figures by name, the headline first."""
        names = (
            "peak", "root_peak_rss", "largest_peak_rss", "tree_peak_pss",
            "tree_peak_rss_sum", "tree_upper_bound", "cgroup_peak", "tree_peak_swap",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        from concmem._figures.sentences import summary

        return summary(self)

    def to_dict(self) -> dict[str, Any]:
        """
        Everything but the timeline, as plain JSON types.

        The timeline is large and binary: `save` puts it beside the JSON, `Timeline.save` alone into a file.
        """
        from concmem.stored import measurement_to_dict

        return measurement_to_dict(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Measurement:
        """
        The measurement that `to_dict` wrote, with an empty timeline.

        Raises:
            RecordingError: It is not one, or of a later schema.
        """
        from concmem.stored import measurement_from_dict

        return measurement_from_dict(stored)

    def save(self, path: str | Path) -> None:
        """Write JSON to `path` and, beside it with the ending ``.npz``, the timeline: each whole or not at all."""
        from concmem.stored import save

        save(self, Path(path))
