"""What is known of one process's largest size, and what that amounts to as a figure."""

from __future__ import annotations

import attrs

from concmem.model import Figure

__all__ = ["Marks", "process_peak"]


@attrs.frozen
class Marks:
    """
    What is known of the largest size of one process, or of the largest of several; 0 where nothing was read.

    Attributes:
        rss_bytes: The largest reading of statm.
        hwm_bytes: The largest VmHWM.
        maxrss_bytes: ``ru_maxrss`` at the end; None where somebody else reaped it.
        exit_record_bytes: The high-water mark in its exit record, of its last program alone; None where there is no record.
        since_s, end_s: From when to when it can have been there.
        hwm_read_s: When its high-water mark was read last; 0 where it never was.
        inexact: Windows in which a spike can have been lost.
        reaped_others: Whether `maxrss_bytes` may be that of a child that it waited for.
        ignores_sigchld: Whether it ignores SIGCHLD, so that nobody hears how large its children were.
        is_root: Whether it is the root, whose ``ru_maxrss`` starts at the sampler's own size. Any other's starts at
            its parent's, if that started it by vfork: then it is no more than an upper end.
    """

    rss_bytes: int
    hwm_bytes: int
    maxrss_bytes: int | None
    exit_record_bytes: int | None = None
    since_s: float = 0.0
    end_s: float = 0.0
    hwm_read_s: float = 0.0
    inexact: int = 0
    reaped_others: bool = False
    ignores_sigchld: bool = False
    is_root: bool = False

    @property
    def is_fully_known(self) -> bool:
        """Whether its end was heard of, and nobody can have been below it size_unknown_reason."""
        return self.maxrss_bytes is not None and not self.reaped_others and not self.ignores_sigchld

    @property
    def read_bytes(self) -> int:
        """The largest that was read of it while it lived."""
        return max(self.rss_bytes, self.hwm_bytes)

    @property
    def own_bytes(self) -> int:
        """The largest of what is its own, whoever told of it."""
        return max(self.read_bytes, self.exit_record_bytes or 0)


def _highest_bytes(marks: Marks, windows: bool) -> int | None:
    """The most that it can have been, but for the counters' error; None where nobody knows."""
    if marks.inexact:
        return None
    if marks.maxrss_bytes is not None:
        return max(marks.maxrss_bytes, marks.own_bytes) if windows else marks.maxrss_bytes
    return marks.own_bytes if marks.exit_record_bytes is not None else None


def _unread(marks: Marks, floored: bool, error_bytes: int) -> Figure | None:
    """The figure of a process that was never read; None where its end tells all that is needed."""
    if marks.maxrss_bytes is None:
        return Figure(None, "unavailable", "statm, VmHWM", note="it ended before its memory could be read")
    if floored:
        note = "it ended before it was read, and ru_maxrss includes the sampler that started it, which is larger"
    elif not marks.is_root:
        note = "it ended before it was read, and ru_maxrss may be that of the process that started it"
    elif marks.reaped_others:
        note = "it was never read, and ru_maxrss may be that of a child that it waited for"
    else:
        return None
    return Figure(marks.maxrss_bytes, "upper_bound", "wait4 ru_maxrss", error_bytes, note)


def _source(marks: Marks, value: int, windows: bool) -> str:
    """Which of the readings the value is."""
    if value == marks.exit_record_bytes:
        return "taskstats hiwater_rss"
    if value == marks.hwm_bytes:
        return "status VmHWM, by windows" if windows else "status VmHWM"
    return "statm" if value == marks.rss_bytes else "wait4 ru_maxrss"


def process_peak(
    marks: Marks, *, error_bytes: int, floor_bytes: int = 0, statm_exact: bool = True, windows: bool = False
) -> Figure:
    """
    One process's high-water mark, bracketed.

    The truth is no less than an exact reading, and no more than the kernel's mark at the end plus what its per-CPU
    counters can hide. Where nobody could read that mark, the largest reading is a lower bound.

    Args:
        marks: What is known of it.
        error_bytes: By how much the kernel's marks can be off, either way.
        floor_bytes: What the root's ``ru_maxrss`` cannot fall below: the sampler's own size when it started it.
        statm_exact: Whether statm counts every page at once here.
        windows: Whether marks were set back, so that ``ru_maxrss`` is only that of the last window.
    """
    floored = marks.is_root and (marks.maxrss_bytes or 0) <= floor_bytes
    if marks.own_bytes == 0 and (figure := _unread(marks, floored, error_bytes)) is not None:
        return figure
    usable = marks.is_root and not marks.reaped_others and not floored
    value = max(marks.own_bytes, (marks.maxrss_bytes or 0) if usable else 0)
    highest = _highest_bytes(marks, windows)
    source = "wait4 ru_maxrss" if usable and value == marks.maxrss_bytes else _source(marks, value, windows)
    exact = max(0, marks.rss_bytes - (0 if statm_exact else error_bytes))
    over_bytes = min(max(0, value - exact), error_bytes)
    if highest is None:
        were = "was" if marks.inexact == 1 else "were"
        lost = f"{marks.inexact} of its windows {were} set back late, and what it held just then can be missing"
        note = lost if marks.inexact else "largest reading; its end was seen by its parent only"
        return Figure(value, "sampled", source, note=note, over_bytes=over_bytes)
    notes = []
    if marks.reaped_others and (marks.maxrss_bytes or 0) > value:
        notes.append("it waited for children, and one of them may have set ru_maxrss")
    if floored and marks.exit_record_bytes is None:
        notes.append("it is no larger than the sampler that started it, which ru_maxrss includes")
    if marks.maxrss_bytes is None:
        notes.append("of its last program; what it held before an exec is in it as far as it was read")
    if windows:
        notes.append("the command's own ru_maxrss and VmHWM were set back at every reading")
    return Figure(
        value,
        "bounded",
        source,
        error_bytes=max(0, highest + error_bytes - value),
        note="; ".join(notes),
        over_bytes=over_bytes,
        high_source="taskstats hiwater_rss" if marks.maxrss_bytes is None else "wait4 ru_maxrss",
    )
