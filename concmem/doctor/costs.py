"""Measure what one reading of each source costs on this machine: medians of short loops that read this process."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator

from concmem._cgroup.groups import make_groups
from concmem._native.shared_memory import native
from concmem._native.source_table import source_entries

__all__ = ["reading_costs"]

_LOOPS = 15
_MOST_S = 0.02
"""The longest time that one loop may take."""


@contextlib.contextmanager
def _opened(path: str, flags: int, dir_fd: int | None = None) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def _once_s(loop: Callable[[int], object]) -> float:
    """Return the time of one iteration. `loop` gets the number of iterations."""
    times = 1
    while True:
        start_s = time.perf_counter()
        loop(times)
        took_s = time.perf_counter() - start_s
        if took_s > _MOST_S / 10 or times >= 1 << 14:
            break
        times *= 4
    return statistics.median([took_s / times] + [_timed(loop, times) / times for _ in range(_LOOPS)])


def _timed(loop: Callable[[int], object], times: int) -> float:
    start_s = time.perf_counter()
    loop(times)
    return time.perf_counter() - start_s


def _native_s(source: str) -> float:
    """Time a source with the sampler's own reading code."""
    _, lib = native()
    with _opened("/proc", os.O_RDONLY | os.O_DIRECTORY) as proc_fd:
        return _once_s(lambda times: lib.cm_read_loop(proc_fd, source.encode(), os.getpid(), times))


def _file_s(fd: int) -> float:
    def loop(times: int) -> None:
        for _ in range(times):
            os.pread(fd, 4096, 0)

    return _once_s(loop)


def _reset_s() -> float:
    """Time writing 5 to clear_refs, which resets VmHWM, of a child started for this."""
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            with _opened(f"/proc/{child.pid}/clear_refs", os.O_WRONLY) as fd:

                def loop(times: int) -> None:
                    for _ in range(times):
                        os.write(fd, b"5")

                return _once_s(loop)
        finally:
            child.kill()


def _group_s() -> float:
    """Time reading the current charge, plus a tenth of memory.stat, which is read at most every 10 ms."""
    with contextlib.closing(make_groups(memory=True, selector=False)) as groups:
        name = "memory.current" if groups.memory_version == 2 else "memory.usage_in_bytes"
        with (
            _opened(name, os.O_RDONLY, groups.memory_fd) as usage_fd,
            _opened("memory.stat", os.O_RDONLY, groups.memory_fd) as stat_fd,
        ):
            return _file_s(usage_fd) + _file_s(stat_fd) / 10


def _children_s() -> float:
    with _opened("/proc/thread-self/children", os.O_RDONLY) as fd:
        return _file_s(fd)


def _windows_s() -> float:
    return _native_s("status") + _reset_s()


_OTHERS = {"children": _children_s, "windows": _windows_s, "cgroup": _group_s}
"""How to time sources of which one process cannot be read alone. The kernel sends the data of those not listed."""


def reading_costs(usable: frozenset[str]) -> dict[str, float]:
    """
    Return the seconds of one reading by source. taskstats and rss_stat are not included: the kernel sends their data.

    Args:
        usable: The sources to time.
    """
    costs_s: dict[str, float] = {}
    for name, entry in source_entries().items():
        if name in usable and entry.is_read_alone:
            costs_s[name] = _native_s(name)
        elif name in usable and name in _OTHERS:
            with contextlib.suppress(OSError):  # a group that systemd makes has no folder yet
                costs_s[name] = _OTHERS[name]()
    return costs_s
