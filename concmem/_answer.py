"""From the sampler's shared memory to a `Measurement`."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from concmem._shm import SharedMemory, layout, native
from concmem._version import __version__
from concmem.figures import Marks, Tree, all_figures, process_peak
from concmem.host import counter_error_bytes
from concmem.model import Exit, Host, Measurement, Process, Reason, SamplerReport
from concmem.request import Request
from concmem.timeline import Column, Timeline, Track

__all__ = ["measurement"]

_RING_ROW_BYTES = 16


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


def _marks(entry: Any, lib: Any) -> Marks:
    return Marks(
        rss_bytes=entry.rss_bytes,
        hwm_bytes=entry.hwm_bytes,
        maxrss_bytes=entry.maxrss_bytes if entry.flags & lib.CM_PROCESS_REAPED else None,
        first_s=entry.first_ns / 1e9,
        end_s=entry.end_ns / 1e9,
        reaped_others=entry.child_faults > 0,
        forgets_children=bool(entry.flags & lib.CM_PROCESS_FORGETS),
        is_root=bool(entry.flags & lib.CM_PROCESS_ROOT),
    )


def _process(memory: SharedMemory, entry: Any, marks: Marks, tree: Tree) -> Process:
    ffi, _ = native()
    reaped = marks.maxrss_bytes is not None
    return Process(
        pid=entry.pid,
        ppid=entry.ppid,
        comm=os.fsdecode(ffi.string(entry.comm)),
        argv=_argv(memory, entry),
        start_s=marks.first_s,
        end_s=marks.end_s,
        peak=process_peak(marks, tree),
        user_s=entry.user_ns / 1e9 if reaped else None,
        system_s=entry.system_ns / 1e9 if reaped else None,
    )


def measurement(
    request: Request, memory: SharedMemory, host: Host, started_at: str, stdout: bytes | None, stderr: bytes | None
) -> Measurement:
    """Everything that the sampler left behind, once it has ended."""
    ffi, lib = native()
    head = memory.head
    size = ffi.sizeof("struct cm_process")
    table = ffi.from_buffer("struct cm_process[]", memory.copy(head.processes_offset, head.processes * size))
    all_marks = [_marks(entry, lib) for entry in table]
    tracks = [_track(memory, number, unread) for number, unread in enumerate(_unread())]
    statm, status, rollup = head.tracks[0], head.tracks[1], head.tracks[2]
    largest = Marks(head.rss_largest_bytes, head.hwm_largest_bytes, head.maxrss_largest_bytes, is_root=True)
    tree = Tree(
        root=next((marks for marks in all_marks if marks.is_root), None),
        largest=largest,
        processes=all_marks,
        pss_bytes=rollup.max[0] * rollup.columns[0].scale if rollup.readings else None,
        rss_sum_bytes=head.rss_sum_bytes,
        rss_high_bytes=statm.max[0] * statm.columns[0].scale,
        marks_sum_bytes=status.max[0] * status.columns[0].scale,
        max_alive=head.max_alive,
        survivors=head.survivors,
        refused=head.refused,
        dropped_processes=head.processes_dropped,
        statm_exact=bool(head.statm_exact),
        counter_error_bytes=counter_error_bytes(host, head.max_threads),
        floor_bytes=head.floor_bytes,
        interval_s=head.interval_ns / 1e9,
    )
    return Measurement(
        command=request.shown,
        exit=_exit(head),
        **all_figures(tree),
        wall_s=(head.exit_ns if head.root_ended else head.end_ns) / 1e9,
        tree_wall_s=head.end_ns / 1e9,
        user_s=head.user_ns / 1e9,
        system_s=head.system_ns / 1e9,
        minor_faults=head.minor_faults,
        major_faults=head.major_faults,
        processes=tuple(_process(memory, entry, marks, tree) for entry, marks in zip(table, all_marks, strict=True)),
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
        ),
        host=host,
        started_at=started_at,
        version=__version__,
        timeline=Timeline({track.source: track for track in tracks}),
        stdout=stdout,
        stderr=stderr,
    )
