"""What a tree held, read from other sources than the high-water marks of its processes."""

from __future__ import annotations

import attrs

from concmem._classes.record import Record
from concmem._figures.figure_source import FigureSource
from concmem._native.observed import Head, Observed
from concmem.host import Host, hugetlb_pool_bytes, maps_large_folios
from concmem.model import Figure

__all__ = ["Held", "narrow_peak", "read_held"]

_PROBLEMS = (
    "",
    "memory was added without page faults (by userfaultfd, a ring buffer or another process)",
    "a process lets the kernel reap its children, so their page faults are lost",
    "the page faults of a process could not be read",
)
"""By CM_FAULTS_...: why the page faults of the tree do not bound its memory."""


class Held(Record):
    """
    What the tree held, in bytes; 0 if it was not read.

    Attributes:
        pss_bytes: The largest sum of PSS, of what was swapped out, and of huge pages (hugetlbfs).
        group_bytes: The largest charge of the control group without page cache and kernel memory.
        pinned_bytes: The largest part of that charge that is in no file and in no process.
        unmapped_bytes: The largest part of it in files in memory that the largest process does not map.
        elsewhere_bytes: The most that the tree mapped of files and shared memory, and that other groups were charged
            for.
        cache_bytes: The most page cache and kernel memory that it was charged for, when that was read.
        faults_bytes: What the tree needed at most, by its page faults; None if they do not bound it.
        faults_marks: How many high-water marks that relies on. Each has its error.
        faults_problem: Why there is no such bound, or "".
        files_bytes: The most that the tree mapped of files and shared memory.
        shmem_unmapped_bytes: Without a control group: the most that the tree had in open files in memory, above what
            all processes map.
        shmem_extra_bytes: The same, above what one process maps.
        swapped_out_bytes: How much the whole machine swapped out during the measurement.
        duplicate_bytes: The largest part of a process's RSS that can be further mappings of the same pages.
        hugetlb_bytes: The largest sum of huge pages (hugetlbfs), a shared one counted for each process.
        hugetlb_pool_bytes: All huge pages that the machine may have, if the tree used some.
        pinned_by_processes_bytes: The largest sum of what processes pin for a device or a ring, mapped or not.
        machine_bytes: RAM and swap of the machine.
        limit_bytes: The memory limit of the surrounding control group, or None.
    """

    pss_bytes: int = 0
    group_bytes: int = 0
    pinned_bytes: int = 0
    unmapped_bytes: int = 0
    elsewhere_bytes: int = 0
    cache_bytes: int = 0
    faults_bytes: int | None = None
    faults_marks: int = 0
    faults_problem: str = ""
    files_bytes: int = 0
    shmem_unmapped_bytes: int = 0
    shmem_extra_bytes: int = 0
    swapped_out_bytes: int = 0
    duplicate_bytes: int = 0
    hugetlb_bytes: int = 0
    hugetlb_pool_bytes: int = 0
    pinned_by_processes_bytes: int = 0
    machine_bytes: int = 0
    limit_bytes: int | None = None


def read_held(observed: Observed, host: Host) -> Held:
    """Return what the sampler read of the whole tree."""
    head = observed.head
    hugetlb_bytes = observed.largest("status", 4)
    problem = _PROBLEMS[head.fault_bound_problem]
    if not problem and maps_large_folios():
        problem = "one page fault can map several pages here (/sys/kernel/mm/transparent_hugepage/hugepages-*kB)"
    return Held(
        pss_bytes=head.pss_held_bytes,
        group_bytes=head.group_held_bytes,
        pinned_bytes=head.group_pinned_bytes,
        unmapped_bytes=head.group_unmapped_bytes,
        elsewhere_bytes=head.group_elsewhere_bytes,
        cache_bytes=observed.largest("cgroup", 2) + observed.largest("cgroup", 4) + observed.largest("cgroup", 7),
        faults_bytes=None if problem else head.fault_bound_bytes,
        faults_marks=head.fault_bound_marks,
        faults_problem=problem,
        files_bytes=head.file_bound_bytes,
        shmem_unmapped_bytes=head.shmem_unmapped_bytes,
        shmem_extra_bytes=head.shmem_extra_bytes,
        swapped_out_bytes=head.swapped_out_bytes,
        duplicate_bytes=max((process.duplicate_bytes for process in observed.processes), default=0),
        hugetlb_bytes=hugetlb_bytes,
        hugetlb_pool_bytes=hugetlb_pool_bytes() if hugetlb_bytes else 0,
        pinned_by_processes_bytes=observed.largest("status", 6),
        machine_bytes=host.memory_bytes + host.swap_bytes,
        limit_bytes=host.memory_limit_bytes,
    )


def narrow_peak(figure: Figure, head: Head, duplicate_bytes: int, error_bytes: int) -> Figure:
    """
    Return the peak of a command with one process: its high-water mark, and what is known besides.

    Args:
        figure: Its high-water mark.
        head: What the sampler read of the whole tree.
        duplicate_bytes: How much of its RSS can be further mappings of the same pages.
        error_bytes: The error of a high-water mark.
    """
    if figure.bytes is None or figure.high_bytes is None or figure.status == "upper_bound":
        return figure
    over_bytes = min(figure.bytes, figure.over_bytes + duplicate_bytes)
    sums = head.fault_bound_marks + (0 if head.statm_exact else 2)
    by_faults = head.fault_bound_bytes + error_bytes * sums
    is_known = head.fault_bound_bytes and not head.fault_bound_problem
    is_refuted = by_faults < figure.bytes - over_bytes
    if not is_known or is_refuted or by_faults >= figure.high_bytes or maps_large_folios():
        return figure if over_bytes == figure.over_bytes else attrs.evolve(figure, over_bytes=over_bytes)
    low_bytes = figure.bytes - over_bytes
    value = max(low_bytes, min(figure.bytes, by_faults))
    return attrs.evolve(
        figure,
        bytes=value,
        over_bytes=value - low_bytes,
        error_bytes=max(0, by_faults - value),
        high_source=FigureSource.FAULTS.value,
    )
