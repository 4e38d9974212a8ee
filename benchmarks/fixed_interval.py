"""
Compare the width of the headline's range with that of reading PSS at a fixed interval, at the same cost.

There are two trees: 8 workers that share 100 MiB and each spike 50 MiB at random times, and ``make -j4`` of the 32 C
files of Brotli, whose source pip downloads from PyPI. The alternative finds the tree with psutil and sums the PSS of
all its processes. It starts at a random moment and uses an interval at which this takes 1 % of the time. Its lower end
is its largest sum, its upper end that of a measurement without PSS. All methods except that of the last row use
taskstats if it is available (as root). Without taskstats, each process that another program on the machine starts may
belong to the tree, and counts in the upper end.

Each method runs once per round, in turn. Results are medians over the rounds.

Usage: python benchmarks/fixed_interval.py [ROUNDS]
"""

from __future__ import annotations

import contextlib
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import psutil
from trees import MAKE, PROJECT, SEED, WORKERS, download_project, printed_truth

import concmem
from concmem import sources
from concmem.testing import known

BUDGET = 0.01
OURS = "concmem"


@attrs.frozen
class Bracket:
    """The result of one run: both ends in bytes, None if unknown, and the share of wall time for reading PSS."""

    low_bytes: int
    high_bytes: int | None
    share: float
    truth_bytes: tuple[int, ...]

    @property
    def width_bytes(self) -> int | None:
        """The upper end less the lower end."""
        return None if self.high_bytes is None else self.high_bytes - self.low_bytes


class Poller(threading.Thread):
    """Sum the PSS of a process and all its descendants at a fixed interval, until `stop` is called."""

    def __init__(self, root_pid: int, first_s: float, interval_s: float) -> None:
        super().__init__()
        self._root_pid, self._first_s, self._interval_s = root_pid, first_s, interval_s
        self._over = threading.Event()
        self.readings, self.spent_s, self.largest_bytes = 0, 0.0, 0

    def run(self) -> None:
        """Count the time for reading, but not the time for finding the processes."""
        next_s = time.perf_counter() + self._first_s
        while not self._over.wait(next_s - time.perf_counter()):
            next_s += self._interval_s
            pids = []
            with contextlib.suppress(psutil.NoSuchProcess):
                root = psutil.Process(self._root_pid)
                pids = [root.pid, *(process.pid for process in root.children(recursive=True))]
            read_s, total = time.perf_counter(), 0
            for pid in pids:
                with contextlib.suppress(OSError):
                    total += sources.read("smaps_rollup", pid)["pss"]
            self.spent_s += time.perf_counter() - read_s
            self.readings += 1
            self.largest_bytes = max(self.largest_bytes, total)

    def stop(self) -> None:
        """Stop, and return when the last reading has ended."""
        self._over.set()
        self.join()


class FixedInterval:
    """The alternative. The cost of its readings so far sets the next interval; the first run only measures the cost."""

    def __init__(self, command: list[str], taskstats: bool) -> None:
        self._command, self._taskstats = command, taskstats
        self._readings, self._spent_s = 0, 0.0
        self._random = random.Random(SEED)
        self.interval_s = 0.5
        self()

    def __call__(self) -> dict[str, Bracket]:
        """Run once."""
        with concmem.start(self._command, pss_budget=0, taskstats=self._taskstats, stdout=concmem.PIPE) as running:
            assert running.root_pid is not None
            poller = Poller(running.root_pid, self._random.random() * self.interval_s, self.interval_s)
            poller.start()
            try:
                m = running.wait()
            finally:
                poller.stop()
        if not m.exit.ok:
            raise concmem.CommandFailed(m)
        self._readings += poller.readings
        self._spent_s += poller.spent_s
        self.interval_s = self._spent_s / self._readings / BUDGET
        share, high_bytes = poller.spent_s / m.tree_wall_s, m.tree_upper_bound.high_bytes
        return {"PSS at a fixed interval": Bracket(poller.largest_bytes, high_bytes, share, printed_truth(m))}


def ours(name: str, command: list[str], taskstats: bool, exact: bool = False) -> dict[str, Bracket]:
    """Return the headline of one measurement, and the same with the largest sum of PSS as lower end."""
    m = concmem.measure(
        command, pss_budget=BUDGET, taskstats=taskstats, exact=exact, stdout=concmem.PIPE, check=True
    )  # fmt: skip
    headline = Bracket(m.peak.low_bytes or 0, m.peak.high_bytes, m.sampler.pss_s / m.tree_wall_s, printed_truth(m))
    by_pss = attrs.evolve(headline, low_bytes=m.tree_peak_pss.low_bytes or 0)
    return {f"{name}, by its readings of PSS alone": by_pss, name: headline} if name == OURS else {name: headline}


def mib(size: float | None) -> str:
    """Format an amount for the table."""
    return "none" if size is None else f"{size / 2**20:.1f}"


def middle(brackets: list[Bracket], of: Callable[[Bracket], int | None]) -> float | None:
    """Return the median, or None if a run has no value."""
    values = [value for value in map(of, brackets) if value is not None]
    return statistics.median(values) if len(values) == len(brackets) else None


def compare(title: str, command: list[str], rounds: int) -> None:
    """Run all methods in turn, `rounds` times, and print the table."""
    usable = {source.name for source in concmem.probe() if source.usable}
    taskstats = "taskstats" in usable
    fixed = FixedInterval(command, taskstats)
    ways: list[Callable[[], dict[str, Bracket]]] = [fixed, lambda: ours(OURS, command, taskstats)]
    if "rss_stat" in usable:
        ways.append(lambda: ours(f"{OURS}, exact=True", command, taskstats, exact=True))
    if taskstats:
        ways.append(lambda: ours(f"{OURS}, taskstats=False", command, False))
    results: dict[str, list[Bracket]] = {}
    for _ in range(rounds):
        for way in ways:
            for name, bracket in way().items():
                results.setdefault(name, []).append(bracket)
    print(f"\n{title}, median of {rounds} rounds, MiB; the fixed interval is {fixed.interval_s:.2f} s")
    print(f"{'':38} {'truth':>10} {'lower':>7} {'upper':>7} {'width':>7} {'x concmem':>10} {'time':>7}")
    base = middle(results[OURS], lambda one: one.width_bytes)
    for name, brackets in results.items():
        truths = [one.truth_bytes for one in brackets if one.truth_bytes]
        ends = " to ".join(f"{statistics.median(end) / 2**20:.0f}" for end in zip(*truths, strict=True)) or "unknown"
        width = middle(brackets, lambda one: one.width_bytes)
        ratio = "-" if width is None or base is None else f"{width / base:.2f}"
        print(
            f"{name:38} {ends:>10} {mib(middle(brackets, lambda one: one.low_bytes)):>7} "
            f"{mib(middle(brackets, lambda one: one.high_bytes)):>7} {mib(width):>7} {ratio:>10} "
            f"{statistics.median(one.share for one in brackets):7.2%}"
        )


def main() -> None:
    """Measure both trees."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    compare("8 workers that share 100 MiB and spike 50 MiB each", known(*WORKERS), rounds)
    with tempfile.TemporaryDirectory() as folder:
        compare(f"make -j4 of {PROJECT}", [*MAKE, str(download_project(Path(folder)))], rounds)


if __name__ == "__main__":
    main()
