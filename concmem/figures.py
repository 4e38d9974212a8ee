"""What the readings amount to: pure functions from what the sampler noted to figures with their errors."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TypedDict

import attrs

from concmem._bounds import Unseen, largest_sum_bytes
from concmem._marks import Marks, process_peak
from concmem.model import Figure
from concmem.units import format_bytes

__all__ = ["LOT_PAGES", "Charge", "Figures", "Marks", "Tree", "all_figures"]

_SEVERAL = "shared pages count once for each process that has them"
LOT_PAGES = 64
"""The kernel charges a control group in lots of so many pages a CPU (MEMCG_CHARGE_BATCH)."""

_HUGE_BYTES = 2 << 20
_EXACT_SUM = "kmem:rss_stat by eBPF"


@attrs.frozen
class Charge:
    """
    What a control group was charged, or why there is none.

    Attributes:
        peak_bytes: The kernel's own maximum, or None.
        source: The file that it was read from.
        parts: What the charge consisted of when it was read at its largest, in bytes.
        why_not: One sentence where there is none.
    """

    peak_bytes: int | None = None
    source: str = "cgroup"
    parts: dict[str, int] = attrs.field(factory=dict)
    why_not: str = ""


@attrs.frozen
class Tree:
    """
    What is known of the whole tree.

    Attributes:
        root: The root's marks, or None where it was never seen.
        largest: The largest of each mark over all processes.
        processes: Every process that was seen.
        unseen: How many may have come and gone without being seen, and when.
        pss_bytes: The largest sum of PSS, or None where there was no reading.
        pss_over_bytes: By how much RSS changed in the course of that reading.
        rss_sum_bytes: The largest sum of statm readings.
        rss_high_bytes: The same, lifted by marks that rose between two readings.
        exact_sum_bytes: The largest sum of RSS that the kernel kept, or None.
        exact_sum_lost: How many changes that sum may lack.
        several_threads: The most threads at once, where some process had more than one; else 0.
        cpus: CPUs that the tree may use.
        marks_sum_bytes: The largest sum of marks as they stood at a tick.
        max_alive: The most processes that were seen at once.
        survivors: How many could not be killed.
        refused: How many readings the kernel refused.
        dropped_processes: Processes that are missing in `processes`.
        everybody_told: Whether an exit record of every process was had.
        windows: Whether high-water marks were set back at every reading.
        statm_exact: Whether statm counts every page at once here.
        counter_error_bytes: By how much marks can be off, either way.
        floor_bytes: What the root's ``ru_maxrss`` cannot fall below.
        interval_s: Between two readings.
        charge: Of the control group.
        swap_bytes: The most that was swapped out, or None where the machine has no swap.
        lot_bytes: By how much a group's maximum can read high.
    """

    root: Marks | None
    largest: Marks
    processes: Sequence[Marks]
    unseen: Sequence[Unseen]
    pss_bytes: int | None
    pss_over_bytes: int
    rss_sum_bytes: int
    rss_high_bytes: int
    exact_sum_bytes: int | None
    exact_sum_lost: int
    several_threads: int
    cpus: int
    marks_sum_bytes: int
    max_alive: int
    survivors: int
    refused: int
    dropped_processes: int
    everybody_told: bool
    windows: bool
    statm_exact: bool
    counter_error_bytes: int
    floor_bytes: int
    interval_s: float
    charge: Charge
    swap_bytes: int | None
    lot_bytes: int

    @cached_property
    def nobody_hidden(self) -> bool:
        """Whether nobody can have come and gone unseen: all ended in sight, and none waited for children itself."""
        heard = all(
            m.maxrss_bytes is not None and not m.reaped_others and not m.forgets_children for m in self.processes
        )
        return self.everybody_told or (heard and not self.dropped_processes)

    @cached_property
    def unheard(self) -> str:
        """Why some process may have been of any size; "" where an ancestor, or its exit record, told of each."""
        if self.survivors:
            return "some processes could not be ended, and live on"
        if self.largest.inexact:
            return f"{self.largest.inexact} windows were set back late, and what was held just then can be missing"
        if self.everybody_told:
            return ""
        if any(marks.forgets_children for marks in self.processes):
            return "a process ignores SIGCHLD, so nobody hears how large its children were that nobody read"
        read = max(self.largest.rss_bytes, self.largest.hwm_bytes)
        if not self.windows and read > (self.largest.maxrss_bytes or 0) + self.counter_error_bytes:
            return "the end of some process was seen by nobody"
        return ""

    def peak_of(self, marks: Marks) -> Figure:
        """One process's high-water mark."""
        return process_peak(
            marks,
            error_bytes=self.counter_error_bytes,
            floor_bytes=self.floor_bytes,
            statm_exact=self.statm_exact,
            windows=self.windows,
        )


def _refusals(tree: Tree) -> str:
    return f"{tree.refused} readings were refused by the kernel" if tree.refused else ""


def _largest(tree: Tree) -> Figure:
    figure = tree.peak_of(tree.largest)
    if figure.bytes is None or not tree.unheard:
        return figure
    return attrs.evolve(figure, status="sampled", error_bytes=0, high_source="", note=tree.unheard)


def _tree_pss(tree: Tree) -> Figure:
    if tree.pss_bytes is None:
        why = _refusals(tree) or "the tree ended before it could be read, or its budget is 0"
        return Figure(None, "unavailable", "smaps_rollup", note=why)
    several = "" if tree.max_alive <= 1 else "read one process after the other: what moves meanwhile can count twice"
    note = "; ".join(filter(None, (several, _refusals(tree))))
    return Figure(tree.pss_bytes, "sampled", "smaps_rollup", note=note, over_bytes=tree.pss_over_bytes)


