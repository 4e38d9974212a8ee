"""Read the files of /proc and /sys that describe the whole machine."""

from __future__ import annotations

import math
import os
import resource
from functools import lru_cache
from typing import Any

from concmem._cgroup.limits import version_and_memory_limit
from concmem._files.proc import check_proc, whole_proc

__all__ = [
    "Machine",
    "forget",
    "oom_kills",
    "read_machine",
    "read_number",
    "read_text",
    "swapped_bytes",
    "threads_on_machine",
]


class Machine:
    """
    What was read of this machine.

    Attributes:
        fields: The fields of `concmem.host.Host`.
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields


def read_text(path: str) -> str:
    """Return the content of a kernel file without the space around it; "" if it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def read_number(path: str) -> int | None:
    """Return the number in a kernel file; None if there is none."""
    text = read_text(path)
    return int(text) if text.isdigit() else None


def _after(text: str, start: str) -> str:
    """Return the rest of the first line that begins with `start`, or ""."""
    _, found, rest = f"\n{text}".partition(f"\n{start}")
    return rest.partition("\n")[0] if found else ""


def _limit(name: int) -> int | None:
    soft, _ = resource.getrlimit(name)
    return None if soft == resource.RLIM_INFINITY else soft


@lru_cache(maxsize=8)
def _read_machine(cpus_allowed: int) -> Machine:
    with open("/proc/meminfo") as file:
        memory = file.read()
    cgroup, limit_bytes = version_and_memory_limit()
    return Machine(
        {
            "kernel": os.uname().release,
            "machine": os.uname().machine,
            "cpu_model": _after(read_text("/proc/cpuinfo"), "model name").lstrip(" \t:"),
            "cpus": os.sysconf("SC_NPROCESSORS_ONLN"),
            "cpus_allowed": cpus_allowed,
            "page_bytes": os.sysconf("SC_PAGESIZE"),
            "memory_bytes": _meminfo_bytes(memory, "MemTotal"),
            "swap_bytes": _meminfo_bytes(memory, "SwapTotal"),
            "thp": read_text("/sys/kernel/mm/transparent_hugepage/enabled").partition("[")[2].partition("]")[0],
            "cgroup": cgroup,
            "memory_limit_bytes": limit_bytes,
            "limits": {
                "pid_max": read_number("/proc/sys/kernel/pid_max"),
                "threads_max": read_number("/proc/sys/kernel/threads-max"),
                "max_map_count": read_number("/proc/sys/vm/max_map_count"),
                "nproc": _limit(resource.RLIMIT_NPROC),
                "nofile": _limit(resource.RLIMIT_NOFILE),
                "stack_bytes": _limit(resource.RLIMIT_STACK),
            },
            "distribution": _after(read_text("/etc/os-release"), "PRETTY_NAME=").removeprefix('"').partition('"')[0],
            "kernel_stack_bytes": _kernel_stack_bytes(memory),
        }
    )


def read_machine() -> Machine:
    """
    Return this machine. It is read once, except the CPUs that the calling thread may use, which are read every time.

    Raises:
        UnsupportedPlatform: See `check_proc`; or a machine-wide file is missing in /proc.
    """
    check_proc()  # after the launch too: a PID namespace for children is visible only once it has a child
    with whole_proc():
        return _read_machine(len(os.sched_getaffinity(0)))


def forget() -> None:
    """Let the next `read_machine` read the machine again. Call it after a change of limits."""
    _read_machine.cache_clear()


def threads_on_machine() -> int:
    """Return the number of threads on the machine, from /proc/loadavg; 0 if it cannot be read."""
    try:
        return int(read_text("/proc/loadavg").split()[3].partition("/")[2])
    except (IndexError, ValueError):
        return 0


def _vmstat(*names: str) -> int:
    """Return the sum of counters of /proc/vmstat. A counter that the kernel does not have counts as 0."""
    text = read_text("/proc/vmstat")
    return sum(int(_after(text, f"{name} ") or 0) for name in names)


def swapped_bytes(machine: Machine) -> int | None:
    """Return what the machine swapped in and out since boot, from /proc/vmstat; None if it has no swap."""
    if not machine.fields["swap_bytes"]:
        return None
    return _vmstat("pswpin", "pswpout") * int(machine.fields["page_bytes"])


def oom_kills() -> int:
    """
    Return how many processes the kernel's OOM killer has killed since boot; 0 if the kernel does not count them.

    Source: /proc/vmstat.
    """
    return _vmstat("oom_kill")


def _meminfo_bytes(memory: str, name: str) -> int:
    """Return a line of /proc/meminfo in bytes; 0 if the kernel does not have it."""
    return int(_after(memory, f"{name}:").removesuffix("kB") or 0) * 1024


def _kernel_stack_bytes(memory: str) -> int:
    """
    Return the kernel stack of one thread.

    The quotient is rounded to a power of two, because the number of threads can change between reading the two files.
    """
    total_bytes, threads = _meminfo_bytes(memory, "KernelStack"), threads_on_machine()
    return 1 << round(math.log2(total_bytes / threads)) if total_bytes and threads else 0
