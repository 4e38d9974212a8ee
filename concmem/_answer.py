"""From the sampler's shared memory to a `Measurement`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from concmem._marks import Marks
from concmem._shm import SharedMemory, layout, native, track_of
from concmem._tree import NOT_ASKED, charge_of, largest, marks_of, missing_sources, tree_of
from concmem._version import __version__
from concmem.facts import Host, SamplerReport
from concmem.figures import all_figures
from concmem.model import Exit, Figure, Measurement, Process, Reason
from concmem.request import Request
from concmem.timeline import Column, Timeline, Track

__all__ = ["measurement"]

_RING_ROW_BYTES = 16
_ALWAYS = frozenset({"statm", "status", "smaps_rollup", "children"})
"""Tracks that a timeline has even where nothing was read."""


@lru_cache(maxsize=1)
def _reasons() -> dict[int, Reason]:
    _, lib = native()
    return {
        lib.CM_REASON_TIMEOUT: "timeout",
        lib.CM_REASON_MEMORY_LIMIT: "memory_limit",
        lib.CM_REASON_INTERRUPTED: "interrupted",
        lib.CM_REASON_HOST_GONE: "interrupted",
    }


def _exit(head: Any) -> Exit:
    status = head.wait_status
    number = status & 0x7F
    if not head.root_ended:  # it could not be killed
        return Exit(None, None, _reasons().get(head.reason, "interrupted"))
    reason = _reasons().get(head.reason, "signaled" if number else "exited")
    return Exit(None if number else os.waitstatus_to_exitcode(status), number or None, reason)


@lru_cache(maxsize=1)
def _unread() -> tuple[Track, ...]:
    """Every track as it is before the first reading: as it stays, where the command is over by then."""
    ffi, lib = native()
    units = {lib.CM_UNIT_BYTES: "bytes", lib.CM_UNIT_COUNT: "count"}
    head, _ = layout()
    return tuple(
        Track(
            source=ffi.string(track.source).decode(),
            columns=tuple(
                Column(ffi.string(c.name).decode(), units[c.unit], c.scale) for c in track.columns[0 : track.ncolumns]
            ),
            windows=b"",
            row_bytes=track.row_bytes,
            readings=0,
        )
        for track in head.tracks[0 : head.ntracks]
    )


def _ring(memory: SharedMemory, track: Any) -> bytes:
    """The copy behind the running ring, oldest row first."""
    rows, most = track.ring_frozen, track.ring_capacity
    offset = track.ring_offset + most * _RING_ROW_BYTES
    if rows <= most:
        return memory.copy(offset, rows * _RING_ROW_BYTES)
    start = rows % most * _RING_ROW_BYTES  # it has gone round
    return memory.copy(offset + start, most * _RING_ROW_BYTES - start) + memory.copy(offset, start)


def _track(memory: SharedMemory, number: int, unread: Track) -> Track:
    _, lib = native()
    track = memory.head.tracks[number]
    if track.readings == 0:
        return unread
    return Track(
        source=unread.source,
        columns=unread.columns,
        windows=memory.copy(track.offset, lib.cm_windows(memory.head, number) * track.row_bytes),
        row_bytes=track.row_bytes,
        readings=track.readings,
        ring=_ring(memory, track),
    )


def _argv(memory: SharedMemory, entry: Any) -> tuple[str, ...]:
    text = memory.copy(memory.head.text_offset + entry.text_offset, entry.text_bytes)
    return tuple(os.fsdecode(word) for word in text.removesuffix(b"\0").split(b"\0")) if text else ()


def _process(memory: SharedMemory, entry: Any, marks: Marks, peak: Figure) -> Process:
    ffi, _ = native()
    timed = marks.maxrss_bytes is not None or marks.told_bytes is not None
    return Process(
        pid=entry.pid,
        ppid=entry.ppid,
        comm=os.fsdecode(ffi.string(entry.comm)),
        argv=_argv(memory, entry),
        start_s=entry.first_ns / 1e9,
        end_s=marks.end_s,
        peak=peak,
        user_s=entry.user_ns / 1e9 if timed else None,
        system_s=entry.system_ns / 1e9 if timed else None,
    )


def _tracks(memory: SharedMemory) -> dict[str, Track]:
    """By source: those that a timeline always has, and those that were read."""
    if memory.head.ticks == 0:
        read: Iterable[Track] = _unread()
    else:
        read = (_track(memory, number, unread) for number, unread in enumerate(_unread()))
    return {track.source: track for track in read if track.readings or track.source in _ALWAYS}


def _maxima(head: Any, tracks: dict[str, Track]) -> dict[str, int]:
    return {
        f"{source}.{column.name}": largest(track_of(head, source), at)
        for source, track in tracks.items()
        if track.readings
        for at, column in enumerate(track.columns)
    }


def measurement(
    request: Request,
    memory: SharedMemory,
    host: Host,
    *,
    started_at: str,
    stdout: bytes | None,
    stderr: bytes | None,
    swapped_bytes: int | None,
) -> Measurement:
    """Everything that the sampler left behind, once it has ended, and what only the host knows."""
    ffi, lib = native()
    head = memory.head
    size = ffi.sizeof("struct cm_process")
    table = ffi.from_buffer("struct cm_process[]", memory.copy(head.processes_offset, head.processes * size))
    all_marks = [marks_of(entry, lib) for entry in table]
    tracks = _tracks(memory)
    timeline = Timeline(tracks)
    missing = missing_sources(head) if request.extra or head.ticks else {}
    charge = charge_of(head, host, missing) if "cgroup" in request.extra else NOT_ASKED
    tree = tree_of(head, all_marks, timeline, host, charge, request.extra)
    figures = all_figures(tree)
    return Measurement(
        command=request.shown,
        exit=_exit(head),
        **figures,
        cgroup_parts=charge.parts,
        maxima=_maxima(head, tracks) if head.ticks else {},
        wall_s=(head.exit_ns if head.root_ended else head.end_ns) / 1e9,
        tree_wall_s=head.end_ns / 1e9,
        user_s=head.user_ns / 1e9,
        system_s=head.system_ns / 1e9,
        minor_faults=head.minor_faults,
        major_faults=head.major_faults,
        processes=tuple(
            _process(memory, entry, marks, figures["root_peak_rss"] if marks.is_root else tree.peak_of(marks))
            for entry, marks in zip(table, all_marks, strict=True)
        ),
        max_alive=head.max_alive,
        max_threads=head.max_threads,
        sampler=SamplerReport(
            interval_s=head.interval_ns / 1e9,
            ticks=head.ticks,
            late_ticks=head.late_ticks,
            longest_gap_s=head.longest_gap_ns / 1e9,
            dropped_rows=head.dropped_rows,
            dropped_processes=head.processes_dropped,
            cpu_s=head.sampler_cpu_ns / 1e9,
            rss_bytes=head.sampler_rss_bytes or None,
            pss_readings=head.pss_readings,
            pss_s=head.pss_ns / 1e9,
            refused_readings=head.refused,
            floor_bytes=head.floor_bytes or None,
            survivors=head.survivors,
            unseen=0 if tree.nobody_hidden else head.unseen,
            inexact_windows=head.inexact_windows,
            lost_exit_records=head.exit_records_lost,
            statm_exact=tree.statm_exact,
            missing=missing,
        ),
        host=host,
        start_monotonic_s=head.start_ns / 1e9,
        started_at=started_at,
        version=__version__,
        timeline=timeline,
        stdout=stdout,
        stderr=stderr,
        swapped_bytes=swapped_bytes,
    )