def _exact_sum(tree: Tree, value: int, note: str) -> Figure:
    """
    The kernel's own sum: of processes of one thread each it is exact.

    Two threads that change the size of one process at the same moment can tell of it in the wrong order. Each such
    change is at most a huge page.
    """
    if tree.exact_sum_lost:
        lost = f"{tree.exact_sum_lost} changes came too close together to be counted"
        return Figure(value, "sampled", _EXACT_SUM, note="; ".join(filter(None, (note, lost))))
    if not tree.several_threads:
        return Figure(value, "exact", _EXACT_SUM, note=note)
    off_bytes = _HUGE_BYTES * (min(tree.cpus, tree.several_threads) - 1)
    threads = "changes by several threads of one process at once can have been told in the wrong order"
    notes = "; ".join(filter(None, (note, threads)))
    return Figure(value, "bounded", _EXACT_SUM, off_bytes, notes, min(off_bytes, value))


def _rss_sum(tree: Tree) -> Figure:
    single = tree.max_alive <= 1
    note = "" if single else f"{_SEVERAL}: more than the tree needs"
    if tree.exact_sum_bytes:
        return _exact_sum(tree, tree.exact_sum_bytes, note)
    value = tree.rss_high_bytes if single else tree.rss_sum_bytes
    if value == 0:
        return Figure(None, "unavailable", "statm", note=_refusals(tree) or "the tree ended before it could be read")
    over_bytes = 0 if tree.statm_exact else tree.counter_error_bytes * max(1, tree.max_alive)
    source = "statm, VmHWM" if single else "statm"
    return Figure(value, "sampled", source, note=note, over_bytes=min(over_bytes, value))


def _upper_bound(tree: Tree, largest: Figure, rss_sum: Figure) -> Figure:
    """There wherever nobody can have been of any size."""
    read = max(tree.marks_sum_bytes, tree.rss_sum_bytes, largest.bytes or 0)
    if read == 0:
        return Figure(None, "unavailable", "VmHWM, wait4 ru_maxrss", note="no process could be read")
    if rss_sum.status in ("exact", "bounded") and rss_sum.bytes is not None:
        note = f"the kernel's own sum of RSS; {_SEVERAL}, so the tree needed no more"
        value = max(rss_sum.bytes, largest.low_bytes or 0)
        return Figure(value, "upper_bound", rss_sum.source, rss_sum.error_bytes, note)
    no_larger = max(tree.largest.own_bytes, tree.largest.maxrss_bytes or 0)
    if lacks := tree.unheard or ("some processes could not be listed" if tree.dropped_processes else ""):
        return Figure(None, "unavailable", "VmHWM, wait4 ru_maxrss", note=lacks)
    unseen = () if tree.nobody_hidden else tree.unseen
    if len(tree.processes) > 1 or unseen:
        read = max(read, largest_sum_bytes(tree.processes, unseen, no_larger, tree.interval_s))
    value = max(read, no_larger)
    count = max((count for _, _, count in unseen), default=0)
    notes = ["the largest sum of high-water marks of processes that can have been alive together"]
    if count:
        notes.append(f"up to {count} at a time came and went unseen, and count as the largest of all")
    error_bytes = tree.counter_error_bytes * (max(1, tree.max_alive) + count)
    source = "statm, VmHWM, wait4 ru_maxrss" + (", taskstats" if tree.everybody_told else "")
    return Figure(value, "upper_bound", source, error_bytes, "; ".join(notes))


def _peak(tree: Tree, largest: Figure, pss: Figure, upper: Figure) -> Figure:
    if len(tree.processes) <= 1 and tree.nobody_hidden:
        return largest
    figure = pss if (pss.bytes or 0) >= (largest.bytes or 0) else largest
    if figure.bytes is None or largest.status == "upper_bound":
        return largest
    if upper.bytes is None:
        note = f"a lower bound: {upper.note}"
        return Figure(figure.bytes, "sampled", figure.source, note=note, over_bytes=figure.over_bytes)
    by = "the largest sum of PSS that was read" if figure is pss else "its largest process alone"
    note = f"several processes: the lower end is {by}, the upper end what they cannot have exceeded together"
    refused = f"{_refusals(tree)}, so the lower end lacks what those held" if tree.refused else ""
    error_bytes = max(0, upper.bytes + upper.error_bytes - figure.bytes)
    notes = "; ".join(filter(None, (note, refused)))
    return Figure(figure.bytes, "bounded", figure.source, error_bytes, notes, figure.over_bytes, upper.source)


def _cgroup(tree: Tree) -> Figure:
    charge = tree.charge
    if charge.peak_bytes is None:
        return Figure(None, "unavailable", "cgroup", note=charge.why_not)
    parts = ", ".join(f"{name.replace('_', ' ')} {format_bytes(size)}" for name, size in charge.parts.items() if size)
    note = "page cache and kernel memory are inside, and not what others were charged for first"
    note += f"; when it was read at its largest: {parts}" if parts else ""
    return Figure(charge.peak_bytes, "bounded", charge.source, note=note, over_bytes=tree.lot_bytes)


def _swap(tree: Tree) -> Figure:
    if tree.swap_bytes is None:
        return Figure(None, "unavailable", "status VmSwap", note="this machine has no swap")
    return Figure(tree.swap_bytes, "sampled", "status VmSwap", note="what is swapped out is in no RSS and no PSS")


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
    """What the marks of a tree amount to."""
    largest = _largest(tree)
    pss = _tree_pss(tree)
    rss_sum = _rss_sum(tree)
    upper = _upper_bound(tree, largest, rss_sum)
    if tree.root is None:
        root = Figure(None, "unavailable", "wait4", note="the root was never seen")
    else:
        root = largest if tree.root is tree.largest and not tree.unheard else tree.peak_of(tree.root)
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
