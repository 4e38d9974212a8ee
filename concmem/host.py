"""The machine and its settings that memory figures depend on."""

from __future__ import annotations

import math
import os
import re
import resource
from functools import lru_cache
from pathlib import Path

import attrs

from concmem._cgroup.limits import version_and_memory_limit
from concmem._escaping import escape_fields
from concmem._files.proc import check_proc, whole_proc

__all__ = [
    "Host",
    "check_proc",
    "counter_error_bytes",
    "describe",
    "forget",
    "hugetlb_pool_bytes",
    "maps_large_folios",
    "oom_kills",
    "swapped_bytes",
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


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def _number(path: str) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _limit(name: int) -> int | None:
    soft, _ = resource.getrlimit(name)
    return None if soft == resource.RLIM_INFINITY else soft


@lru_cache(maxsize=8)
def _describe(cpus_allowed: int) -> Host:
    memory = Path("/proc/meminfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", _text("/proc/cpuinfo"), re.M)
    thp = re.search(r"\[(\w+)\]", _text("/sys/kernel/mm/transparent_hugepage/enabled"))
    distribution = re.search(r'^PRETTY_NAME="?([^"\n]*)', _text("/etc/os-release"), re.M)
    cgroup, limit_bytes = version_and_memory_limit()
    return Host(
        kernel=os.uname().release,
        machine=os.uname().machine,
        cpu_model=model[1] if model else "",
        cpus=os.sysconf("SC_NPROCESSORS_ONLN"),
        cpus_allowed=cpus_allowed,
        page_bytes=os.sysconf("SC_PAGESIZE"),
        memory_bytes=_meminfo_bytes(memory, "MemTotal"),
        swap_bytes=_meminfo_bytes(memory, "SwapTotal"),
        thp=thp[1] if thp else "",
        cgroup=cgroup,
        memory_limit_bytes=limit_bytes,
        limits={
            "pid_max": _number("/proc/sys/kernel/pid_max"),
            "threads_max": _number("/proc/sys/kernel/threads-max"),
            "max_map_count": _number("/proc/sys/vm/max_map_count"),
            "nproc": _limit(resource.RLIMIT_NPROC),
            "nofile": _limit(resource.RLIMIT_NOFILE),
            "stack_bytes": _limit(resource.RLIMIT_STACK),
        },
        distribution=distribution[1] if distribution else "",
        kernel_stack_bytes=_kernel_stack_bytes(memory),
    )


def describe() -> Host:
    """
    Return this machine. It is read once, except the CPUs that the calling thread may use, which are read every time.

    Raises:
        UnsupportedPlatform: See `check_proc`; or a machine-wide file is missing in /proc.
    """
    check_proc()
    with whole_proc():
        return _describe(len(os.sched_getaffinity(0)))


def forget() -> None:
    """Let the next `describe` read the machine again. Call it after a change of limits."""
    _describe.cache_clear()


def threads_on_machine() -> int:
    """Return the number of threads on the machine, from /proc/loadavg; 0 if it cannot be read."""
    try:
        return int(_text("/proc/loadavg").split()[3].partition("/")[2])
    except (IndexError, ValueError):
        return 0


def swapped_bytes(host: Host) -> int | None:
    """Return what the machine swapped in and out since boot, from /proc/vmstat; None if it has no swap."""
    if not host.swap_bytes:
        return None
    pages = re.findall(r"^pswp(?:in|out) (\d+)$", _text("/proc/vmstat"), re.M)
    return sum(map(int, pages)) * host.page_bytes


def oom_kills() -> int:
    """
    Return how many processes the kernel's OOM killer has killed since boot; 0 if the kernel does not count them.

    Source: /proc/vmstat.
    """
    kills = re.search(r"^oom_kill (\d+)$", _text("/proc/vmstat"), re.M)
    return int(kills[1]) if kills else 0


def hugetlb_pool_bytes() -> int:
    """Return what huge pages of hugetlbfs may take on this machine, those made on demand included."""
    total_bytes = 0
    for folder in Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB"):
        count = _number(f"{folder}/nr_hugepages") or 0, _number(f"{folder}/nr_overcommit_hugepages") or 0
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
    whole_kib = (_number(f"{settings}/hpage_pmd_size") or 0) // 1024
    for file in settings.glob("hugepages-*kB/enabled"):
        size_kib = _size_kib(file.parent)
        if size_kib != whole_kib and "[never]" not in _text(str(file)):
            return True
    return False


def _meminfo_bytes(memory: str, name: str) -> int:
    """Return a line of /proc/meminfo in bytes; 0 if the kernel does not have it."""
    line = re.search(rf"^{name}:\s+(\d+) kB$", memory, re.M)
    return int(line[1]) * 1024 if line else 0


def _kernel_stack_bytes(memory: str) -> int:
    """
    Return the kernel stack of one thread.

    The quotient is rounded to a power of two, because the number of threads can change between reading the two files.
    """
    total_bytes, threads = _meminfo_bytes(memory, "KernelStack"), threads_on_machine()
    return 1 << round(math.log2(total_bytes / threads)) if total_bytes and threads else 0


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
