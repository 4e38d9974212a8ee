"""
Measure what measuring a short command costs, and what each method reports, from hosts of three sizes.

The methods run ``/bin/true`` with `concmem.measure` (reading only the headline, and reading everything), with
`subprocess.run`, and under GNU time. Each host is a separate Python process that holds the given amount of memory and
runs each method once per round, in turn. Results are medians over the rounds; ratios are of medians of one host.

Usage: python benchmarks/launch.py [ROUNDS] [HOST_MIB...]
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil

import concmem

TARGET = ["/bin/true"]
GNU_TIME = shutil.which("time", path="/usr/bin:/bin:/usr/local/bin")
HOSTS_MIB = (20, 500, 2048)
WARM_UP = 5


def by_concmem() -> int | None:
    """Measure, and read only the headline."""
    return concmem.measure(TARGET).peak.bytes


def by_concmem_complete() -> int | None:
    """Measure, and read a field that makes concmem compute the complete measurement."""
    measurement = concmem.measure(TARGET)
    return measurement.peak.bytes if measurement.wall_s else None


def by_subprocess() -> int | None:
    """Run without measuring."""
    subprocess.run(TARGET, check=True)
    return None


def by_gnu_time() -> int | None:
    """Read %M of GNU time, started as a Python program would start it."""
    assert GNU_TIME is not None
    done = subprocess.run([GNU_TIME, "-f", "%M", *TARGET], check=True, stderr=subprocess.PIPE)
    return int(done.stderr) * 1024


def by_wait4() -> int:
    """Read what Python programs usually read: the ru_maxrss of their own child."""
    child = subprocess.Popen(TARGET)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * 1024


def host(rounds: int, mib: int) -> dict[str, Any]:
    """Grow to `mib` by touching memory, run the rounds, and return the medians."""
    own_bytes = psutil.Process().memory_info().rss
    held = bytearray(b"x") * max(0, (mib << 20) - own_bytes)
    ways: dict[str, Callable[[], int | None]] = {
        "concmem.measure": by_concmem,
        "concmem.measure, all of it read": by_concmem_complete,
        "subprocess.run": by_subprocess,
    }
    if GNU_TIME:
        ways["GNU time, by subprocess.run"] = by_gnu_time
    times_s: dict[str, list[float]] = {name: [] for name in ways}
    reported: dict[str, int | None] = {}
    for count in range(WARM_UP + rounds):
        for name, way in ways.items():
            start_s = time.perf_counter()
            reported[name] = way()
            if count >= WARM_UP:
                times_s[name].append(time.perf_counter() - start_s)
    reported["subprocess.run"] = by_wait4()
    return {
        "host_bytes": psutil.Process().memory_info().rss,
        "held_bytes": len(held),
        "median_s": {name: statistics.median(values) for name, values in times_s.items()},
        "reported_bytes": reported,
    }


def main() -> None:
    """Run one host after another, each in its own process."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    hosts_mib = [int(word) for word in sys.argv[2:]] or list(HOSTS_MIB)
    if GNU_TIME is None:
        print("GNU time is missing (Debian: apt-get install time): its rows are left out")
    print(f"/bin/true, median of {rounds} rounds; the row of subprocess.run shows the ru_maxrss of wait4")
    print(f"{'host':>10}  {'method':32} {'ms':>8} {'x subprocess.run':>17} {'MiB':>9}")
    ours_s = []
    for mib in hosts_mib:
        done = subprocess.run([sys.executable, __file__, "--host", str(rounds), str(mib)], stdout=subprocess.PIPE)
        if done.returncode != 0:
            sys.exit(f"the host of {mib} MiB ended with {done.returncode}")
        result = json.loads(done.stdout)
        base_s = result["median_s"]["subprocess.run"]
        ours_s.append(result["median_s"]["concmem.measure"])
        for name, median_s in result["median_s"].items():
            reported_bytes = result["reported_bytes"][name]
            print(
                f"{result['host_bytes'] / 2**20:6.0f} MiB  {name:32} {median_s * 1e3:8.3f} {median_s / base_s:17.2f} "
                f"{reported_bytes / 2**20:9.2f}"
            )
    print(f"concmem.measure, largest median of a host divided by the smallest: {max(ours_s) / min(ours_s):.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--host"]:
        print(json.dumps(host(int(sys.argv[2]), int(sys.argv[3]))))
    else:
        main()
