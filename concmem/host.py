"""The machine, and the settings on it that memory figures depend on."""

from __future__ import annotations

import math
import os
import platform
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import attrs

from concmem._escaping import escape_fields
from concmem.errors import UnsupportedPlatform

__all__ = [
    "Host",
    "check_proc",
    "control_groups",
    "counter_error_bytes",
    "describe",
    "forget",
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
        kernel_stack_bytes: What the kernel keeps for each thread's stack (KernelStack of /proc/meminfo over the number
            of threads); 0 where it does not tell. RSS never shows it.
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


def _group_mounts(proc: str, controller: str) -> tuple[str | None, str | None]:
    """Where the control groups of version 2, and those of version 1 with this controller, are mounted."""
    mounts = [line.split() for line in _text(f"{proc}/mounts").splitlines()]
    v2 = next((fields[1] for fields in mounts if fields[2] == "cgroup2"), None)
    v1 = next((fields[1] for fields in mounts if fields[2] == "cgroup" and controller in fields[3].split(",")), None)
    return v2, v1


def control_groups(controller: str, proc: str = "/proc/self") -> Iterator[tuple[Path, int]]:
    """
    The control groups whose limits hold for this process: the own one, then outwards; each with its version.

    A folder may be missing, where the group is not in this namespace.

    Args:
        controller: ``memory``, ``pids``: of version 1 only the groups with this one.
        proc: The folder of the process.
    """
    v2, v1 = _group_mounts(proc, controller)
    own = {
        fields[1]: fields[2] for line in _text(f"{proc}/cgroup").splitlines() if len(fields := line.split(":", 2)) == 3
    }
    for mount, key, version in ((v2, "", 2), (v1, controller, 1)):
        path = next((p for names, p in own.items() if key in names.split(",")), None)
        if mount is None or path is None:
            continue
        folder = Path(mount + path)
        for group in (folder, *folder.parents):
            yield group, version
            if group == Path(mount):
                break


def _cgroups() -> tuple[str, int | None]:
    """The version, and the least memory limit from the own group up."""
    v2, v1 = _group_mounts("/proc/self", "memory")
    limits = []
    for group, number in control_groups("memory"):
        limit = _number(f"{group}/{'memory.max' if number == 2 else 'memory.limit_in_bytes'}")
        if limit is not None and limit < 1 << 60:  # v1 writes "none" as a huge number
            limits.append(limit)
    version = {(True, True): "hybrid", (True, False): "v2", (False, True): "v1"}.get((v2 is not None, v1 is not None))
    return version or "none", min(limits, default=None)


@lru_cache(maxsize=8)
def _describe(cpus_allowed: int) -> Host:
    import psutil

    model = re.search(r"^model name\s*:\s*(.*)$", _text("/proc/cpuinfo"), re.M)
    thp = re.search(r"\[(\w+)\]", _text("/sys/kernel/mm/transparent_hugepage/enabled"))
    distribution = re.search(r'^PRETTY_NAME="?([^"\n]*)', _text("/etc/os-release"), re.M)
    cgroup, limit_bytes = _cgroups()
    return Host(
        kernel=platform.release(),
        machine=platform.machine(),
        cpu_model=model[1] if model else "",
        cpus=os.sysconf("SC_NPROCESSORS_ONLN"),
        cpus_allowed=cpus_allowed,
        page_bytes=os.sysconf("SC_PAGESIZE"),
        memory_bytes=psutil.virtual_memory().total,
        swap_bytes=psutil.swap_memory().total,
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
        kernel_stack_bytes=_kernel_stack_bytes(),
    )


def check_proc(proc: str = "/proc") -> None:
    """
    See to it that /proc shows this process and its children under the numbers that they have here.

    Without it nothing is known of them; that of another PID namespace has figures of other processes.

    Raises:
        UnsupportedPlatform: It is not mounted, is another namespace's, or shows less than all processes of this user.
    """
    try:
        own = os.readlink(f"{proc}/self")
    except OSError:
        if not os.path.exists(f"{proc}/version"):
            raise UnsupportedPlatform(
                f"{proc} is not mounted, from which memory is read: mount -t proc proc {proc}"
            ) from None
        own = ""
    if own != str(os.getpid()):
        raise UnsupportedPlatform(
            f"{proc} shows the processes of another PID namespace, where this one is {own or 'not there'}: "
            f"mount that of its own namespace, as unshare --mount-proc does, or mount -t proc proc {proc}"
        )
    if _namespace(f"{proc}/self/ns/pid_for_children") not in ("", _own_namespace(proc, os.getpid())):
        raise UnsupportedPlatform(
            f"children of this process are born into another PID namespace, which {proc} does not show: "
            "start concmem inside that namespace, with a /proc of its own"
        )


