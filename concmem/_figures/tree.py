"""Pure functions that compute the figures of a measurement and their errors from what was observed of the tree."""

from __future__ import annotations

from functools import lru_cache
from typing import TypedDict

import attrs

from concmem._figures.bounds import largest_sum_bytes
from concmem._native.observed import Tree
from concmem.model import Figure, Status
from concmem.units import format_bytes

__all__ = ["LOWER_BOUND_SOURCE", "Figures", "all_figures"]

_SEVERAL = "shared pages count once for each process that has them"
LOWER_BOUND_SOURCE = "statm, less shared"
"""The source of a lower end that is the sum of RSS less everything that can be shared."""

_HUGE_BYTES = 2 << 20
_EXACT_SUM = "kmem:rss_stat by eBPF"


@lru_cache(maxsize=64)
def _none(source: str, why: str) -> Figure:
    """Return an unavailable figure. It is cached, because most measurements lack the same figures."""
    return Figure(None, "unavailable", source, note=why)


def _refusals(tree: Tree) -> str:
    return tree.no_readings_reason or (f"{tree.refused} readings were refused by the kernel" if tree.refused else "")


def _largest(tree: Tree) -> Figure:
    figure = tree.peak_of(tree.largest)
    if figure.bytes is None or not tree.size_unknown_reason:
        return figure
    return attrs.evolve(figure, status="sampled", error_bytes=0, high_source="", note=tree.size_unknown_reason)


def _tree_pss(tree: Tree) -> Figure:
    if tree.pss_bytes is None:
        why = _refusals(tree) or "the tree ended before it could be read, or its budget is 0"
        return _none("smaps_rollup", why)
    several = "" if tree.max_alive <= 1 else "processes are read in turn: memory that moves in between can count twice"
    note = "; ".join(filter(None, (several, _refusals(tree))))
    return Figure(tree.pss_bytes, "sampled", "smaps_rollup", note=note, over_bytes=tree.pss_over_bytes)


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
        return Figure(value, "sampled", _EXACT_SUM, note="; ".join(filter(None, (note, reason))))
    if not tree.several_threads:
        return Figure(value, "exact", _EXACT_SUM, note=note)
    off_bytes = _HUGE_BYTES * (min(tree.cpus, tree.several_threads) - 1)
    threads = "changes by several threads of a process at once can have been reported in the wrong order"
    notes = "; ".join(filter(None, (note, threads)))
    return Figure(value, "bounded", _EXACT_SUM, off_bytes, notes, min(off_bytes, value))


def _rss_sum(tree: Tree) -> Figure:
    single = tree.max_alive <= 1
    note = "" if single else f"{_SEVERAL}: more than the tree needs"
    if tree.exact_sum_bytes:
        return _exact_sum(tree, tree.exact_sum_bytes, note)
    value = tree.rss_high_bytes if single else tree.rss_sum_bytes
    if value == 0:
        return _none("statm", _refusals(tree) or "the tree ended before it could be read")
    over_bytes = 0 if tree.statm_exact else tree.counter_error_bytes * max(1, tree.max_alive)
    source = "statm, VmHWM" if single else "statm"
    return Figure(value, "sampled", source, note=note, over_bytes=min(over_bytes, value))


def _upper_bound(tree: Tree, largest: Figure, rss_sum: Figure) -> Figure:
    """Return what the tree cannot have exceeded; unavailable if the size of some process is unknown."""
    read = max(tree.marks_sum_bytes, tree.rss_sum_bytes, largest.bytes or 0)
    if read == 0:
        return _none("VmHWM, wait4 ru_maxrss", "no process could be read")
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
        return _none("VmHWM, wait4 ru_maxrss", reason)
    unseen = () if tree.all_were_seen else tree.unseen
    if len(tree.processes) > 1 or unseen:
        read = max(read, largest_sum_bytes(tree.processes, unseen, no_larger))
    value = max(read, no_larger)
    count = max((count for _, _, count in unseen), default=0)
    notes = ["the largest sum of high-water marks of processes that can have been alive together"]
    if count:
        notes.append(f"up to {count} at a time started and ended unseen, and count as the largest process")
    error_bytes = tree.counter_error_bytes * (max(1, tree.max_alive) + count)
    source = "statm, VmHWM, wait4 ru_maxrss" + (", taskstats" if tree.has_all_exit_records else "")
    return Figure(value, "upper_bound", source, error_bytes, "; ".join(notes))


def _lower_bound(tree: Tree) -> Figure:
    """Return the sum of RSS less what can be shared. It has the errors of two readings: now, and when first seen."""
    over_bytes = 0 if tree.statm_exact else 2 * tree.counter_error_bytes * max(1, tree.max_alive)
    return Figure(
        tree.lower_bound_bytes, "sampled", LOWER_BOUND_SOURCE, over_bytes=min(over_bytes, tree.lower_bound_bytes)
    )


def _peak(tree: Tree, largest: Figure, pss: Figure, upper: Figure) -> Figure:
    if len(tree.processes) <= 1 and tree.all_were_seen:
        return largest
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


def _cgroup(tree: Tree) -> Figure:
    charge = tree.charge
    if charge.peak_bytes is None:
        return _none("cgroup", charge.why_not)
    parts = ", ".join(f"{name.replace('_', ' ')} {format_bytes(size)}" for name, size in charge.parts.items() if size)
    note = "includes page cache and kernel memory, but not pages that another group was charged for first"
    note += f"; at the largest reading: {parts}" if parts else ""
    if tree.left_groups:
        note = f"processes left the group, and what they were charged after that is missing; {note}"
    status: Status = "sampled" if tree.left_groups else "bounded"
    return Figure(charge.peak_bytes, status, charge.source, note=note, over_bytes=tree.charge_batch_bytes)


def _swap(tree: Tree) -> Figure:
    if tree.swap_bytes is None:
        return _none("status VmSwap", "this machine has no swap")
    return Figure(tree.swap_bytes, "sampled", "status VmSwap", note="swapped-out memory is not part of RSS and PSS")


class Figures(TypedDict):
    """The figures of one measurement, by their names in `Measurement`."""

    peak: Figure
    root_peak_rss: Figure
    largest_peak_rss: Figure
    tree_peak_pss: Figure
    tree_peak_rss_sum: Figure
    tree_upper_bound: Figure
    cgroup_peak: Figure
    tree_peak_swap: Figure


def all_figures(tree: Tree) -> Figures:
    """Compute all figures of a tree."""
    largest = _largest(tree)
    pss = _tree_pss(tree)
    rss_sum = _rss_sum(tree)
    upper = _upper_bound(tree, largest, rss_sum)
    if tree.root is None:
        root = _none("wait4", "the root was never seen")
    else:
        root = largest if tree.root is tree.largest and not tree.size_unknown_reason else tree.peak_of(tree.root)
    return {
        "peak": _peak(tree, largest, pss, upper),
        "root_peak_rss": root,
        "largest_peak_rss": largest,
        "tree_peak_pss": pss,
        "tree_peak_rss_sum": rss_sum,
        "tree_upper_bound": upper,
        "cgroup_peak": _cgroup(tree),
        "tree_peak_swap": _swap(tree),
    }
