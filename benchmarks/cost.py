"""
Show what a measurement costs: the sampler's share of a CPU, and how much longer a measured command takes.

The commands run alone and measured in turn, so that a slow phase of the machine affects both alike. The ratio of the
times is that of the medians, with its 95 % interval (both sides resampled). Peers that are installed run in the same
rounds: psrecord and mprof, as often as they manage.

Usage: python benchmarks/cost.py [--rounds 15] [--only NAME,...] [--long]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
from peers import PEERS, run_peer
from trees import download_project

import concmem
from concmem.study.stats import ratio_interval

HERE = Path(__file__).resolve().parent
OPTIONS = {"cgroup": True, "taskstats": True}
"""Those of `concmem run`."""
QUIET = subprocess.DEVNULL
TOUCH = """
import mmap
for _ in range({times}):
    m = mmap.mmap(-1, {mib} << 20)
    for at in range(0, len(m), 4096):
        m[at] = 1
    m.close()
"""
COMPUTE = "sum(i * i for i in range(12_000_000))"
FORKS = """
import os
for _ in range(1500):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
"""


@attrs.frozen
class Work:
    """
    A command whose cost of measuring is shown.

    Attributes:
        command: The command.
        wall: Whether its time alone is compared. A command that only sleeps takes a fixed time.
        long: Whether it is left out unless asked for.
    """

    command: Sequence[str]
    wall: bool = True
    long: bool = False


def sleepers(count: int, sleep_s: float = 4) -> list[str]:
    """Return a command of so many sleeping processes."""
    return ["/bin/sh", "-c", f"i=1; while [ $i -lt {count} ]; do sleep {sleep_s} & i=$((i+1)); done; sleep {sleep_s}"]


def works(source: Path, program: Path) -> dict[str, Work]:
    """Return everything that is measured. `source` is a project to build; `program` runs threads."""
    python = sys.executable
    return {
        "one sleeping process": Work(["/bin/sleep", "4"], wall=False),
        "10 sleeping processes": Work(sleepers(10), wall=False),
        "100 sleeping processes": Work(sleepers(100), wall=False),
        "500 sleeping processes": Work(sleepers(500), wall=False),
        "1,000 sleeping processes": Work(sleepers(1000, 15), wall=False, long=True),
        "5,000 sleeping processes": Work(sleepers(5000, 60), wall=False, long=True),
        "10,000 threads": Work([str(program), "10000", "15"], wall=False, long=True),
        "make -j2": Work(["make", "-B", "-j2", "-C", str(source)]),
        "600 x /bin/true": Work(["/bin/sh", "-c", "i=0; while [ $i -lt 600 ]; do /bin/true; i=$((i+1)); done"]),
        "1,500 x fork and exit": Work([python, "-c", FORKS]),
        "page faults, 20 x 64 MiB": Work([python, "-c", TOUCH.format(times=20, mib=64)]),
        "page faults, 1 GiB": Work([python, "-c", TOUCH.format(times=1, mib=1024)]),
        "a Python that computes": Work([python, "-c", COMPUTE]),
    }


@attrs.define
class Times:
    """What was seen of one command."""

    alone_s: list[float] = attrs.Factory(list)
    measured_s: list[float] = attrs.Factory(list)
    shares: list[float] = attrs.Factory(list)
    gaps_s: list[float] = attrs.Factory(list)
    peers: dict[str, list[float]] = attrs.Factory(dict)


def run_alone(command: Sequence[str]) -> float:
    """Return how long the command takes."""
    before_s = time.perf_counter()
    subprocess.run(command, check=True, stdout=QUIET, stderr=QUIET)
    return time.perf_counter() - before_s


def run_measured(command: Sequence[str], times: Times) -> None:
    """Run the command measured, and note what that cost."""
    before_s = time.perf_counter()
    m = concmem.measure(command, stdout=QUIET, stderr=QUIET, check=True, **OPTIONS)
    times.measured_s.append(time.perf_counter() - before_s)
    times.shares.append((m.sampler.cpu_s - 0.02) / m.tree_wall_s)
    times.gaps_s.append(m.tree_wall_s / m.sampler.ticks)


def show(name: str, work: Work, times: Times) -> None:
    """Print one row."""
    ratio = "-"
    if work.wall:
        value = statistics.median(times.measured_s) / statistics.median(times.alone_s)
        low, high = ratio_interval(times.measured_s, times.alone_s) or (value, value)
        ratio = f"{value:.3f} ({low:.3f} to {high:.3f})"
    peers = "".join(f"{statistics.median(shares):10.1%}" for shares in times.peers.values())
    share, gap_ms = statistics.median(times.shares), statistics.median(times.gaps_s) * 1e3
    print(f"{name:26} {max(0, share):9.2%} {gap_ms:9.1f} ms  {ratio:>24}{peers}", flush=True)


def multiples(program: Path, rounds: int) -> None:
    """Print the CPU time at a fixed interval of 1 ms as a multiple of that of the bare loop."""
    print("\nthe sampler at a fixed interval of 1 ms, as a multiple of the CPU time of the bare loop:")
    for count in (1, 10, 100):
        ratios = []
        for _ in range(rounds):
            with concmem.start(sleepers(count), interval_s=0.001, stdout=QUIET) as running:
                time.sleep(0.5)
                root = concmem_children(running.root_pid)
                bare = subprocess.run([program, "2", *map(str, root)], capture_output=True, text=True, check=True)
                m = running.wait()
            cpu_s, made = map(float, bare.stdout.split())
            ratios.append((m.sampler.cpu_s / m.sampler.ticks) / (cpu_s / made))
        print(f"{count:4} processes  {statistics.median(ratios):.2f}")


def concmem_children(root_pid: int | None) -> list[int]:
    """Return the root and its descendants."""
    import psutil

    root = psutil.Process(root_pid)
    return [root.pid, *(child.pid for child in root.children(recursive=True))]


def main() -> None:
    """Run all rounds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="")
    parser.add_argument("--long", action="store_true", help="also 1,000 and 5,000 processes, and 10,000 threads")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        compiled = {}
        for name in ("bare_loop", "sleeping_threads"):
            compiled[name] = folder / name
            cc = [os.environ.get("CC", "cc"), "-O2", "-pthread", "-o", compiled[name], HERE / f"{name}.c"]
            subprocess.run(cc, check=True)
        table = works(download_project(folder), compiled["sleeping_threads"])
        chosen = {name: work for name, work in table.items() if not work.long or arguments.long}
        if arguments.only:
            chosen = {name: table[name] for name in arguments.only.split(",")}
        print(f"medians of {arguments.rounds} rounds; the sampler's share is without the first 20 ms")
        peers = "".join(f"{name:>10}" for name in PEERS)
        print(f"{'':26} {'sampler':>9} {'interval':>12}  {'measured / alone':>24}{peers}")
        for name, work in chosen.items():
            times = Times(peers={peer: [] for peer in PEERS})
            for _ in range(3 if work.long else arguments.rounds):
                if work.wall:
                    times.alone_s.append(run_alone(work.command))
                run_measured(work.command, times)
                for peer, shares in times.peers.items():
                    if not work.long:
                        shares.append(run_peer(peer, work.command, folder))
            show(name, work, attrs.evolve(times, peers={} if work.long else times.peers))
        multiples(compiled["bare_loop"], max(3, arguments.rounds // 3))


if __name__ == "__main__":
    main()
