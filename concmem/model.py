"""
The classes that a measurement consists of: frozen data, with the unit in each name.

All amounts are in bytes, all times in seconds. Nothing here imports numpy or the native extension.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import attrs

from concmem._escaping import escape_fields, escape_text
from concmem._files.stored_form import NOT_STORED
from concmem._lazy import Lazy
from concmem.errors import InvalidRequest
from concmem.host import Host
from concmem.sampler_report import LeftProcess, SamplerReport
from concmem.timeline import Timeline

__all__ = ["SCHEMA", "Exit", "Figure", "Measurement", "OutOfMemory", "Process", "Status"]

SCHEMA = 4
"""
The version of the stored form. Every file that is written contains it.

1: the first. 2: added ``tree_peak_swap``, ``cgroup_parts``, ``maxima`` and ``swapped_bytes``; all have defaults, so
files of version 1 can still be read. 3: added ``oom``, the exit reason ``oom`` and ``left_running``;
``sampler.survivors`` is a list of processes instead of a number, and both are read. 4: added the exit reason
``cgroup_limit``, ``oom.limit_bytes`` and ``composition``.
"""

Status = Literal["exact", "bounded", "sampled", "upper_bound", "unavailable"]
Reason = Literal["exited", "signaled", "timeout", "memory_limit", "cgroup_limit", "interrupted", "oom"]


@attrs.frozen
class Figure:
    """
    One amount of memory with its source and its error.

    Attributes:
        bytes: The amount, or None if the status is ``unavailable``.
        status: ``exact`` (the kernel's own maximum, exact to the page), ``bounded`` (the true amount lies between
            `low_bytes` and `high_bytes`), ``sampled`` (the largest reading: a lower bound), ``upper_bound`` (the true
            amount is not larger), or ``unavailable``.
        source: The kernel interfaces that it was read from.
        error_bytes: By how much the true amount can exceed `bytes`.
        note: One sentence: why it is unavailable, or what a reader should know about it.
        over_bytes: By how much `bytes` can exceed the true amount. The kernel's high-water marks come from per-CPU
            counters, which can be too high as well as too low.
        high_source: The source of `high_bytes`; "" if it is `source`.
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
        """The smallest possible true amount; None if nothing is known."""
        if self.bytes is None:
            return None
        return 0 if self.status == "upper_bound" else max(0, self.bytes - self.over_bytes)

    @property
    def high_bytes(self) -> int | None:
        """The largest possible true amount; None if nothing is known, or if `bytes` is only a lower bound."""
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

    def _checked(self) -> Figure:
        if (self.bytes is None) != (self.status == "unavailable"):
            raise ValueError(f"a figure of {self.bytes} bytes cannot have the status {self.status}")
        if self.error_bytes < 0 or self.over_bytes < 0:
            raise ValueError("error_bytes and over_bytes must not be negative")
        return attrs.evolve(
            self,
            source=escape_text(self.source),
            note=escape_text(self.note),
            high_source=escape_text(self.high_source),
        )


@attrs.frozen
class Exit:
    """
    How the root process ended, and why.

    Attributes:
        code: Its exit code, or None if a signal ended it.
        signal: The number of the signal, or None if it exited. Both are None if it still runs, because it belongs to
            another user and could not be killed.
        reason: ``exited``; ``signaled``; ``oom``: a SIGKILL that concmem did not send, while the kernel's OOM killer
            killed processes (`OutOfMemory.certain` says whether that is proved); ``cgroup_limit``: the same, because
            of `cgroup_limit_bytes`; or concmem killed the tree: ``timeout``, ``memory_limit``, ``interrupted``.
    """

    code: int | None
    signal: int | None
    reason: Reason

    @property
    def status(self) -> int:
        """The exit code, or 128 + the number of the signal, as a shell's ``$?``; 125 if the root still runs."""
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
            "cgroup_limit": "over the limit of its control group",
            "interrupted": "interrupted",
            "oom": "out of memory",
        }
        return f"{how}, {why[self.reason]}" if self.reason in why else how


@attrs.frozen(field_transformer=escape_fields)
class OutOfMemory:
    """
    The processes of the tree that the kernel's OOM killer killed.

    Attributes:
        kills: How many.
        source: The counter: ``memory.events oom_kill`` or ``memory.oom_control oom_kill`` of the command's own control
            group, else ``/proc/vmstat oom_kill``.
        certain: False if the counter is that of the whole machine. A process of the tree then ended by a SIGKILL that
            concmem did not send.
        limit_bytes: The limit that concmem set for the command's own control group, if the group reached it; else None.
    """

    kills: int
    source: str
    certain: bool
    limit_bytes: int | None = None


@attrs.frozen
class Composition:
    """
    What the memory of the tree consisted of when the sum over its processes was largest. A page that several processes
    share counts for each of them.

    Kernel sources: statm, and ``RssShmem``, ``HugetlbPages`` and ``VmSwap`` of status.

    Attributes:
        anonymous_bytes: Heap, stacks, and other memory that belongs to no file; transparent huge pages included.
        file_bytes: Pages of files that are mapped: programs, libraries, data.
        shared_memory_bytes: Shared memory and files in memory (tmpfs, memfd) that are mapped.
        huge_pages_bytes: Pages of hugetlbfs. RSS does not include them.
        swapped_bytes: What was swapped out. RSS does not include it.
    """

    anonymous_bytes: int
    file_bytes: int
    shared_memory_bytes: int
    huge_pages_bytes: int
    swapped_bytes: int


