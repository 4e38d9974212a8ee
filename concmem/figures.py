"""What the readings amount to: pure functions from what the sampler noted to figures with their errors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TypedDict

import attrs

from concmem.model import Figure

__all__ = ["Figures", "Marks", "Tree", "all_figures", "process_peak"]

_NO_CGROUP = "this version of concmem reads no control group"
_SEVERAL = "shared pages count once for each process that has them"


@attrs.frozen
class Marks:
    """
    What is known of the largest size of one process, or of the largest of several; 0 where nothing was read.

    Attributes:
        rss_bytes: The largest reading of statm.
        hwm_bytes: The largest VmHWM.
        maxrss_bytes: ``ru_maxrss`` at the end; None where somebody else reaped it.
        first_s, end_s: When it was there.
        reaped_others: Whether `maxrss_bytes` may be that of a child that it waited for.
        forgets_children: Whether it ignores SIGCHLD, so that nobody hears how large its children were.
        is_root: Whether it is the root, whose ``ru_maxrss`` starts at the sampler's own size. Any other's starts at
            its parent's, if that started it by vfork: then it is no more than an upper end.
    """

    rss_bytes: int
    hwm_bytes: int
    maxrss_bytes: int | None
    first_s: float = 0.0
    end_s: float = 0.0
    reaped_others: bool = False
    forgets_children: bool = False
    is_root: bool = False

    @property
    def known_bytes(self) -> int:
        """The largest that was seen, from whatever source is its own."""
        read = max(self.rss_bytes, self.hwm_bytes)
        own = not self.reaped_others and (self.is_root or read == 0)
        return max(read, self.maxrss_bytes or 0) if own else read


@attrs.frozen
class Tree:
    """
    What is known of the whole tree.

    Attributes:
        root: The root's marks, or None where it was never seen.
        largest: The largest of each mark over all processes.
        processes: Every process that was seen.
        pss_bytes: The largest sum of PSS, or None where there was no reading.
        rss_sum_bytes: The largest sum of statm readings.
        rss_high_bytes: The same, lifted by marks that rose between two readings.
        marks_sum_bytes: The largest sum of marks as they stood at a tick.
        max_alive: The most processes that were seen at once.
        survivors: How many could not be killed.
        refused: How many readings the kernel refused.
        dropped_processes: Processes that are missing in `processes`.
        statm_exact: Whether statm counts every page at once here.
        counter_error_bytes: By how much marks can be off, either way.
        floor_bytes: What the root's ``ru_maxrss`` cannot fall below.
        interval_s: Between two readings.
    """

    root: Marks | None
    largest: Marks
    processes: Sequence[Marks]
    pss_bytes: int | None
    rss_sum_bytes: int
    rss_high_bytes: int
    marks_sum_bytes: int
    max_alive: int
    survivors: int
    refused: int
    dropped_processes: int
    statm_exact: bool
    counter_error_bytes: int
    floor_bytes: int
    interval_s: float

    @cached_property
    def hidden(self) -> str:
        """Why there may be processes of which nothing is known; "" where there can be none."""
        why = "not every process was reaped by the sampler" if self.dropped_processes else ""
        for marks in self.processes:
            if marks.forgets_children:
                return "a process ignores SIGCHLD, so nobody hears how large its children were that nobody read"
            if marks.reaped_others:
                why = "a process waited for children itself, and some may have come and gone between two readings"
            elif marks.maxrss_bytes is None:
                why = why or "not every process was reaped by the sampler"
        return why


def process_peak(marks: Marks, tree: Tree) -> Figure:
    """
    One process's high-water mark, bracketed.

    The truth is no less than an exact reading, and no more than the kernel's mark at the end plus what its per-CPU
    counters can hide. Where nobody could read that mark, the largest reading is a lower bound.
    """
    error_bytes = tree.counter_error_bytes
    read = max(marks.rss_bytes, marks.hwm_bytes)
    if marks.maxrss_bytes is None:
        if read == 0:
            return Figure(None, "unavailable", "statm, VmHWM", note="it ended before its memory could be read")
        return Figure(read, "sampled", "statm, VmHWM", note="largest reading; its end was seen by its parent only")
    if not marks.is_root and read == 0:
        note = "it ended before it was read, and ru_maxrss may be that of the process that started it"
        return Figure(marks.maxrss_bytes, "upper_bound", "wait4 ru_maxrss", error_bytes, note)
    floored = marks.is_root and marks.maxrss_bytes <= tree.floor_bytes
    if floored and read == 0:
        note = "it ended before it was read, and ru_maxrss includes the sampler that started it, which is larger"
        return Figure(marks.maxrss_bytes, "upper_bound", "wait4 ru_maxrss", error_bytes, note)
    usable = marks.is_root and not marks.reaped_others and not floored
    value = max(read, marks.maxrss_bytes) if usable else read
    exact = max(0, marks.rss_bytes - (0 if tree.statm_exact else error_bytes))
    notes = []
    if marks.reaped_others and marks.maxrss_bytes > read:
        notes.append("it waited for children, and one of them may have set ru_maxrss")
    if floored:
        notes.append("it is no larger than the sampler that started it, which ru_maxrss includes")
    if usable and marks.maxrss_bytes >= read:
        source = "wait4 ru_maxrss"
    else:
        source = "status VmHWM" if marks.hwm_bytes >= marks.rss_bytes else "statm"
    return Figure(
        value,
        "bounded",
        source,
        error_bytes=max(0, marks.maxrss_bytes + error_bytes - value),
        over_bytes=min(max(0, value - exact), error_bytes),
        note="; ".join(notes),
    )


def _refusals(tree: Tree) -> str:
    return f"{tree.refused} readings were refused by the kernel" if tree.refused else ""


def _largest(tree: Tree) -> Figure:
    figure = process_peak(tree.largest, tree)
    read = max(tree.largest.rss_bytes, tree.largest.hwm_bytes)
    beyond = read > (tree.largest.maxrss_bytes or 0) + tree.counter_error_bytes
    if figure.bytes is None or not (beyond or tree.survivors or any(m.forgets_children for m in tree.processes)):
        return figure
    # Somebody's end was heard by nobody, so nothing limits how large it can have been.
    return attrs.evolve(figure, status="sampled", error_bytes=0, note="the end of some process was seen by nobody")


def _tree_pss(tree: Tree) -> Figure:
    if tree.pss_bytes is None:
        why = _refusals(tree) or "the tree ended before it could be read, or its budget is 0"
        return Figure(None, "unavailable", "smaps_rollup", note=why)
    several = "" if tree.max_alive <= 1 else "read one process after the other: what moves meanwhile can count twice"
    return Figure(tree.pss_bytes, "sampled", "smaps_rollup", note="; ".join(filter(None, (several, _refusals(tree)))))


def _rss_sum(tree: Tree) -> Figure:
    single = tree.max_alive <= 1
    value = tree.rss_high_bytes if single else tree.rss_sum_bytes
    if value == 0:
        return Figure(None, "unavailable", "statm", note="the tree ended before it could be read")
    note = "" if single else f"{_SEVERAL}: more than the tree needs"
    return Figure(value, "sampled", "statm, VmHWM" if single else "statm", note=note)


def _largest_overlap_bytes(tree: Tree) -> int:
    """The largest sum of marks over processes that can have been alive at once: between two ticks nobody knows."""
    events = []
    for marks in tree.processes:
        events.append((marks.first_s - tree.interval_s, 0, marks.known_bytes))
        events.append((marks.end_s, 1, -marks.known_bytes))
    events.sort()
    sum_bytes = most = 0
    for _, _, change in events:
        sum_bytes += change
        most = max(most, sum_bytes)
    return most


def _upper_bound(tree: Tree, largest: Figure) -> Figure:
    overlap_bytes = tree.marks_sum_bytes if tree.dropped_processes else _largest_overlap_bytes(tree)
    value = max(overlap_bytes, tree.marks_sum_bytes, tree.rss_sum_bytes, largest.bytes or 0)
    if value == 0:
        return Figure(None, "unavailable", "VmHWM, wait4 ru_maxrss", note="no process could be read")
    note = "sum of the high-water marks of the processes alive together"
    if tree.hidden:
        note += ", as last read: it holds for what was read, and " + tree.hidden
    error_bytes = tree.counter_error_bytes * max(1, tree.max_alive)
    return Figure(value, "upper_bound", "statm, VmHWM, wait4 ru_maxrss", error_bytes, note)


def _peak(tree: Tree, largest: Figure, pss: Figure, upper: Figure) -> Figure:
    if len(tree.processes) <= 1 and not tree.hidden:
        return largest
    by_pss = (pss.bytes or 0) >= (largest.bytes or 0)
    figure = pss if by_pss else largest
    if figure.bytes is None or largest.status == "upper_bound":
        return largest
    if tree.hidden or tree.refused or upper.bytes is None:
        note = f"a lower bound: {tree.hidden or _refusals(tree) or 'its upper end is not known'}"
        return Figure(figure.bytes, "sampled", figure.source, note=note, over_bytes=figure.over_bytes)
    note = "several processes: shared pages once; the upper end is the sum of their high-water marks"
    error_bytes = max(0, upper.bytes + upper.error_bytes - figure.bytes)
    return Figure(figure.bytes, "bounded", figure.source, error_bytes, note, figure.over_bytes)


class Figures(TypedDict):
    """The figures of one measurement, by their names in `Measurement`."""

    peak: Figure
    root_peak_rss: Figure
    largest_peak_rss: Figure
    tree_peak_pss: Figure
    tree_peak_rss_sum: Figure
    tree_upper_bound: Figure
    cgroup_peak: Figure


def all_figures(tree: Tree) -> Figures:
    """What the marks of a tree amount to."""
    largest = _largest(tree)
    pss = _tree_pss(tree)
    upper = _upper_bound(tree, largest)
    nothing = Figure(None, "unavailable", "wait4", note="the root was never seen")
    return {
        "peak": _peak(tree, largest, pss, upper),
        "root_peak_rss": process_peak(tree.root, tree) if tree.root else nothing,
        "largest_peak_rss": largest,
        "tree_peak_pss": pss,
        "tree_peak_rss_sum": _rss_sum(tree),
        "tree_upper_bound": upper,
        "cgroup_peak": Figure(None, "unavailable", "cgroup", note=_NO_CGROUP),
    }
