"""
What the sampler recorded of a tree, copied once from the shared memory into typed values.

This is the only layer between the C structs and the figures. The structs are read by the names of their fields in
``csrc/concmem.h``; nothing that is returned refers to the shared memory or to cffi.
"""

from __future__ import annotations

import os
import struct
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from concmem._native.recorded import CopiedTrack, ObservedSource, copy_tracks, read_sources, read_tracks
from concmem._native.shared_memory import SharedMemory, lib, native, struct_layout
from concmem._native.struct_row import StructRow

if TYPE_CHECKING:
    from concmem.parts import Reason
    from concmem.sampler_report import Survivor
    from concmem.timeline import Track

__all__ = ["Head", "Observed", "ObservedProcess", "observe"]


class Head(StructRow):
    """Fields of ``struct cm_head``, in its order. Arrays and structs are bytes."""

    interval_ns: int
    cpu_budget_ppm: int
    cgroup_limit_bytes: int
    memory_group_version: int
    reason: int
    root_ended_first: int
    wait_status: int
    statm_exact: int
    start_ns: int
    exit_ns: int
    end_ns: int
    ticks: int
    late_ticks: int
    dropped_rows: int
    longest_gap_ns: int
    pss_readings: int
    pss_ns: int
    pss_over_bytes: int
    pss_held_bytes: int
    lower_bound_bytes: int
    fault_bound_bytes: int
    file_bound_bytes: int
    fault_bound_problem: int
    fault_bound_marks: int
    shmem_unmapped_bytes: int
    shmem_extra_bytes: int
    memory_files_bytes: int
    swapped_out_bytes: int
    refused_readings: int
    sampler_cpu_ns: int
    sampler_rss_bytes: int
    floor_bytes: int
    survivors: int
    left_running: int
    last_unseen: int
    last_unseen_since_ns: int
    unseen: int
    inexact_windows: int
    exit_records_lost: int
    max_alive: int
    max_threads: int
    root_ended: int
    rss_sum_bytes: int
    held_anon_bytes: int
    held_file_bytes: int
    held_shmem_bytes: int
    held_hugetlb_bytes: int
    held_swap_bytes: int
    rss_largest_bytes: int
    hwm_largest_bytes: int
    maxrss_largest_bytes: int
    user_ns: int
    system_ns: int
    usage: bytes
    cgroup_peak_bytes: int
    cgroup_parts: bytes
    group_held_bytes: int
    group_pinned_bytes: int
    group_unmapped_bytes: int
    group_elsewhere_bytes: int
    oom_kills: int
    limit_hits: int
    rss_stat_peak_bytes: int
    rss_stat_inexact: int
    left_groups: int
    oom_kills_known: int
    processes_offset: int
    processes: int
    processes_dropped: int
    text_offset: int
    text_bytes: int


class Usage(StructRow):
    """``struct cm_usage``: what the kernel counted of one process, or of all that were reaped."""

    minor_faults: int
    major_faults: int
    voluntary_switches: int
    involuntary_switches: int
    read_bytes: int
    written_bytes: int


class ObservedProcess(StructRow):
    """Fields of ``struct cm_process``, in its order. Arrays and structs are bytes."""

    pid: int
    ppid: int
    start_ticks: int
    since_ns: int
    first_ns: int
    end_ns: int
    rss_bytes: int
    hwm_bytes: int
    maxrss_bytes: int
    exit_record_bytes: int
    program_since_ns: int
    program_until_ns: int
    user_ns: int
    system_ns: int
    child_faults: int
    duplicate_bytes: int
    hugetlb_bytes: int
    swap_bytes: int
    mapped_bytes: int
    unique_bytes: int
    usage: bytes
    inexact_windows: int
    text_offset: int
    text_bytes: int
    flags: int
    wait_status: int
    comm: bytes

    @property
    def counts(self) -> Usage:
        """What the kernel counted of it."""
        return Usage(_integers(self.usage))

    @property
    def name(self) -> str:
        """Its name in the kernel, after any exec."""
        return os.fsdecode(self.comm.partition(b"\0")[0])

    @property
    def is_root(self) -> bool:
        """Whether it is the root of the tree."""
        return bool(self.flags & lib.CM_PROCESS_ROOT)

    @property
    def was_reaped(self) -> bool:
        """Whether the sampler reaped it, so that `maxrss_bytes` and `wait_status` are known."""
        return bool(self.flags & lib.CM_PROCESS_REAPED)

    @property
    def has_exit_record(self) -> bool:
        """Whether its exit record was received, so that `exit_record_bytes` and `wait_status` are known."""
        return bool(self.flags & lib.CM_PROCESS_HAS_EXIT_RECORD)

    @property
    def has_executed(self) -> bool:
        """Whether its exit record shows that it has executed a program since it was forked."""
        return bool(self.flags & lib.CM_PROCESS_EXECUTED)

    @property
    def ignores_sigchld(self) -> bool:
        """Whether it ignores SIGCHLD."""
        return bool(self.flags & lib.CM_PROCESS_IGNORES_SIGCHLD)

    @property
    def arguments_are_cut(self) -> bool:
        """Whether only some of its arguments were kept."""
        return bool(self.flags & lib.CM_PROCESS_ARGUMENTS_CUT)

    @property
    def survived(self) -> bool:
        """Whether it could not be killed."""
        return bool(self.flags & lib.CM_PROCESS_SURVIVED)

    @property
    def was_left(self) -> bool:
        """Whether it was left running, as requested."""
        return bool(self.flags & lib.CM_PROCESS_LEFT)


