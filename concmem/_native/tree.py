"""Read the head and the process table of the sampler's shared memory into `Tree`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from concmem._figures.bounds import Unseen
from concmem._figures.process import Marks
from concmem._native.observed import CHARGE_BATCH_PAGES, Charge, Tree
from concmem._native.shared_memory import native, track_of
from concmem.host import Host, counter_error_bytes
from concmem.timeline import Timeline

__all__ = ["NOT_ASKED", "largest_value", "missing_sources", "read_charge", "read_marks", "read_tree"]

NOT_ASKED = Charge(why_not="it was not requested: use cgroup=True, or concmem run --cgroup")


def read_marks(entry: Any, lib: Any) -> Marks:
    """Read the high-water marks of a process from its row of the process table."""
    flags = entry.flags
    return Marks(
        rss_bytes=entry.rss_bytes,
        hwm_bytes=entry.hwm_bytes,
        maxrss_bytes=entry.maxrss_bytes if flags & lib.CM_PROCESS_REAPED else None,
        exit_record_bytes=entry.exit_record_bytes if flags & lib.CM_PROCESS_HAS_EXIT_RECORD else None,
        since_s=entry.since_ns / 1e9,
        end_s=entry.end_ns / 1e9,
        hwm_read_s=entry.hwm_read_ns / 1e9,
        inexact=entry.inexact_windows,
        reaped_others=entry.child_faults > 0,
        ignores_sigchld=bool(flags & lib.CM_PROCESS_IGNORES_SIGCHLD),
        is_root=bool(flags & lib.CM_PROCESS_ROOT),
    )


def largest_value(track: Any, column: int = 0) -> int:
    """Return the largest value of one column, in bytes or counts."""
    return int(track.max[column] * track.columns[column].scale)


def missing_sources(head: Any) -> dict[str, str]:
    """Return the requested sources that were not available, each with its sentence."""
    ffi, _ = native()
    return {
        ffi.string(track.source).decode(): ffi.string(track.why_not).decode(errors="replace")
        for track in head.tracks[0 : head.ntracks]
        if track.wanted and track.error
    }


def _unseen(head: Any, timeline: Timeline) -> list[Unseen]:
    """Return intervals in which PIDs were allocated and free again one or two ticks later, or at the end."""
    spans = list(timeline.spans("children", 1))
    if head.last_unseen:
        spans.append((head.last_unseen_since_ns / 1e9, head.end_ns / 1e9, head.last_unseen))
    interval_s = head.interval_ns / 1e9
    return [(max(0.0, before_s - interval_s), until_s, count) for before_s, until_s, count in spans]


def read_charge(head: Any, host: Host) -> Charge:
    """Read what the kernel charged to the command's control group."""
    ffi, _ = native()
    track = track_of(head, "cgroup")
    if track.error:
        return Charge(why_not=ffi.string(track.why_not).decode(errors="replace"))
    columns = [ffi.string(column.name).decode() for column in track.columns[0 : track.ncolumns]]
    parts = {name: head.cgroup_parts[at] for at, name in enumerate(columns) if name != "usage"}
    second = head.memory_group_version == 2
    if not second:  # version 1 does not split kernel memory, but its largest parts are known from other sources
        parts["page_tables"] = min(largest_value(track_of(head, "status"), 3), parts["kernel"])
        parts["kernel_stack"] = min(head.max_threads * host.kernel_stack_bytes, parts["kernel"] - parts["page_tables"])
    return Charge(head.cgroup_peak_bytes, "cgroup v2 memory.peak" if second else "cgroup v1 max_usage", parts)


def _largest_of_all(head: Any, marks: Sequence[Marks]) -> Marks:
    if len(marks) == 1 and marks[0].is_root and marks[0].maxrss_bytes is not None and not marks[0].reaped_others:
        return marks[0]
    return Marks(
        head.rss_largest_bytes,
        head.hwm_largest_bytes,
        head.maxrss_largest_bytes,
        max((m.exit_record_bytes for m in marks if m.exit_record_bytes is not None), default=None),
        inexact=head.inexact_windows,
        is_root=True,
    )


def read_tree(
    head: Any, marks: Sequence[Marks], timeline: Timeline, host: Host, charge: Charge, extra: frozenset[str]
) -> Tree:
    """Read everything from which the figures are computed."""

    def was_read(source: str) -> bool:
        return source in extra and not track_of(head, source).error

    def most(source: str, column: int = 0) -> int:
        return largest_value(track_of(head, source), column) if head.ticks else 0

    ffi, _ = native()
    children = track_of(head, "children")
    return Tree(
        root=next((m for m in marks if m.is_root), None),
        largest=_largest_of_all(head, marks),
        processes=marks,
        unseen=_unseen(head, timeline) if head.unseen else (),
        pss_bytes=most("smaps_rollup") if head.pss_readings else None,
        pss_over_bytes=head.pss_over_bytes,
        lower_bound_bytes=head.lower_bound_bytes,
        rss_sum_bytes=head.rss_sum_bytes,
        rss_high_bytes=most("statm"),
        exact_sum_bytes=head.rss_stat_peak_bytes if was_read("rss_stat") else None,
        exact_sum_lost=head.rss_stat_inexact,
        left_groups=bool(head.left_groups),
        several_threads=head.max_threads if head.max_threads > head.max_alive else 0,
        cpus=host.cpus_allowed or host.cpus,
        marks_sum_bytes=most("status"),
        max_alive=head.max_alive,
        survivors=head.survivors,
        left_running=head.left_running,
        refused=head.refused_readings,
        no_readings_reason=ffi.string(children.why_not).decode() if children.error else "",
        dropped_processes=head.processes_dropped,
        has_all_exit_records=was_read("taskstats")
        and not (head.exit_records_lost or head.processes_dropped or head.survivors or head.left_running),
        windows=was_read("windows"),
        statm_exact=bool(head.statm_exact),
        counter_error_bytes=counter_error_bytes(host, head.max_threads),
        floor_bytes=head.floor_bytes,
        charge=charge,
        swap_bytes=most("status", 1) if host.swap_bytes else None,
        charge_batch_bytes=CHARGE_BATCH_PAGES * host.cpus * host.page_bytes,
    )
