"""
One function for each figure. It computes the figure and its error from what was observed of the tree.

Every function gets the tree, and a mapping of the other figures by name. The mapping computes a figure when it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import attrs

from concmem._figures.ends import explains_charge, lower_ends, outside_bytes, upper_ends, why_no_upper_end
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
        reason = f"the kernel could not record all changes of RSS: {tree.exact_sum_lost} are missing"
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
    """Return what the tree needed at most: the smallest of all upper ends."""
    least_bytes = max((end.low_bytes for end in lower_ends(tree, figures)), default=0)
    ends = [end for end in upper_ends(tree, figures) if end.high_bytes >= least_bytes]
    known = [end for end in ends if end.source is not FigureSource.MACHINE]
    if not known:
        return _none(FigureSource.MARKS, why_no_upper_end(tree) or "no process could be read")
    end = min(ends, key=lambda end: end.high_bytes)
    return Figure(end.bytes, "upper_bound", end.source.value, end.error_bytes, end.note)


def peak(tree: Tree, figures: Figures) -> Figure:
    """Return the headline: the range between the largest lower end and the smallest upper end."""
    largest, upper = figures["largest_peak_rss"], figures["tree_upper_bound"]
    low = max(lower_ends(tree, figures), key=lambda end: end.low_bytes, default=None)
    is_alone = len(tree.processes) <= 1 and tree.all_were_seen
    if low is None or (low.low_bytes == 0 and largest.status == "upper_bound"):
        is_lower = upper.high_bytes is not None and upper.high_bytes < (largest.high_bytes or 0)
        return upper if is_lower else largest
    if upper.bytes is None:
        is_known = is_alone and low.is_one_process and largest.status == "sampled"
        note = largest.note if is_known else f"a lower bound: {upper.note}"
        return Figure(low.bytes, "sampled", low.source.value, note=note, over_bytes=low.error_bytes)
    high_bytes = upper.bytes + upper.error_bytes
    if is_alone and low.is_one_process and largest.high_bytes is not None:
        note = largest.note
        by_mark_bytes = largest.high_bytes + outside_bytes(tree)
        high_source = upper.source
        if by_mark_bytes <= high_bytes and explains_charge(tree, by_mark_bytes):
            high_bytes, high_source = by_mark_bytes, largest.high_source
    else:
        refused = f"{_refusals(tree)}, so the lower end lacks the memory of those processes" if tree.refused else ""
        note = "; ".join(filter(None, (f"lower end: {low.note}; upper end: tree_upper_bound", refused)))
        high_source = upper.source
    value = max(low.low_bytes, min(low.bytes, high_bytes))
    error_bytes = max(0, high_bytes - value)
    return Figure(value, "bounded", low.source.value, error_bytes, note, value - low.low_bytes, high_source)


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
