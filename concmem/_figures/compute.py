"""
One function for each figure. It computes the figure and its error from what was observed of the tree.

Every function gets the tree, and a mapping of the other figures by name. The mapping computes a figure when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import attrs

from concmem._figures.bounds import largest_sum_bytes
from concmem._figures.figure_source import FigureSource
from concmem._figures.tree import Tree
from concmem.model import Figure, Status
from concmem.units import format_bytes

__all__ = [
    "cgroup_peak",
    "largest_peak_rss",
    "peak",
    "root_peak_rss",
    "tree_peak_pss",
    "tree_peak_rss_sum",
    "tree_peak_swap",
    "tree_upper_bound",
]

Figures = Mapping[str, Figure]

_SEVERAL = "shared pages count once for each process that has them"
_HUGE_BYTES = 2 << 20


@lru_cache(maxsize=64)
def _none(source: FigureSource, why: str) -> Figure:
    """Return an unavailable figure. It is cached, because most measurements lack the same figures."""
    return Figure(None, "unavailable", source.value, note=why)


def _refusals(tree: Tree) -> str:
    return tree.no_readings_reason or (f"{tree.refused} readings were refused by the kernel" if tree.refused else "")


def largest_peak_rss(tree: Tree, _: Figures) -> Figure:
    """Return the high-water mark of the largest process."""
    figure = tree.peak_of(tree.largest)
    if figure.bytes is None or not tree.size_unknown_reason:
        return figure
    return attrs.evolve(figure, status="sampled", error_bytes=0, high_source="", note=tree.size_unknown_reason)


def tree_peak_pss(tree: Tree, _: Figures) -> Figure:
    """Return the largest sum of PSS."""
    if tree.pss_bytes is None:
        why = _refusals(tree) or "the tree ended before it could be read, or its budget is 0"
        return _none(FigureSource.PSS, why)
    several = "" if tree.max_alive <= 1 else "processes are read in turn: memory that moves in between can count twice"
    note = "; ".join(filter(None, (several, _refusals(tree))))
    return Figure(tree.pss_bytes, "sampled", FigureSource.PSS.value, note=note, over_bytes=tree.pss_over_bytes)


def _exact_sum(tree: Tree, value: int, note: str) -> Figure:
    """
    Return the kernel's own sum. It is exact if every process has a single thread.

    If two threads change the size of a process at the same time, the changes can be reported in the wrong order. Each
    such change is at most a huge page.
    """
    reason = ""
    if tree.exact_sum_lost:
        reason = f"{tree.exact_sum_lost} changes came too close together to be counted"
    elif tree.left_groups or tree.rss_sum_bytes > value + tree.counter_error_bytes * tree.max_alive:
        reason = "processes left the control group that identifies the tree, and are missing in the sum"
    if reason:
        value = max(value, tree.rss_sum_bytes)
        return Figure(value, "sampled", FigureSource.EXACT_SUM.value, note="; ".join(filter(None, (note, reason))))
    if not tree.several_threads:
        return Figure(value, "exact", FigureSource.EXACT_SUM.value, note=note)
    off_bytes = _HUGE_BYTES * (min(tree.cpus, tree.several_threads) - 1)
    threads = "changes by several threads of a process at once can have been reported in the wrong order"
    notes = "; ".join(filter(None, (note, threads)))
    return Figure(value, "bounded", FigureSource.EXACT_SUM.value, off_bytes, notes, min(off_bytes, value))


def tree_peak_rss_sum(tree: Tree, _: Figures) -> Figure:
    """Return the largest sum of RSS, which the kernel keeps if that was requested."""
    single = tree.max_alive <= 1
    note = "" if single else f"{_SEVERAL}: more than the tree needs"
    if tree.exact_sum_bytes:
        return _exact_sum(tree, tree.exact_sum_bytes, note)
    value = tree.rss_high_bytes if single else tree.rss_sum_bytes
    if value == 0:
        return _none(FigureSource.STATM, _refusals(tree) or "the tree ended before it could be read")
    over_bytes = 0 if tree.statm_exact else tree.counter_error_bytes * max(1, tree.max_alive)
    source = FigureSource.STATM_HWM if single else FigureSource.STATM
    return Figure(value, "sampled", source.value, note=note, over_bytes=min(over_bytes, value))


def tree_upper_bound(tree: Tree, figures: Figures) -> Figure:
    """Return what the tree needed at most; unavailable if the size of some process is unknown."""
    largest, rss_sum = figures["largest_peak_rss"], figures["tree_peak_rss_sum"]
    read = max(tree.marks_sum_bytes, tree.rss_sum_bytes, largest.bytes or 0)
    if read == 0:
        return _none(FigureSource.MARKS, "no process could be read")
    if rss_sum.status in ("exact", "bounded") and rss_sum.bytes is not None:
        note = f"the kernel's own sum of RSS; {_SEVERAL}, so the tree did not need more"
        value = max(rss_sum.bytes, largest.low_bytes or 0)
        return Figure(value, "upper_bound", rss_sum.source, rss_sum.error_bytes, note)
    no_larger = max(tree.largest.own_bytes, tree.largest.maxrss_bytes or 0)
    if (
        reason := tree.no_readings_reason
        or tree.size_unknown_reason
        or ("some processes could not be listed" if tree.dropped_processes else "")
    ):
        return _none(FigureSource.MARKS, reason)
    unseen = () if tree.all_were_seen else tree.unseen
    if len(tree.processes) > 1 or unseen:
        read = max(read, largest_sum_bytes(tree.processes, unseen, no_larger))
    value = max(read, no_larger)
    count = max((count for _, _, count in unseen), default=0)
    notes = ["the largest sum of high-water marks of processes that can have been alive together"]
    if count:
        notes.append(f"up to {count} at a time started and ended unseen, and count as the largest process")
    error_bytes = tree.counter_error_bytes * (max(1, tree.max_alive) + count)
    by_records = FigureSource.MARKS_AND_EXIT_RECORDS_SUM
    source = by_records if tree.has_all_exit_records else FigureSource.MARKS_SUM
    return Figure(value, "upper_bound", source.value, error_bytes, "; ".join(notes))


def _lower_bound(tree: Tree) -> Figure:
    """Return the sum of RSS less what can be shared: a difference of two readings, with the errors of both."""
    over_bytes = 0 if tree.statm_exact else 2 * tree.counter_error_bytes * max(1, tree.max_alive)
    return Figure(
        tree.lower_bound_bytes,
        "sampled",
        FigureSource.LOWER_BOUND.value,
        over_bytes=min(over_bytes, tree.lower_bound_bytes),
    )


def peak(tree: Tree, figures: Figures) -> Figure:
    """Return the headline: the largest process alone, or both ends of what several processes needed at once."""
    largest = figures["largest_peak_rss"]
    if len(tree.processes) <= 1 and tree.all_were_seen:
        return largest
    pss, upper = figures["tree_peak_pss"], figures["tree_upper_bound"]
    figure, by = largest, "its largest process alone"
    if (pss.bytes or 0) >= (largest.bytes or 0):
        figure, by = pss, "the largest sum of PSS that was read"
    lower_bound = _lower_bound(tree)
    if (lower_bound.low_bytes or 0) > (figure.low_bytes or 0):
        figure, by = lower_bound, "the largest sum of RSS less everything that can be shared"
    if figure.bytes is None or largest.status == "upper_bound":
        return largest
    if upper.bytes is None:
        note = f"a lower bound: {upper.note}"
        return Figure(figure.bytes, "sampled", figure.source, note=note, over_bytes=figure.over_bytes)
    note = f"several processes: the lower end is {by}, the upper end is tree_upper_bound"
    refused = f"{_refusals(tree)}, so the lower end lacks the memory of those processes" if tree.refused else ""
    error_bytes = max(0, upper.bytes + upper.error_bytes - figure.bytes)
    notes = "; ".join(filter(None, (note, refused)))
    return Figure(figure.bytes, "bounded", figure.source, error_bytes, notes, figure.over_bytes, upper.source)


def cgroup_peak(tree: Tree, _: Figures) -> Figure:
    """Return the charge of the command's own control group."""
    charge = tree.charge
    if charge.peak_bytes is None:
        return _none(FigureSource.CGROUP, charge.why_not)
    parts = ", ".join(f"{name.replace('_', ' ')} {format_bytes(size)}" for name, size in charge.parts.items() if size)
    note = "includes page cache and kernel memory, but not pages that another group was charged for first"
    note += f"; at the largest reading: {parts}" if parts else ""
    if tree.left_groups:
        note = f"processes left the group, and what they were charged after that is missing; {note}"
    status: Status = "sampled" if tree.left_groups else "bounded"
    return Figure(charge.peak_bytes, status, charge.source, note=note, over_bytes=tree.charge_batch_bytes)


def tree_peak_swap(tree: Tree, _: Figures) -> Figure:
    """Return the largest amount that was swapped out."""
    if tree.swap_bytes is None:
        return _none(FigureSource.SWAP, "this machine has no swap")
    return Figure(
        tree.swap_bytes, "sampled", FigureSource.SWAP.value, note="swapped-out memory is not part of RSS and PSS"
    )


def root_peak_rss(tree: Tree, figures: Figures) -> Figure:
    """Return the high-water mark of the root."""
    if tree.root is None:
        return _none(FigureSource.WAIT4, "the root was never seen")
    if tree.root is tree.largest and not tree.size_unknown_reason:
        return figures["largest_peak_rss"]
    return tree.peak_of(tree.root)
