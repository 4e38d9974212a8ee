"""
A measurement: frozen data, with the unit in each name. Its parts are in `concmem.parts`.

All amounts are in bytes, all times in seconds. Nothing here imports numpy or the native extension.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from concmem._classes.lazy import Lazy
from concmem._files.stored_form import NOT_STORED
from concmem.errors import InvalidRequest
from concmem.host import Host
from concmem.parts import Composition, Exit, Figure, OutOfMemory, Process, Reason, Status, cpu_percent
from concmem.sampler_report import LeftProcess, SamplerReport
from concmem.timeline import Timeline

__all__ = [
    "SCHEMA",
    "Composition",
    "Exit",
    "Figure",
    "Measurement",
    "OutOfMemory",
    "Process",
    "Reason",
    "Status",
]

SCHEMA = 5
"""
The version of the stored form. Every file that is written contains it.

1: the first. 2: added ``tree_peak_swap``, ``cgroup_parts``, ``maxima`` and ``swapped_bytes``; all have defaults, so
files of version 1 can still be read. 3: added ``oom``, the exit reason ``oom`` and ``left_running``;
``sampler.survivors`` is a list of processes instead of a number, and both are read. 4: added the exit reason
``cgroup_limit``, ``oom.limit_bytes`` and ``composition``. 5: added the exit reasons ``cpu_limit`` and
``processes_limit``, context switches, read and written bytes, and of each process also page faults, USS and VMS;
``stdout_dropped_bytes`` and ``stderr_dropped_bytes``; ``stdout`` and ``stderr`` can be text.
"""

_SWAP_NOT_READ = Figure(None, "unavailable", "status VmSwap", note="it was not read")


if TYPE_CHECKING:
    from typing import Generic

    from typing_extensions import TypeVar

    Output = TypeVar("Output", bytes, str, default=bytes)

    class _Base(Lazy, Generic[Output]):
        """The base class of `Measurement`. Only for a type checker it is generic, in the type of the output."""
else:
    Output = bytes | str

    class _Base(Lazy):
        __slots__ = ()

        def __class_getitem__(cls, output: object) -> type:
            return cls


@attrs.frozen
class Measurement(_Base[Output]):
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
        voluntary_switches, involuntary_switches: Their context switches, because they waited and because another task
            had to run. None in a file of schema 4 or older, like the next two.
        read_bytes, written_bytes: What they read from storage and wrote to it. What the page cache had is not read.
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
        stdout, stderr: What the command wrote if PIPE was given, else None: bytes, or with ``text=True`` a str. Also
            None if it was read from `Running.stdout`.
        stdout_dropped_bytes, stderr_dropped_bytes: How much more it wrote than `max_output_bytes`.
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
    stdout: Output | None = attrs.field(default=None, repr=False)
    stderr: Output | None = attrs.field(default=None, repr=False)
    stdout_dropped_bytes: int = 0
    stderr_dropped_bytes: int = 0
    tree_peak_swap: Figure = _SWAP_NOT_READ
    cgroup_parts: dict[str, int] = attrs.field(factory=dict, repr=False)
    maxima: dict[str, int] = attrs.field(factory=dict, repr=False)
    composition: Composition | None = attrs.field(default=None, repr=False)
    swapped_bytes: int | None = None
    oom: OutOfMemory | None = None
    left_running: tuple[LeftProcess, ...] = ()
    start_monotonic_s: float = 0.0
    voluntary_switches: int | None = None
    involuntary_switches: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    schema: int = attrs.field(default=SCHEMA, repr=False)

    @property
    def cpu_percent(self) -> float:
        """CPU time of the tree as a percentage of `tree_wall_s`: 100 is one CPU that was always busy."""
        return cpu_percent(self.user_s + self.system_s, self.tree_wall_s)

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
    def from_dict(cls, stored: dict[str, Any]) -> Measurement[Any]:
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

    def _checked(self) -> Measurement[Output]:
        if not self.command:
            raise ValueError("the command is empty")
        for name, figure in self.figures.items():
            if figure.bytes is not None and figure.bytes < 0:
                raise ValueError(f"{name} is below 0")
        return self


_FIGURES = tuple(field.name for field in attrs.fields(Measurement) if field.type in ("Figure", Figure))
