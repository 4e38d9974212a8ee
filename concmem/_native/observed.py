"""What is known of a measured tree before any figure is made of it: plain facts, as the sampler noted them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import attrs

from concmem._figures.bounds import Unseen
from concmem._figures.process import Marks, process_peak
from concmem.model import Figure

__all__ = ["LOT_PAGES", "Charge", "Tree"]

LOT_PAGES = 64
"""The kernel charges a control group in lots of so many pages a CPU (MEMCG_CHARGE_BATCH)."""


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


@attrs.define
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
        least_bytes: What all had at once at the least, by the sizes of each and by what can be shared of them.
        rss_sum_bytes: The largest sum of statm readings.
        rss_high_bytes: The same, lifted by marks that rose between two readings.
        exact_sum_bytes: The largest sum of RSS that the kernel kept, or None.
        exact_sum_lost: How many changes that sum may lack.
        left_groups: Whether some process was met outside of the control groups that the command was born in.
        several_threads: The most threads at once, where some process had more than one; else 0.
        cpus: CPUs that the tree may use.
        marks_sum_bytes: The largest sum of marks as they stood at a tick.
        max_alive: The most processes that were seen at once.
        survivors: How many could not be killed.
        left_running: How many were left running, as was asked for.
        refused: How many readings the kernel refused.
        blind: Why no process could be looked at, or "".
        dropped_processes: Processes that are missing in `processes`.
        everybody_told: Whether an exit record of every process was had.
        windows: Whether high-water marks were set back at every reading.
        statm_exact: Whether statm counts every page at once here.
        counter_error_bytes: By how much marks can be off, either way.
        floor_bytes: What the root's ``ru_maxrss`` cannot fall below.
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
    least_bytes: int
    rss_sum_bytes: int
    rss_high_bytes: int
    exact_sum_bytes: int | None
    exact_sum_lost: int
    left_groups: bool
    several_threads: int
    cpus: int
    marks_sum_bytes: int
    max_alive: int
    survivors: int
    left_running: int
    refused: int
    blind: str
    dropped_processes: int
    everybody_told: bool
    windows: bool
    statm_exact: bool
    counter_error_bytes: int
    floor_bytes: int
    charge: Charge
    swap_bytes: int | None
    lot_bytes: int

    @cached_property
    def nobody_hidden(self) -> bool:
        """Whether nobody can have come and gone unseen: all ended in sight, and none waited for children itself."""
        return self.everybody_told or (all(m.heard for m in self.processes) and not self.dropped_processes)

    @cached_property
    def unheard(self) -> str:
        """Why some process may have been of any size; "" where an ancestor, or its exit record, told of each."""
        if self.survivors:
            return "some processes could not be ended, and live on"
        if self.left_running:
            return "some processes were left running, and how large they were between readings is told at an end only"
        if self.largest.inexact:
            late = self.largest.inexact
            windows = "1 window was" if late == 1 else f"{late} windows were"
            return f"{windows} set back late, and what was held just then can be missing"
        if self.everybody_told:
            return ""
        if self.blind:
            return ""  # only the ends are known, and those all
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
