"""The high-water marks of one process, and the figure that is computed from them."""

from __future__ import annotations

from concmem._classes.record import Record
from concmem._figures.figure_source import FigureSource
from concmem._native.observed import ObservedProcess
from concmem.model import Figure

__all__ = ["Marks", "marks_of", "process_peak"]

_STATM, _STATM_HWM = FigureSource.STATM.value, FigureSource.STATM_HWM.value
_HWM, _WINDOWS = FigureSource.HWM.value, FigureSource.WINDOWS.value
_MAXRSS, _EXIT_RECORD = FigureSource.MAXRSS.value, FigureSource.EXIT_RECORD.value


class Marks(Record):
    """
    The high-water marks of one process, or the largest of several processes; 0 if nothing was read.

    Attributes:
        rss_bytes: The largest reading of statm.
        hwm_bytes: The largest VmHWM.
        maxrss_bytes: ``ru_maxrss`` at the end; None if the sampler did not reap the process.
        exit_record_bytes: The high-water mark in the exit record, which covers only the last program that the process
            executed; None if there is no record.
        has_executed: Whether the exit record shows that it has executed a program since it was forked.
        since_s, end_s: The earliest possible start, and the end.
        program_since_s, program_until_s: In between it executed no other program, and `read_bytes` has all that it
            held.
        inexact: How many windows can lack a spike.
        reaped_others: Whether `maxrss_bytes` may come from a child that the process waited for.
        ignores_sigchld: Whether it ignores SIGCHLD. The kernel then adds the sizes of its children to no parent.
        is_root: Whether it is the root. Its ``ru_maxrss`` starts at the sampler's own size. That of any other process
            starts at its parent's size if the parent used vfork, so it is only an upper end.
    """

    rss_bytes: int
    hwm_bytes: int
    maxrss_bytes: int | None
    exit_record_bytes: int | None = None
    has_executed: bool = False
    since_s: float = 0.0
    end_s: float = 0.0
    program_since_s: float = 0.0
    program_until_s: float = 0.0
    inexact: int = 0
    reaped_others: bool = False
    ignores_sigchld: bool = False
    is_root: bool = False

    @property
    def is_fully_known(self) -> bool:
        """Whether the sampler reaped it, and it cannot have had children that the sampler knows nothing of."""
        return self.maxrss_bytes is not None and not self.reaped_others and not self.ignores_sigchld

    @property
    def read_bytes(self) -> int:
        """The largest size that was read while it ran."""
        return max(self.rss_bytes, self.hwm_bytes)

    @property
    def own_bytes(self) -> int:
        """The largest size that is certainly its own."""
        return max(self.read_bytes, self.exit_record_bytes or 0)


def marks_of(process: ObservedProcess) -> Marks:
    """Return the high-water marks of a process that was observed."""
    return Marks(
        rss_bytes=process.rss_bytes,
        hwm_bytes=process.hwm_bytes,
        maxrss_bytes=process.maxrss_bytes if process.was_reaped else None,
        exit_record_bytes=process.exit_record_bytes if process.has_exit_record else None,
        has_executed=process.has_executed,
        since_s=process.since_ns / 1e9,
        end_s=process.end_ns / 1e9,
        program_since_s=process.program_since_ns / 1e9,
        program_until_s=process.program_until_ns / 1e9,
        inexact=process.inexact_windows,
        reaped_others=process.child_faults > 0,
        ignores_sigchld=process.ignores_sigchld,
        is_root=process.is_root,
    )


def _highest_bytes(marks: Marks, windows: bool) -> int | None:
    """Return the largest possible size without the counters' error; None if it is unknown."""
    if marks.inexact:
        return None
    if marks.maxrss_bytes is not None:
        return max(marks.maxrss_bytes, marks.own_bytes) if windows else marks.maxrss_bytes
    return marks.own_bytes if marks.exit_record_bytes is not None else None


def _figure_without_readings(marks: Marks, floored: bool, error_bytes: int) -> Figure | None:
    """Return the figure of a process that was never read; None if its ``ru_maxrss`` is sufficient."""
    if marks.maxrss_bytes is None:
        return Figure(None, "unavailable", _STATM_HWM, note="it ended before its memory could be read")
    if floored:
        note = "it ended before it was read, and it is not larger than the sampler, whose size is part of ru_maxrss"
    elif not marks.is_root:
        note = "it ended before it was read, and ru_maxrss may come from the process that started it"
    elif marks.reaped_others:
        note = "it was never read, and ru_maxrss may come from a child that it waited for"
    else:
        return None
    return Figure(marks.maxrss_bytes, "upper_bound", _MAXRSS, error_bytes, note)


def _source(marks: Marks, value: int, windows: bool) -> str:
    """Return the source of a value."""
    if value == marks.exit_record_bytes:
        return _EXIT_RECORD
    if value == marks.hwm_bytes:
        return _WINDOWS if windows else _HWM
    return _STATM if value == marks.rss_bytes else _MAXRSS


def process_peak(
    marks: Marks, *, error_bytes: int, floor_bytes: int = 0, statm_exact: bool = True, windows: bool = False
) -> Figure:
    """
    Return the high-water mark of one process as a figure with both ends.

    The true amount is at least an exact reading, and at most the kernel's mark at the end plus the error of its per-CPU
    counters. If that mark is unknown, the largest reading is a lower bound.

    Args:
        marks: The high-water marks of the process.
        error_bytes: The error of the kernel's marks, in both directions.
        floor_bytes: The smallest possible ``ru_maxrss`` of the root: the sampler's own size when it started the root.
        statm_exact: Whether statm counts every page immediately here.
        windows: Whether marks were reset at every reading, so that ``ru_maxrss`` covers only the last window.
    """
    floored = marks.is_root and (marks.maxrss_bytes or 0) <= floor_bytes
    if marks.own_bytes == 0 and (figure := _figure_without_readings(marks, floored, error_bytes)) is not None:
        return figure
    usable = marks.is_root and not marks.reaped_others and not floored
    value = max(marks.own_bytes, (marks.maxrss_bytes or 0) if usable else 0)
    highest = _highest_bytes(marks, windows)
    source = _MAXRSS if usable and value == marks.maxrss_bytes else _source(marks, value, windows)
    exact = max(0, marks.rss_bytes - (0 if statm_exact else error_bytes))
    over_bytes = min(max(0, value - exact), error_bytes)
    if highest is None:
        times = "once" if marks.inexact == 1 else f"{marks.inexact} times"
        late = f"its high-water mark was reset late {times}, so memory that it held just then can be missing"
        note = late if marks.inexact else "largest reading; only its parent learned its size at the end"
        return Figure(value, "sampled", source, note=note, over_bytes=over_bytes)
    notes = []
    if marks.reaped_others and (marks.maxrss_bytes or 0) > value:
        notes.append("it waited for children, and ru_maxrss may come from one of them")
    if floored and marks.exit_record_bytes is None:
        notes.append(
            "it is not larger than the sampler that started it, and ru_maxrss includes the size of the sampler"
        )
    if marks.maxrss_bytes is None:
        notes.append(
            "the high-water mark of its last program; what it held before an exec is included only if it was read"
        )
    if windows:
        notes.append("the command's own ru_maxrss and VmHWM were reset at every reading")
    return Figure(
        value,
        "bounded",
        source,
        error_bytes=max(0, highest + error_bytes - value),
        note="; ".join(notes),
        over_bytes=over_bytes,
        high_source=_EXIT_RECORD if marks.maxrss_bytes is None else _MAXRSS,
    )