class Observed:
    """
    What the sampler recorded of one tree.

    Attributes:
        head: The values of the whole tree, and of the sampler.
        processes: Every process that was seen, in the order in which they were found.
        text: The arguments of all processes, see `argv`.
        survivors: The processes that could not be killed, with the reason found when the measurement ended.
    """

    def __init__(
        self,
        head: Head,
        processes: tuple[ObservedProcess, ...],
        text: bytes,
        survivors: tuple[Survivor, ...],
        *,
        structs: bytes,
        tracks: tuple[CopiedTrack, ...],
    ) -> None:
        self.head = head
        self.processes = processes
        self.text = text
        self.survivors = survivors
        self._structs = structs
        self._tracks = tracks

    @cached_property
    def tracks(self) -> dict[str, Track]:
        """By the name of its source each track that every timeline has, and each one with readings."""
        return read_tracks(self._tracks)

    @cached_property
    def sources(self) -> dict[str, ObservedSource]:
        """What became of each source, by its name, in the order of the tracks."""
        return read_sources(self._structs)

    @property
    def counts(self) -> Usage:
        """What the kernel counted of all processes that were reaped."""
        return Usage(_integers(self.head.usage))

    @property
    def reason(self) -> Reason | None:
        """Why the sampler killed the tree; None if it did not."""
        return _reasons().get(self.head.reason)

    def argv(self, process: ObservedProcess) -> tuple[str, ...]:
        """Return the arguments of a process, after any exec; empty if it ended before they could be read."""
        text = self.text[process.text_offset : process.text_offset + process.text_bytes]
        return tuple(os.fsdecode(word) for word in text.removesuffix(b"\0").split(b"\0")) if text else ()

    def was_read(self, source: str) -> bool:
        """Return whether an optional source was requested and could be used."""
        state = self.sources[source]
        return state.is_wanted and not state.is_missing

    def missing(self) -> dict[str, str]:
        """Return the requested sources that could not be used, each with its sentence."""
        return {name: s.why_not for name, s in self.sources.items() if s.is_wanted and s.is_missing}

    def largest(self, source: str, column: int = 0) -> int:
        """Return the largest value of a column, in bytes or counts; 0 if nothing was read."""
        return self.sources[source].maxima[column] if self.head.ticks else 0

    def cgroup_parts(self) -> dict[str, int]:
        """Return the columns of ``cgroup`` when their sum was largest, in bytes."""
        columns = self.sources["cgroup"].columns
        return dict(zip((column.name for column in columns), _integers(self.head.cgroup_parts), strict=False))


def _integers(packed: bytes) -> tuple[int, ...]:
    return struct.unpack(f"={len(packed) // 8}Q", packed)


@lru_cache(maxsize=1)
def _reasons() -> dict[int, Reason]:
    _, lib = native()
    return {
        lib.CM_REASON_TIMEOUT: "timeout",
        lib.CM_REASON_MEMORY_LIMIT: "memory_limit",
        lib.CM_REASON_CPU_LIMIT: "cpu_limit",
        lib.CM_REASON_PROCESSES_LIMIT: "processes_limit",
        lib.CM_REASON_INTERRUPTED: "interrupted",
        lib.CM_REASON_HOST_GONE: "interrupted",
    }


@lru_cache(maxsize=1)
def _layouts() -> tuple[struct.Struct, struct.Struct]:
    """Return the layouts of `Head` and `ObservedProcess`."""
    return struct_layout("struct cm_head", Head._fields), struct_layout("struct cm_process", ObservedProcess._fields)


def observe(memory: SharedMemory) -> Observed:
    """Copy the records of an ended sampler."""
    whole, row = _layouts()
    copied = memory.copy(0, whole.size)
    head = Head(whole.unpack(copied))
    table = memory.copy(head.processes_offset, head.processes * row.size)
    processes = tuple(map(ObservedProcess, row.iter_unpack(table[: len(table) // row.size * row.size])))
    survivors: tuple[Survivor, ...] = ()
    if head.survivors:  # at once: later they may have ended, or changed their state
        from concmem._native.survivors import find_survivors

        rows = [(process.pid, process.name, process.start_ticks) for process in processes if process.survived]
        survivors = find_survivors(rows, head.survivors)
    return Observed(
        head=head,
        processes=processes,
        text=memory.copy(head.text_offset, head.text_bytes),
        survivors=survivors,
        structs=copied,
        tracks=copy_tracks(memory, copied) if head.ticks else (),
    )
