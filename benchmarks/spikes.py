"""
Show how much of the memory that is held only for a moment a measurement finds, beside its peers.

A program holds 1 to 50 MiB for 0.5 to 20 ms, a thousand times. A spike that is larger than all before it sets a record.
For one process the table has the share of these records that were found in full by the time of the next one; for
several processes the largest amount that was found, as a share of what they held.

Usage: python benchmarks/spikes.py [ROUNDS]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
from peers import PSUTIL

import concmem

HERE = Path(__file__).resolve().parent
SPIKES = 1000
PROCESSES = 4
FOUND = 0.98
"""A spike is found if so much of it was read: the size of the program itself is below this error."""

Spike = tuple[float, float, float]
"""From when to when it was held, and its size in bytes."""


@attrs.frozen
class Seen:
    """What a tool read: the program's spikes, its readings (seconds, bytes), and the peak that it reports."""

    spikes: list[Spike]
    t_s: np.ndarray
    rss_bytes: np.ndarray
    peak_bytes: float


def by_concmem(command: list[str]) -> Seen:
    """Measure with the defaults."""
    m = concmem.measure(command, stdout=concmem.PIPE, check=True)
    rss_bytes = np.array(m.timeline.values("statm", "rss_max"), dtype=float)
    return Seen(_parse(m.stdout or b""), m.timeline.t_s + m.start_monotonic_s, rss_bytes, m.peak.bytes or 0)


def by_psutil(command: list[str]) -> Seen:
    """Read the whole tree with psutil in a loop, as fast as it goes. psrecord and mprof do the same, more slowly."""
    done = subprocess.run([sys.executable, "-c", PSUTIL, *command], capture_output=True, check=True)
    readings = np.array([line.split() for line in done.stderr.decode().splitlines()], dtype=float)
    return Seen(_parse(done.stdout), readings[:, 0], readings[:, 1], readings[:, 1].max())


def _parse(output: bytes) -> list[Spike]:
    lines = (line.split() for line in output.decode().splitlines())
    return [(float(from_s), float(to_s), float(size)) for from_s, to_s, size in lines]


def share_found(seen: Seen) -> float:
    """Return the share of records that the readings show before the next record."""
    records: list[Spike] = []
    for spike in seen.spikes:
        if not records or spike[2] > records[-1][2]:
            records.append(spike)
    until_s = [from_s for from_s, _, _ in records[1:]] + [float("inf")]
    found = 0
    for (_, _, size), next_s in zip(records, until_s, strict=True):
        before = seen.rss_bytes[seen.t_s <= next_s]
        found += bool(len(before)) and bool(before.max() >= FOUND * size)
    return found / len(records)


def most_at_once(spikes: list[Spike]) -> float:
    """Return the largest sum of spikes that were held at the same time."""
    changes = sorted([(from_s, size) for from_s, _, size in spikes] + [(to_s, -size) for _, to_s, size in spikes])
    return float(np.cumsum([change for _, change in changes]).max())


def main() -> None:
    """Run all rounds and print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    ways: dict[str, Callable[[list[str]], Seen]] = {"concmem": by_concmem, "psutil": by_psutil}
    one: dict[str, list[float]] = {name: [] for name in ways}
    largest: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "brief_spikes"
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", program, HERE / "brief_spikes.c"], check=True)
        for seed in range(rounds):
            for name, way in ways.items():
                one[name].append(share_found(way([str(program), str(SPIKES), str(seed)])))
                seen = way([str(program), str(SPIKES // PROCESSES), str(seed), str(PROCESSES)])
                largest[name].append(seen.peak_bytes / most_at_once(seen.spikes))
    print(f"{SPIKES} spikes of 1 to 50 MiB for 0.5 to 20 ms; medians of {rounds} rounds")
    print(f"{'':10} {'records of one process':>24} {f'largest of {PROCESSES} processes':>26}")
    for name in ways:
        print(f"{name:10} {statistics.median(one[name]):24.0%} {statistics.median(largest[name]):26.0%}")


if __name__ == "__main__":
    main()
