"""
What a call costs when a program makes thousands: `python benchmarks/many_runs.py [CALLS]`.

The first table has ``measure(["/bin/true"])`` and parts of it, timed in turn. A sampler that is kept between two calls
could save no more than the second line. The second table has blocks of calls, with what the process then holds.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable

import concmem
from concmem._files.paths import SAMPLER

TRUE = "/bin/true"
ROUNDS = 1500
BLOCKS = 10


def spawn(program: str) -> None:
    """Start a program without arguments, and wait for it."""
    os.waitpid(os.posix_spawn(program, [program], os.environ), 0)


WAYS: dict[str, Callable[[], object]] = {
    "/bin/true, by posix_spawn": lambda: spawn(TRUE),
    "the sampler, which ends at once": lambda: spawn(str(SAMPLER)),
    "subprocess.run": lambda: subprocess.run([TRUE], check=True),
    "measure": lambda: concmem.measure([TRUE]),
    "measure, and read peak": lambda: concmem.measure([TRUE]).peak,
}


def parts() -> None:
    """Time each way in turn."""
    times_s: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            begun_s = time.perf_counter()
            way()
            times_s[name].append(time.perf_counter() - begun_s)
    print(f"{'':32} {'least':>9} {'a tenth is below':>17} {'median':>9}")
    for name, each in times_s.items():
        each.sort()
        least, tenth, median = (f"{each[i] * 1e6:.0f} us" for i in (0, len(each) // 10, len(each) // 2))
        print(f"{name:32} {least:>9} {tenth:>17} {median:>9}")


def resident_kib() -> int:
    """Return the RSS of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


def blocks(calls: int) -> None:
    """Time blocks of calls, each with /bin/true by itself beside it."""
    print(f"{'calls':>6} {'measure':>9} {'/bin/true':>10} {'ratio':>6} {'RSS':>10}  descriptors")
    for block in range(BLOCKS):
        spent_s = {"measure": 0.0, "/bin/true, by posix_spawn": 0.0}
        for _ in range(calls // BLOCKS):
            for name in spent_s:
                begun_s = time.perf_counter()
                WAYS[name]()
                spent_s[name] += time.perf_counter() - begun_s
        gc.collect()
        ours, direct = (spent / (calls // BLOCKS) * 1e6 for spent in spent_s.values())
        fds = len(os.listdir("/proc/self/fd")) - 1
        done = (block + 1) * (calls // BLOCKS)
        held = f"{resident_kib()} KiB"
        print(f"{done:>6} {ours:6.0f} us {direct:7.0f} us {ours / direct:>6.2f} {held:>10}  {fds:>11}")


if __name__ == "__main__":
    parts()
    print()
    blocks(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
