"""
Measure what one reading of a process's RSS costs: with concmem's own loop, a bare C loop, psutil, and plain Python.

All read the same idle process. Each method runs once per round, so that a slow phase of the machine affects all of them
alike. Results are medians over the rounds; ratios are of medians.

Usage: python benchmarks/sampling.py [ROUNDS] [MIB]
"""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from concmem._native._core import lib
from concmem.testing import known

HERE = Path(__file__).resolve().parent
READINGS = 20_000
"""How many readings each C loop makes in a round (20 ms)."""
SLOW_READINGS = 2_000
"""The same for the Python methods, which take ten times as long."""


def timed(readings: int, read: Callable[[], object]) -> float:
    """Return the nanoseconds per call."""
    start_ns = time.perf_counter_ns()
    for _ in range(readings):
        read()
    return (time.perf_counter_ns() - start_ns) / readings


def ours(proc_fd: int, pid: int) -> float:
    """Return the nanoseconds per reading of the sampler's own code, through a function of the C extension."""
    start_ns = time.perf_counter_ns()
    total = lib.cm_read_loop(proc_fd, b"statm", pid, READINGS)
    elapsed_ns = time.perf_counter_ns() - start_ns
    if total <= 0:
        raise OSError(-total, os.strerror(-total))
    return elapsed_ns / READINGS


def bare(program: Path, pid: int) -> float:
    """Return the nanoseconds per reading, as the C program measured them."""
    return float(subprocess.check_output([program, str(pid), str(READINGS)]).split()[0])


def open_read_split(pid: int) -> int:
    """Read in the simplest way in Python."""
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def kept_pread(fd: int) -> int:
    """Read in the fastest way in Python."""
    return int(os.pread(fd, 128, 0).split()[1]) * 4096


def main() -> None:
    """Start a target that holds memory and sleeps, and run the rounds."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    mib = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "bare_statm"
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", program, HERE / "bare_statm.c"], check=True)
        with subprocess.Popen(known("hold", mib << 20, 1, 3600), stdout=subprocess.PIPE) as target:
            try:
                assert target.stdout is not None
                target.stdout.readline()
                run(rounds, mib, target.pid, program)
            finally:
                target.kill()


def run(rounds: int, mib: int, pid: int, program: Path) -> None:
    """Run all methods in turn, `rounds` times, and print the table."""
    proc_fd = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    statm_fd = os.open(f"/proc/{pid}/statm", os.O_RDONLY)
    process = psutil.Process(pid)
    ways: dict[str, Callable[[], float]] = {
        "bare C loop": lambda: bare(program, pid),
        "concmem": lambda: ours(proc_fd, pid),
        "Python, os.pread of a kept descriptor": lambda: timed(SLOW_READINGS, functools.partial(kept_pread, statm_fd)),
        "Python, open/read/split": lambda: timed(SLOW_READINGS, functools.partial(open_read_split, pid)),
        "psutil, memory_info()": lambda: timed(SLOW_READINGS, process.memory_info),
        "psutil, Process(pid).memory_info()": lambda: timed(SLOW_READINGS, lambda: psutil.Process(pid).memory_info()),
    }
    times_ns: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times_ns[name].append(way())
    median_ns = {name: statistics.median(values) for name, values in times_ns.items()}
    ours_ns = median_ns["concmem"]
    print(f"one reading of the RSS of a process of {mib} MiB, median of {rounds} rounds, psutil {psutil.__version__}")
    print(f"{'':40} {'ns':>8} {'readings/s':>11} {'x concmem':>10}")
    for name, ns in median_ns.items():
        print(f"{name:40} {ns:8.0f} {1e9 / ns:11,.0f} {ns / ours_ns:10.2f}")
    print(f"concmem reads at {median_ns['bare C loop'] / ours_ns:.2f} of the bare C loop's rate (goal: 0.8)")
    print(f"concmem is {median_ns['psutil, memory_info()'] / ours_ns:.1f} times as fast as memory_info() (goal: 9)")


if __name__ == "__main__":
    main()
