"""
Build a `Measurement` from the sampler's shared memory.

Only the headline and the exit of the root are computed at once. The data for everything else is copied, and the rest is
computed on first use: for a command of half a millisecond, it would make the call nearly 10 % longer.
"""

from __future__ import annotations

import os
import signal
from functools import cached_property, lru_cache, partial
from typing import Any

from concmem._figures.ended import with_ending_note
from concmem._figures.process import Marks, process_peak
from concmem._figures.tree import Figures, all_figures
from concmem._native.observed import Tree
from concmem._native.request import Request
from concmem._native.shared_memory import SharedMemory, layout, native, track_of
from concmem._native.survivors import find_survivors
from concmem._native.tree import NOT_ASKED, largest_value, missing_sources, read_charge, read_marks, read_tree
from concmem._version import __version__
from concmem.host import Host, counter_error_bytes, oom_kills
from concmem.model import Exit, Figure, Measurement, OutOfMemory, Process, Reason
from concmem.sampler_report import LeftProcess, SamplerReport, Survivor
from concmem.timeline import Column, Timeline, Track

__all__ = ["build_measurement"]

_RING_ROW_BYTES = 16
_ALWAYS = frozenset({"statm", "status", "smaps_rollup", "children"})
"""Tracks that every timeline has, even if nothing was read."""


@lru_cache(maxsize=1)
def _reasons() -> dict[int, Reason]:
    _, lib = native()
    return {
        lib.CM_REASON_TIMEOUT: "timeout",
        lib.CM_REASON_MEMORY_LIMIT: "memory_limit",
        lib.CM_REASON_INTERRUPTED: "interrupted",
        lib.CM_REASON_HOST_GONE: "interrupted",
    }


@lru_cache(maxsize=1)
def _empty_tracks() -> tuple[Track, ...]:
    """Return every track without readings."""
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
    """Return the frozen copy of the ring, which lies behind the running ring, oldest row first."""
    rows, most = track.ring_frozen, track.ring_capacity
    offset = track.ring_offset + most * _RING_ROW_BYTES
    if rows <= most:
        return memory.copy(offset, rows * _RING_ROW_BYTES)
    start = rows % most * _RING_ROW_BYTES  # the oldest rows were overwritten
    return memory.copy(offset + start, most * _RING_ROW_BYTES - start) + memory.copy(offset, start)


def _track(memory: SharedMemory, number: int, empty: Track) -> Track:
    _, lib = native()
    track = memory.head.tracks[number]
    if track.readings == 0:
        return empty
    return Track(
        source=empty.source,
        columns=empty.columns,
        windows=memory.copy(track.offset, lib.cm_windows(memory.head, number) * track.row_bytes),
        row_bytes=track.row_bytes,
        readings=track.readings,
        ring=_ring(memory, track),
    )


@lru_cache(maxsize=1)
def _tracks_without_readings() -> dict[str, Track]:
    """Return the tracks of a timeline if nothing was read."""
    return {track.source: track for track in _empty_tracks() if track.source in _ALWAYS}


def _tracks(memory: SharedMemory) -> dict[str, Track]:
    """Return by source the tracks that every timeline has, and those with readings."""
    if memory.head.ticks == 0:
        return dict(_tracks_without_readings())
    tracks = (_track(memory, number, empty) for number, empty in enumerate(_empty_tracks()))
    return {track.source: track for track in tracks if track.readings or track.source in _ALWAYS}


