"""
Both ends of what a tree needed: amounts that it certainly held, and amounts that it cannot have been above.

Each function returns every end that the sources of this measurement allow. The lower end of `peak` is the largest of
the first, its upper end the smallest of the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from concmem._classes.record import Record
from concmem._figures.bounds import largest_sum_bytes
from concmem._figures.figure_source import FigureSource
from concmem._figures.tree import Tree
from concmem.model import Figure
from concmem.units import format_bytes

__all__ = ["End", "explains_charge", "lower_ends", "outside_bytes", "upper_ends", "why_no_upper_end"]

_MACHINE_MARGIN_BYTES = 1 << 20
"""Shared memory of a whole machine varies by this much while nothing special happens."""


class End(Record):
    """
    One end of the range of `peak`.

    Attributes:
        bytes: The amount that was read.
        source: Where it was read.
        note: What it is: the end of "at most X: ..." or "lower end: ...".
        error_bytes: The amount may be wrong by this much: lower than a lower end, higher than an upper end.
        is_one_process: Whether it is the high-water mark of the largest process.
    """

    bytes: int
    source: FigureSource
    note: str
    error_bytes: int = 0
    is_one_process: bool = False

    @property
    def low_bytes(self) -> int:
        """The amount less its error."""
        return max(0, self.bytes - self.error_bytes)

    @property
    def high_bytes(self) -> int:
        """The amount and its error."""
        return self.bytes + self.error_bytes


def lower_ends(tree: Tree, figures: Mapping[str, Figure]) -> Iterator[End]:
    """Yield what the tree held at least."""
    held, largest, pss = tree.held, figures["largest_peak_rss"], figures["tree_peak_pss"]
    if largest.bytes is not None and largest.status != "upper_bound":
        over_bytes = min(largest.bytes, largest.over_bytes + held.duplicate_bytes)
        source, note = FigureSource(largest.source), "its largest process alone"
        yield End(largest.bytes, source, note, over_bytes, is_one_process=True)
    if pss.bytes is not None:
        value = max(pss.bytes, held.pss_bytes)
        yield End(value, FigureSource.PSS, "the largest sum of PSS that was read", pss.over_bytes)
    if tree.lower_bound_bytes:
        # It has the errors of two readings: now, and when first seen.
        over_bytes = 0 if tree.statm_exact else 2 * tree.counter_error_bytes * max(1, tree.max_alive)
        note = "the largest sum of RSS less everything that can be shared"
        yield End(tree.lower_bound_bytes, FigureSource.LOWER_BOUND, note, min(over_bytes, tree.lower_bound_bytes))
    if held.group_bytes:
        note = "the charge of its control group without page cache and kernel memory"
        yield End(held.group_bytes, FigureSource.CGROUP_HELD, note, 2 * tree.charge_batch_bytes)


def _outside(tree: Tree) -> dict[str, int]:
    """Return what the tree may have held outside of the RSS of its processes, in bytes."""
    held = tree.held
    parts = {
        "huge pages": held.hugetlb_pool_bytes,
        "memory that this machine swapped out": held.swapped_out_bytes,
    }
    if tree.charge.peak_bytes is not None and not tree.left_groups:
        parts["files in memory that it does not map"] = held.unmapped_bytes
        pinned_bytes = held.pinned_bytes if held.pinned_bytes > 2 * tree.charge_batch_bytes else 0
        parts["pinned memory"] = pinned_bytes
    else:
        parts["pinned memory"] = held.pinned_by_processes_bytes
    return {name: size for name, size in parts.items() if size}


def outside_bytes(tree: Tree) -> int:
    """Return how much the tree may have held outside of the RSS of its processes."""
    return sum(_outside(tree).values())


def _with_outside(tree: Tree, end: End) -> End:
    parts = _outside(tree)
    if not parts:
        return end
    named = " and ".join(f"{format_bytes(size)} of {name}" for name, size in parts.items())
    size, note = end.bytes + sum(parts.values()), f"{end.note}, and {named}"
    return End(size, end.source, note, end.error_bytes, end.is_one_process)


def why_no_upper_end(tree: Tree) -> str:
    """Return why the size of some process, or of all, is unknown; "" if it is known."""
    held = tree.held
    if held.shmem_unmapped_bytes > _MACHINE_MARGIN_BYTES and tree.charge.peak_bytes is None:
        return (
            f"it had {format_bytes(held.shmem_unmapped_bytes)} in files in memory (tmpfs, memfd) that it did not map,"
            " and only a control group (--cgroup) counts all of them"
        )
    dropped = "some processes could not be listed" if tree.dropped_processes else ""
    return tree.no_readings_reason or tree.size_unknown_reason or dropped


def _by_marks(tree: Tree, largest: Figure) -> End | None:
    read = max(tree.marks_sum_bytes, tree.rss_sum_bytes, largest.bytes or 0)
    if read == 0 or why_no_upper_end(tree):
        return None
    no_larger = max(tree.largest.own_bytes, tree.largest.maxrss_bytes or 0)
    unseen = () if tree.all_were_seen else tree.unseen
    if len(tree.processes) > 1 or unseen:
        read = max(read, largest_sum_bytes(tree.processes, unseen, no_larger))
    count = max((count for _, _, count in unseen), default=0)
    notes = ["the largest sum of high-water marks of processes that can have been alive together"]
    if count:
        notes.append(f"up to {count} at a time started and ended unseen, and count as the largest process")
    error_bytes = tree.counter_error_bytes * (max(1, tree.max_alive) + count)
    by_records = FigureSource.MARKS_AND_EXIT_RECORDS_SUM
    source = by_records if tree.has_all_exit_records else FigureSource.MARKS_SUM
    return End(max(read, no_larger), source, "; ".join(notes), error_bytes)


def _faults_are_known(tree: Tree) -> bool:
    if tree.held.shmem_unmapped_bytes > _MACHINE_MARGIN_BYTES and tree.charge.peak_bytes is None:
        return False
    is_whole = not (tree.survivors or tree.left_running or tree.no_readings_reason or tree.dropped_processes)
    return is_whole and not tree.held.faults_problem


def _by_faults(tree: Tree) -> End | None:
    held = tree.held
    if not held.faults_bytes or not _faults_are_known(tree):
        return None
    note, more_bytes = "what its page faults can have brought into memory", 0
    sums = 0 if tree.statm_exact else 2 * max(1, tree.max_alive)
    if tree.charge.peak_bytes is None and held.shmem_extra_bytes > _MACHINE_MARGIN_BYTES:
        more_bytes = held.shmem_extra_bytes
        note += f", and {format_bytes(more_bytes)} in files in memory"
    return End(
        held.faults_bytes + more_bytes, FigureSource.FAULTS, note, tree.counter_error_bytes * (held.faults_marks + sums)
    )


def _by_group(tree: Tree) -> End | None:
    held, peak_bytes = tree.held, tree.charge.peak_bytes
    if peak_bytes is None or tree.left_groups or not held.files_bytes or not _faults_are_known(tree):
        return None
    more_bytes = held.elsewhere_bytes + held.hugetlb_pool_bytes + held.swapped_out_bytes
    note = f"the charge of its control group, and {format_bytes(more_bytes)} that it is not charged for"
    error_bytes = tree.charge_batch_bytes + tree.counter_error_bytes * held.faults_marks
    return End(peak_bytes + more_bytes, FigureSource.CGROUP_AND_ELSEWHERE, note, error_bytes)


def _by_processes(tree: Tree, figures: Mapping[str, Figure]) -> Iterator[End]:
    """Yield what the processes needed at most, with what is known to be outside of their RSS."""
    largest, rss_sum = figures["largest_peak_rss"], figures["tree_peak_rss_sum"]
    if rss_sum.status in ("exact", "bounded") and rss_sum.bytes is not None and not tree.held.shmem_unmapped_bytes:
        value = max(rss_sum.bytes, largest.low_bytes or 0)
        note = "the kernel's own sum of RSS; shared pages count once for each process that has them"
        yield _with_outside(tree, End(value, FigureSource(rss_sum.source), note, rss_sum.error_bytes))
    for end in (_by_marks(tree, largest), _by_faults(tree)):
        if end is not None:
            yield _with_outside(tree, end)


def explains_charge(tree: Tree, high_bytes: int) -> bool:
    """
    Return whether this upper end, page cache and kernel memory explain the largest charge of the control group.

    The kernel's maximum of the charge also has what was there between two readings, and in no process.
    """
    peak_bytes = tree.charge.peak_bytes
    return peak_bytes is None or tree.left_groups or high_bytes >= peak_bytes - tree.held.cache_bytes


def upper_ends(tree: Tree, figures: Mapping[str, Figure]) -> Iterator[End]:
    """Yield what the tree needed at most."""
    held, by_group = tree.held, _by_group(tree)
    yield from (end for end in _by_processes(tree, figures) if explains_charge(tree, end.high_bytes))
    if by_group is not None:
        yield by_group
    if held.machine_bytes:
        yield End(held.machine_bytes, FigureSource.MACHINE, "RAM and swap of this machine")
    if held.limit_bytes is not None and held.files_bytes and _faults_are_known(tree):
        more_bytes = held.files_bytes + held.hugetlb_pool_bytes + held.swapped_out_bytes
        note = "the memory limit of the control group around concmem, and what may be charged elsewhere"
        yield End(held.limit_bytes + more_bytes, FigureSource.LIMIT, note)