@lru_cache(maxsize=1)
def _own_namespace(proc: str, _pid: int) -> str:
    if not os.path.exists(f"{proc}/self/statm"):
        raise UnsupportedPlatform(f"{proc} does not show this process: mount it without hidepid")
    return _namespace(f"{proc}/self/ns/pid")


def _namespace(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # an older kernel, or one without such namespaces
        return ""


@contextmanager
def whole_proc() -> Iterator[None]:
    """
    Read files of the machine in /proc.

    Raises:
        UnsupportedPlatform: One of them cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise UnsupportedPlatform(
            f"{error.filename or '/proc'} cannot be read ({error.strerror}): mount all of /proc, without subset=pid"
        ) from error


def describe() -> Host:
    """
    This machine: read once, but for the CPUs that the calling thread may use now.

    Raises:
        UnsupportedPlatform: See `check_proc`; or a file of the machine is missing there.
    """
    check_proc()
    with whole_proc():
        return _describe(len(os.sched_getaffinity(0)))


def forget() -> None:
    """Read the machine anew when it is next asked for: its limits have been changed."""
    _describe.cache_clear()


def threads_on_machine() -> int:
    """How many threads there are now; 0 where it cannot be had. One small read of /proc/loadavg, of no process."""
    try:
        return int(_text("/proc/loadavg").split()[3].partition("/")[2])
    except (IndexError, ValueError):
        return 0


def swapped_bytes(host: Host) -> int | None:
    """What the machine has swapped in and out since it started; None where it has no swap. Source: /proc/vmstat."""
    if not host.swap_bytes:
        return None
    pages = re.findall(r"^pswp(?:in|out) (\d+)$", _text("/proc/vmstat"), re.M)
    return sum(map(int, pages)) * host.page_bytes


def oom_kills() -> int:
    """
    How many processes the kernel's OOM killer has ended since the machine started; 0 where the kernel does not count.

    Source: /proc/vmstat.
    """
    kills = re.search(r"^oom_kill (\d+)$", _text("/proc/vmstat"), re.M)
    return int(kills[1]) if kills else 0


def _kernel_stack_bytes() -> int:
    """Of each thread. The division is rounded to a power of two, which it is: threads come and go between the files."""
    total_kib = re.search(r"^KernelStack:\s+(\d+) kB$", _text("/proc/meminfo"), re.M)
    threads = re.search(r"/(\d+) ", _text("/proc/loadavg"))
    if not total_kib or not threads or not int(total_kib[1]) or not int(threads[1]):
        return 0
    return 1 << round(math.log2(int(total_kib[1]) * 1024 / int(threads[1])))


@lru_cache(maxsize=8)
def _version(kernel: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", kernel)
    return (int(match[1]), int(match[2])) if match else (6, 2)


def counter_error_bytes(host: Host, threads: int = 1) -> int:
    """
    By how much the kernel's own high-water marks can be off, either way.

    Since Linux 6.2 each of the three counters of resident pages (files, anonymous, shared) has a part on every CPU
    that is only added up when it exceeds a batch of max(32, 2 * CPUs) pages; a process that runs on few CPUs leaves
    parts on those only. Before that, each thread kept up to 64 pages to itself.

    Args:
        host: Kernel, CPUs online and allowed, page size.
        threads: The most threads that were alive, for the older kernels.
    """
    if _version(host.kernel) < (6, 2):
        return 64 * max(1, threads) * host.page_bytes
    batch = max(32, 2 * host.cpus)
    return 3 * min(host.cpus, host.cpus_allowed or host.cpus) * (batch - 1) * host.page_bytes