@attrs.frozen
class Process:
    """
    One process of the tree.

    Attributes:
        pid, ppid: Its PID, and that of its parent when it was first seen.
        comm: Its name in the kernel (at most 15 bytes), after its last exec.
        argv: Its arguments, after its last exec; empty if it ended before they could be read.
        start_s: When it was first seen, in seconds from the start of the measurement.
        end_s: When its end was noticed; the end of the measurement if it still runs.
        peak: Its own high-water mark.
        user_s, system_s: Its CPU time and that of the children it waited for; None if the sampler neither reaped it nor
            received its exit record.
        argv_is_cut: Whether `argv` is incomplete: at most 4 KiB of arguments are kept of each process.
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
class Measurement(Lazy):
    """
    How much memory a command and all processes that it started needed.

    Attributes:
        peak: **The headline**: what the command as a whole needed at once, its footprint. This is every page in RAM
            that it maps, counted once, with huge pages, swapped-out memory, files in memory and pinned pages. Its lower
            end is the largest amount that it certainly held. Its upper end is `tree_upper_bound`. If the command was
            killed, it is what the command used until then, and the note says so.
        root_peak_rss: The root process's own high-water mark.
        largest_peak_rss: The high-water mark of the largest process of the tree.
        tree_peak_pss: The largest sum of PSS over the tree: shared pages count once.
        tree_peak_rss_sum: The largest sum of RSS over the tree: shared pages count once per process.
        tree_upper_bound: What the processes of the tree needed at most, together.
        cgroup_peak: What the kernel charged to the command's own control group, including page cache and kernel memory.
        tree_peak_swap: The most memory that the tree had swapped out.
        command: The argument vector, or the string that was run by ``/bin/sh -c``.
        exit: How the root ended.
        wall_s: The time from the start of the root to its end.
        tree_wall_s: The time from the start of the root to the end of the last process of the tree, or to the end of
            the measurement if some still run.
        user_s, system_s: CPU time of all processes that the sampler or an ancestor reaped.
        minor_faults, major_faults: Page faults of the same processes.
        processes: Every process that was seen, in the order in which they were found.
        max_alive: The largest number of processes that were seen alive at once.
        max_threads: The largest number of threads that were seen alive at once, over the whole tree.
        timeline: Memory over time.
        cgroup_parts: What the charge of the control group consisted of when it was largest: bytes of ``anon``,
            ``file``, ``shmem`` and ``kernel``; parts of ``kernel`` are ``kernel_stack``, ``page_tables`` and ``sock``.
        composition: What the sum over all processes consisted of when it was largest; None if nothing was read.
        maxima: The largest value of every column that was read, as ``source.column``, in bytes or counts.
        oom: The processes of the tree that the kernel's OOM killer killed; None if none are known.
        swapped_bytes: What the whole machine swapped in and out during the measurement; None if it has no swap.
        left_running: The processes that still ran when the root had ended, with ``leftover="leave"``.
        start_monotonic_s: CLOCK_MONOTONIC at the start of the root, which is 0 in the timeline.
        sampler: What measuring cost, and what it may have missed.
        host: The machine.
        started_at: The time of the start, as ISO 8601 with a UTC offset.
        stdout, stderr: What the command wrote if PIPE was given, else None.
        version: The version of concmem.
        schema: The version of the stored form.
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
    timeline: Timeline = attrs.field(factory=Timeline, repr=False, eq=False, metadata=NOT_STORED)
    stdout: bytes | None = attrs.field(default=None, repr=False)
    stderr: bytes | None = attrs.field(default=None, repr=False)
    tree_peak_swap: Figure = Figure(None, "unavailable", "status VmSwap", note="it was not read")
    cgroup_parts: dict[str, int] = attrs.field(factory=dict, repr=False)
    maxima: dict[str, int] = attrs.field(factory=dict, repr=False)
    composition: Composition | None = attrs.field(default=None, repr=False)
    swapped_bytes: int | None = None
    oom: OutOfMemory | None = None
    left_running: tuple[LeftProcess, ...] = ()
    start_monotonic_s: float = 0.0
    schema: int = attrs.field(default=SCHEMA, repr=False)

    @property
    def figures(self) -> dict[str, Figure]:
        """All figures by name, the headline first."""
        return {name: getattr(self, name) for name in _FIGURES}

    def __str__(self) -> str:
        from concmem._figures.sentences import summary

        return summary(self)

    def to_dict(self) -> dict[str, Any]:
        """
        Return everything except the timeline as plain JSON types.

        The timeline is large and binary. `save` writes it beside the JSON file, `Timeline.save` writes only the
        timeline.
        """
        from concmem._files.stored_form import to_plain

        return to_plain(self)

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Measurement:
        """
        Return the measurement that `to_dict` stored, with an empty timeline.

        Raises:
            RecordingError: It is not a measurement, or its schema is newer than this concmem.
        """
        from concmem._files.stored_form import from_plain

        return from_plain(stored, cls, SCHEMA)

    def save(self, path: str | Path) -> None:
        """
        Write JSON to `path` and the timeline beside it (``.npz``). Each file is written completely or not at all.

        The timeline is written first, so that a JSON file always has it.
        """
        from concmem._files.atomic import replacing
        from concmem._files.stored_form import timeline_path, to_json

        path = Path(path)
        if path.suffix == ".npz":
            raise InvalidRequest(f"{path}: .npz is the ending of the timeline's file; use a name that ends in .json")
        self.timeline.save(timeline_path(path))
        with replacing(path) as file:
            file.write(to_json(self).encode())

    def _checked(self) -> Measurement:
        if not self.command:
            raise ValueError("the command is empty")
        for name, figure in self.figures.items():
            if figure.bytes is not None and figure.bytes < 0:
                raise ValueError(f"{name} is below 0")
        return self


_FIGURES = tuple(field.name for field in attrs.fields(Measurement) if field.type in ("Figure", Figure))