class _Recording:
    """A copy of the sampler's records, from which the parts of a measurement are computed."""

    def __init__(self, request: Request, memory: SharedMemory, host: Host, oom_kills_before: int) -> None:
        ffi, lib = native()
        self._request = request
        self._host = host
        self._head = head = ffi.from_buffer("struct cm_head *", memory.copy(0, ffi.sizeof("struct cm_head")))
        size = ffi.sizeof("struct cm_process")
        rows = memory.copy(head.processes_offset, head.processes * size)
        self._table = ffi.from_buffer("struct cm_process[]", rows)
        self._text = memory.copy(head.text_offset, head.text_bytes)
        self._marks = [read_marks(entry, lib) for entry in self._table]
        self._tracks = _tracks(memory)
        self._oom = self._find_oom(oom_kills_before)
        self._survivors = self._find_survivors() if head.survivors else ()

    def _unexplained_sigkills(self) -> int:
        """Return how many processes are known to have ended by a SIGKILL that concmem did not send."""
        _, lib = native()
        head = self._head
        if head.reason:
            return 0
        by_shell = head.wait_status == (128 + signal.SIGKILL) << 8  # a shell exits with its child's status
        # With leftover="kill", concmem killed the processes that ended after the root.
        until_ns = head.exit_ns if self._request.options["leftover"] == "kill" else head.end_ns
        has_status = lib.CM_PROCESS_REAPED | lib.CM_PROCESS_HAS_EXIT_RECORD
        entries = (entry for entry in self._table if entry.flags & has_status)
        statuses = (entry.wait_status for entry in entries if entry.end_ns <= until_ns)
        return int(by_shell) + sum(1 for status in statuses if status & 0x7F == signal.SIGKILL)

    def _find_oom(self, kills_before: int) -> OutOfMemory | None:
        head = self._head
        if head.oom_kills_known and head.oom_kills:
            file = "memory.events" if head.memory_group_version == 2 else "memory.oom_control"
            return OutOfMemory(head.oom_kills, f"{file} oom_kill", certain=True)
        if head.oom_kills_known and not head.left_groups:
            return None
        sigkills = self._unexplained_sigkills()
        kills = min(sigkills, oom_kills() - kills_before) if sigkills else 0
        return OutOfMemory(kills, "/proc/vmstat oom_kill", certain=False) if kills > 0 else None

    def _find_survivors(self) -> tuple[Survivor, ...]:
        """Find the surviving processes at once: later they may have ended, or changed their state."""
        ffi, lib = native()
        rows = [
            (entry.pid, os.fsdecode(ffi.string(entry.comm)), entry.start_ticks)
            for entry in self._table
            if entry.flags & lib.CM_PROCESS_SURVIVED
        ]
        return find_survivors(rows, self._head.survivors)

    def _left_running(self) -> tuple[LeftProcess, ...]:
        ffi, lib = native()
        processes = [
            LeftProcess(entry.pid, os.fsdecode(ffi.string(entry.comm)))
            for entry in self._table
            if entry.flags & lib.CM_PROCESS_LEFT
        ]
        return (*processes, *[LeftProcess(0, "")] * (self._head.left_running - len(processes)))

    @cached_property
    def _timeline(self) -> Timeline:
        return Timeline(self._tracks)

    @cached_property
    def _tree(self) -> Tree:
        extra = self._request.extra
        charge = read_charge(self._head, self._host) if "cgroup" in extra else NOT_ASKED
        return read_tree(self._head, self._marks, self._timeline, self._host, charge, extra)

    @cached_property
    def _figures(self) -> Figures:
        figures = all_figures(self._tree)
        return {**figures, "peak": with_ending_note(figures["peak"], self.exit, self._oom)}

    @property
    def peak(self) -> Figure:
        """The headline. For a single process that the sampler reaped, no other figure has to be computed."""
        head = self._head
        is_incomplete = head.processes_dropped or head.survivors or head.left_running
        if len(self._marks) != 1 or self._request.extra or is_incomplete:
            return self._figures["peak"]
        (root,) = self._marks
        error_bytes = counter_error_bytes(self._host, head.max_threads)
        if not (root.is_root and root.is_fully_known) or root.read_bytes > (root.maxrss_bytes or 0) + error_bytes:
            return self._figures["peak"]
        exact = bool(head.statm_exact)
        figure = process_peak(root, error_bytes=error_bytes, floor_bytes=head.floor_bytes, statm_exact=exact)
        return with_ending_note(figure, self.exit, self._oom)

    @property
    def exit(self) -> Exit:
        """How the root ended."""
        head = self._head
        status = head.wait_status
        number = status & 0x7F
        if not head.root_ended:  # it could not be killed
            return Exit(None, None, _reasons().get(head.reason, "interrupted"))
        killed_by: Reason = "oom" if number == signal.SIGKILL and self._oom is not None else "signaled"
        reason = _reasons().get(head.reason, killed_by if number else "exited")
        return Exit(None if number else os.waitstatus_to_exitcode(status), number or None, reason)

    def _argv(self, entry: Any) -> tuple[str, ...]:
        text = self._text[entry.text_offset : entry.text_offset + entry.text_bytes]
        return tuple(os.fsdecode(word) for word in text.removesuffix(b"\0").split(b"\0")) if text else ()

    def _process(self, entry: Any, marks: Marks) -> Process:
        ffi, lib = native()
        timed = marks.maxrss_bytes is not None or marks.exit_record_bytes is not None
        return Process(
            pid=entry.pid,
            ppid=entry.ppid,
            comm=os.fsdecode(ffi.string(entry.comm)),
            argv=self._argv(entry),
            start_s=entry.first_ns / 1e9,
            end_s=marks.end_s,
            peak=self._figures["root_peak_rss"] if marks.is_root else self._tree.peak_of(marks),
            user_s=entry.user_ns / 1e9 if timed else None,
            system_s=entry.system_ns / 1e9 if timed else None,
            argv_is_cut=bool(entry.flags & lib.CM_PROCESS_ARGUMENTS_CUT),
        )

    def _maxima(self) -> dict[str, int]:
        return {
            f"{source}.{column.name}": largest_value(track_of(self._head, source), at)
            for source, track in self._tracks.items()
            if track.readings
            for at, column in enumerate(track.columns)
        }

    def _report(self) -> SamplerReport:
        head = self._head
        return SamplerReport(
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
            refused_readings=head.refused_readings,
            floor_bytes=head.floor_bytes or None,
            survivors=self._survivors,
            unseen=0 if self._tree.all_were_seen else head.unseen,
            inexact_windows=head.inexact_windows,
            lost_exit_records=head.exit_records_lost,
            statm_exact=self._tree.statm_exact,
            missing=missing_sources(head),
        )

    def build(
        self, started_s: float, stdout: bytes | None, stderr: bytes | None, swapped_bytes: int | None
    ) -> Measurement:
        """Build the complete measurement, with the values that only the host knows."""
        from datetime import datetime, timezone

        head = self._head
        started = datetime.fromtimestamp(started_s, timezone.utc)
        return Measurement(
            command=self._request.shown,
            exit=self.exit,
            **self._figures,
            cgroup_parts=self._tree.charge.parts,
            maxima=self._maxima(),
            wall_s=(head.exit_ns if head.root_ended else head.end_ns) / 1e9,
            tree_wall_s=head.end_ns / 1e9,
            user_s=head.user_ns / 1e9,
            system_s=head.system_ns / 1e9,
            minor_faults=head.minor_faults,
            major_faults=head.major_faults,
            processes=tuple(self._process(entry, marks) for entry, marks in zip(self._table, self._marks, strict=True)),
            max_alive=head.max_alive,
            max_threads=head.max_threads,
            sampler=self._report(),
            host=self._host,
            start_monotonic_s=head.start_ns / 1e9,
            started_at=started.isoformat(timespec="milliseconds"),
            version=__version__,
            timeline=self._timeline,
            stdout=stdout,
            stderr=stderr,
            swapped_bytes=swapped_bytes,
            oom=self._oom,
            left_running=self._left_running() if head.left_running else (),
        )


def build_measurement(
    request: Request,
    memory: SharedMemory,
    host: Host,
    *,
    started_s: float,
    stdout: bytes | None,
    stderr: bytes | None,
    swapped_bytes: int | None,
    oom_kills_before: int,
) -> Measurement:
    """Build a lazy measurement from the shared memory of an ended sampler and the values that only the host knows."""
    recording = _Recording(request, memory, host, oom_kills_before)
    build = partial(recording.build, started_s, stdout, stderr, swapped_bytes)
    return Measurement.create_lazy(build, peak=recording.peak, exit=recording.exit)
