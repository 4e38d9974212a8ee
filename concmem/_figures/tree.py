"""What was observed of a whole tree, as the functions that compute figures need it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from concmem._classes.record import Record
from concmem._figures.bounds import Unseen
from concmem._figures.figure_source import FigureSource
from concmem._figures.held import Held, read_held
from concmem._figures.process import Marks, process_peak
from concmem._native.observed import Observed
from concmem.host import Host, counter_error_bytes
from concmem.model import Figure
from concmem.timeline import Timeline

__all__ = ["NOT_ASKED", "Charge", "Tree", "read_charge", "read_tree"]

_CHARGE_BATCH_PAGES = 64
"""The kernel charges a control group in batches of this many pages per CPU (MEMCG_CHARGE_BATCH)."""


class Charge(Record):
    """
    What the kernel charged to a control group, or why this is unknown.

    Attributes:
        peak_bytes: The kernel's own maximum, or None.
        source: The file that it was read from.
        parts: What the largest charge that was read consisted of, in bytes.
        why_not: One sentence if it is unknown, else "".
    """

    peak_bytes: int | None
    source: str
    parts: dict[str, int]
    why_not: str = ""

    @classmethod
    def unknown(cls, why_not: str) -> Charge:
        """Return that it is unknown, and why."""
        return cls(None, FigureSource.CGROUP.value, {}, why_not)


class Tree(Record):
    """
    What was observed of the whole tree.

    Attributes:
        root: The root's high-water marks, or None if it was never seen.
        largest: The largest of each high-water mark over all processes.
        processes: Every process that was seen.
        unseen: When processes may have started and ended without being seen, and how many.
        pss_bytes: The largest sum of PSS, or None if it was never read.
        pss_over_bytes: By how much RSS changed during that reading.
        lower_bound_bytes: The largest sum of RSS less everything that can be shared.
        rss_sum_bytes: The largest sum of statm readings.
        rss_high_bytes: The same, raised by high-water marks that rose between two readings.
        exact_sum_bytes: The largest sum of RSS that the kernel kept, or None.
        exact_sum_lost: How many changes that sum may lack.
        left_groups: Whether a process was seen outside of the control groups in which the command was started.
        several_threads: The largest number of threads at once if some process had more than one, else 0.
        cpus: CPUs that the tree may use.
        marks_sum_bytes: The largest sum of high-water marks at a tick.
        max_alive: The largest number of processes that were seen at once.
        survivors: How many processes could not be killed.
        left_running: How many processes were left running, as requested.
        refused: How many readings the kernel refused.
        no_readings_reason: Why no process could be read, or "".
        dropped_processes: How many processes are missing in `processes`.
        has_all_exit_records: Whether the exit record of every process was received.
        windows: Whether high-water marks were reset at every reading.
        statm_exact: Whether statm counts every page immediately here.
        counter_error_bytes: The error of high-water marks, in both directions.
        floor_bytes: The smallest value that the root's ``ru_maxrss`` can have.
        charge: The charge of the control group.
        swap_bytes: The largest amount that was swapped out, or None if the machine has no swap.
        charge_batch_bytes: By how much a group's maximum can be too high.
        held: What the tree held, by other sources.
    """

    root: Marks | None
    largest: Marks
    processes: Sequence[Marks]
    unseen: Sequence[Unseen]
    pss_bytes: int | None
    pss_over_bytes: int
    lower_bound_bytes: int
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
    no_readings_reason: str
    dropped_processes: int
    has_all_exit_records: bool
    windows: bool
    statm_exact: bool
    counter_error_bytes: int
    floor_bytes: int
    charge: Charge
    swap_bytes: int | None
    charge_batch_bytes: int
    held: Held

    @cached_property
    def all_were_seen(self) -> bool:
        """Whether no process can have been missed: the sampler reaped all, and none of them waited for children."""
        if self.has_all_exit_records:
            return True
        return all(marks.is_fully_known for marks in self.processes) and not self.dropped_processes

    @cached_property
    def size_unknown_reason(self) -> str:
        """Why the size of some process is unknown; "" if an ancestor or an exit record reported each."""
        if self.survivors:
            return "some processes could not be killed, and still run"
        if self.left_running:
            return "some processes were left running, and their largest size is known only at their end"
        if self.largest.inexact:
            late = self.largest.inexact
            windows = "1 high-water mark was" if late == 1 else f"{late} high-water marks were"
            return f"{windows} reset late, so memory that was held just then can be missing"
        ignores_sigchld = any(marks.ignores_sigchld for marks in self.processes)
        # An exit record does not tell what the process held before an exec, and such a parent does not either.
        have_executed = any(marks.has_executed and not marks.is_root for marks in self.processes)
        if self.has_all_exit_records and not (ignores_sigchld and have_executed):
            return ""
        if self.no_readings_reason:
            return ""  # the sizes at the end are known of all processes, and nothing else
        if ignores_sigchld:
            return "a process ignores SIGCHLD, so the size of children that ended before they were read is unknown"
        read = max(self.largest.rss_bytes, self.largest.hwm_bytes)
        if not self.windows and read > (self.largest.maxrss_bytes or 0) + self.counter_error_bytes:
            return "the end of some process was not reported to the sampler"
        return ""

    def peak_of(self, marks: Marks) -> Figure:
        """Return the high-water mark of one process as a figure."""
        return process_peak(
            marks,
            error_bytes=self.counter_error_bytes,
            floor_bytes=self.floor_bytes,
            statm_exact=self.statm_exact,
            windows=self.windows,
        )


NOT_ASKED = Charge.unknown("it was not requested: use cgroup=True, or concmem run --cgroup")


def read_charge(observed: Observed, host: Host) -> Charge:
    """Return what the kernel charged to the command's control group."""
    head, source = observed.head, observed.sources["cgroup"]
    if source.is_missing:
        return Charge.unknown(source.why_not)
    parts = {name: size for name, size in observed.cgroup_parts().items() if name != "usage"}
    second = head.memory_group_version == 2
    if not second:  # version 1 does not split kernel memory, but its largest parts are known from other sources
        parts["page_tables"] = min(observed.sources["status"].maxima[3], parts["kernel"])
        parts["kernel_stack"] = min(head.max_threads * host.kernel_stack_bytes, parts["kernel"] - parts["page_tables"])
    source_of_peak = FigureSource.CGROUP_V2 if second else FigureSource.CGROUP_V1
    return Charge(head.cgroup_peak_bytes, source_of_peak.value, parts)


