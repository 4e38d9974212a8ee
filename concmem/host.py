"""The machine and its settings that memory figures depend on."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import attrs

from concmem._escaping import escape_fields
from concmem._files.machine import Machine, forget, read_machine, read_number, read_text, threads_on_machine
from concmem._files.proc import check_proc, whole_proc

__all__ = [
    "Host",
    "check_proc",
    "counter_error_bytes",
    "describe",
    "forget",
    "host_of",
    "hugetlb_pool_bytes",
    "maps_large_folios",
    "threads_on_machine",
    "whole_proc",
]


@attrs.frozen(field_transformer=escape_fields)
class Host:
    """
    The machine and the settings that memory figures depend on.

    Attributes:
        kernel: ``uname -r``.
        machine: ``uname -m``.
        cpu_model: As in /proc/cpuinfo, or "".
        cpus: CPUs online.
        cpus_allowed: CPUs that the calling thread, and so the target, may use.
        page_bytes: The page size.
        memory_bytes, swap_bytes: As in /proc/meminfo.
        thp: The mode of transparent huge pages, or "".
        cgroup: "v1", "v2", "hybrid" or "none".
        memory_limit_bytes: The limit of the surrounding cgroup, or None.
        limits: Limits that stop programs: pid_max, threads_max, max_map_count, nproc, nofile, stack_bytes.
        distribution: PRETTY_NAME of /etc/os-release, or "".
        kernel_stack_bytes: The kernel stack of one thread (KernelStack of /proc/meminfo divided by the number of
            threads); 0 if unknown. RSS does not include it.
    """

    kernel: str
    machine: str
    cpu_model: str
    cpus: int
    cpus_allowed: int
    page_bytes: int
    memory_bytes: int
    swap_bytes: int
    thp: str
    cgroup: str
    memory_limit_bytes: int | None
    limits: dict[str, int | None]
    distribution: str
    kernel_stack_bytes: int = 0


@lru_cache(maxsize=8)
def host_of(machine: Machine) -> Host:
    """Return a machine that was read."""
    return Host(**machine.fields)


def describe() -> Host:
    """
    Return this machine. It is read once, except the CPUs that the calling thread may use, which are read every time.

    Raises:
        UnsupportedPlatform: See `check_proc`; or a machine-wide file is missing in /proc.
    """
    return host_of(read_machine())


def hugetlb_pool_bytes() -> int:
    """Return what huge pages of hugetlbfs may take on this machine, those made on demand included."""
    total_bytes = 0
    for folder in Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB"):
        count = read_number(f"{folder}/nr_hugepages") or 0, read_number(f"{folder}/nr_overcommit_hugepages") or 0
        total_bytes += sum(count) * _size_kib(folder) * 1024
    return total_bytes


def _size_kib(folder: Path) -> int:
    """Return the size of a huge page from the name of its folder in /sys: hugepages-2048kB."""
    return int(folder.name.removeprefix("hugepages-").removesuffix("kB"))


@lru_cache(maxsize=1)
def maps_large_folios() -> bool:
    """
    Return whether one page fault of anonymous memory can map several pages that are not a whole huge page.

    Linux 6.8 and later can, if a size in /sys/kernel/mm/transparent_hugepage/hugepages-*kB is enabled.
    """
    settings = Path("/sys/kernel/mm/transparent_hugepage")
    whole_kib = (read_number(f"{settings}/hpage_pmd_size") or 0) // 1024
    for file in settings.glob("hugepages-*kB/enabled"):
        size_kib = _size_kib(file.parent)
        if size_kib != whole_kib and "[never]" not in read_text(str(file)):
            return True
    return False


@lru_cache(maxsize=8)
def _version(kernel: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", kernel)
    return (int(match[1]), int(match[2])) if match else (6, 2)


def counter_error_bytes(host: Host, threads: int = 1) -> int:
    """
    Return the error of the kernel's high-water marks, in both directions.

    Since Linux 6.2 each of the three counters of resident pages (file, anonymous, shared memory) has a part on every
    CPU on which the process runs. A part is added to the counter only when it exceeds a batch of max(32, 2 * CPUs)
    pages. Before 6.2, each thread counted up to 64 pages separately.

    Args:
        host: Kernel, CPUs online and allowed, page size.
        threads: The largest number of threads that were alive, for kernels before 6.2.
    """
    if _version(host.kernel) < (6, 2):
        return 64 * max(1, threads) * host.page_bytes
    batch = max(32, 2 * host.cpus)
    return 3 * min(host.cpus, host.cpus_allowed or host.cpus) * (batch - 1) * host.page_bytes