def _unseen(observed: Observed, timeline: Timeline) -> list[Unseen]:
    """Return intervals in which PIDs were allocated and free again one or two ticks later, or at the end."""
    head = observed.head
    spans = list(timeline.spans("children", 1))
    if head.last_unseen:
        spans.append((head.last_unseen_since_ns / 1e9, head.end_ns / 1e9, head.last_unseen))
    gap_s = head.longest_gap_ns / 1e9
    return [(max(0.0, before_s - gap_s), until_s, count) for before_s, until_s, count in spans]


def _largest_of_all(observed: Observed, marks: Sequence[Marks]) -> Marks:
    if len(marks) == 1 and marks[0].is_root and marks[0].maxrss_bytes is not None and not marks[0].reaped_others:
        return marks[0]
    head = observed.head
    return Marks(
        head.rss_largest_bytes,
        head.hwm_largest_bytes,
        head.maxrss_largest_bytes,
        max((m.exit_record_bytes for m in marks if m.exit_record_bytes is not None), default=None),
        inexact=head.inexact_windows,
        is_root=True,
    )


def read_tree(observed: Observed, marks: Sequence[Marks], timeline: Timeline, host: Host, charge: Charge) -> Tree:
    """Return everything from which the figures are computed."""
    head, children = observed.head, observed.sources["children"]
    return Tree(
        root=next((m for m in marks if m.is_root), None),
        largest=_largest_of_all(observed, marks),
        processes=marks,
        unseen=_unseen(observed, timeline) if head.unseen else (),
        pss_bytes=observed.largest("smaps_rollup") if head.pss_readings else None,
        pss_over_bytes=head.pss_over_bytes,
        lower_bound_bytes=head.lower_bound_bytes,
        rss_sum_bytes=head.rss_sum_bytes,
        rss_high_bytes=observed.largest("statm"),
        exact_sum_bytes=head.rss_stat_peak_bytes if observed.was_read("rss_stat") else None,
        exact_sum_lost=head.rss_stat_inexact,
        left_groups=bool(head.left_groups),
        several_threads=head.max_threads if head.max_threads > head.max_alive else 0,
        cpus=host.cpus_allowed or host.cpus,
        marks_sum_bytes=observed.largest("status"),
        max_alive=head.max_alive,
        survivors=head.survivors,
        left_running=head.left_running,
        refused=head.refused_readings,
        no_readings_reason=children.why_not if children.is_missing else "",
        dropped_processes=head.processes_dropped,
        has_all_exit_records=observed.was_read("taskstats")
        and not (head.exit_records_lost or head.processes_dropped or head.survivors or head.left_running),
        windows=observed.was_read("windows"),
        statm_exact=bool(head.statm_exact),
        counter_error_bytes=counter_error_bytes(host, head.max_threads),
        floor_bytes=head.floor_bytes,
        charge=charge,
        swap_bytes=observed.largest("status", 1) if host.swap_bytes else None,
        charge_batch_bytes=_CHARGE_BATCH_PAGES * host.cpus * host.page_bytes,
        held=read_held(observed, host),
    )
