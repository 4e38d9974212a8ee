"""The tree: which processes belong to it, what they hold together, and that none is missed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import concmem
from concmem.testing import known

MIB = 1 << 20

HOLD_S = 0.6
"""Long enough for readings on a loaded machine, including one or two of smaps_rollup."""

COUNTERS_BYTES = MIB
"""By how much a high-water mark can be too low, with the per-CPU counters of a few CPUs."""

pytestmark = pytest.mark.usefixtures("no_child_left")


def holding(m: concmem.Measurement, held_bytes: int) -> list[concmem.Process]:
    """Return the processes with a peak of at least `held_bytes`, less the error of the kernel's counters."""
    return [p for p in m.processes if p.peak.bytes is not None and p.peak.bytes >= held_bytes - COUNTERS_BYTES]


def test_chain_of_processes_is_summed() -> None:
    """Processes of 10, 20, 30 and 40 MiB that share nothing are 100 MiB at once."""
    m = concmem.measure(known("chain", 1.5, *(n * MIB for n in (10, 20, 30, 40))), stdout=subprocess.DEVNULL)
    assert m.peak.bytes is not None and m.tree_peak_rss_sum.bytes is not None
    assert 100 * MIB <= m.peak.bytes <= 104 * MIB
    assert m.largest_peak_rss.bytes is not None
    assert 40 * MIB - m.largest_peak_rss.error_bytes <= m.largest_peak_rss.bytes <= 42 * MIB
    assert m.tree_peak_rss_sum.bytes > m.peak.bytes
    assert "shared" in m.tree_peak_rss_sum.note
    assert m.tree_upper_bound.bytes is not None
    assert m.tree_upper_bound.bytes >= 100 * MIB
    assert m.peak.high_bytes is None or m.peak.high_bytes >= m.peak.bytes
    assert m.max_alive == len(m.processes) == 4
    assert [p.ppid for p in m.processes[1:]] == [p.pid for p in m.processes[:-1]]


def test_forked_pages_are_counted_once_in_pss() -> None:
    """200 MiB shared by fork among 1 + 4 processes is a footprint of 200 MiB; the sum of RSS is 1,000 MiB."""
    m = concmem.measure(
        known("fork-share", 200 * MIB, 4, 2), stdout=subprocess.DEVNULL, cpu_budget=0.5, pss_budget=0.25
    )
    assert m.tree_peak_pss.bytes is not None and m.tree_peak_rss_sum.bytes is not None and m.peak.bytes is not None
    assert 200 * MIB <= m.tree_peak_pss.bytes <= 206 * MIB
    assert 200 * MIB <= m.peak.bytes <= 206 * MIB
    assert m.tree_peak_rss_sum.bytes >= 5 * 200 * MIB
    assert m.max_alive == 5


ONCE = {
    "forked and not written to": ("fork-share", 100 * MIB, 4, HOLD_S),
    # With this seed each process idles for over 100 ms before it touches its own pages, so it is seen before that.
    "a part of each one's own": ("workers", 4, 20 * MIB, 20 * MIB, 1, HOLD_S * 1000, 22, 200),
    "shared on purpose": ("shared", 100 * MIB, 4, HOLD_S),
}


@pytest.mark.parametrize("pss_budget", [0, 0.01])
@pytest.mark.parametrize("args", ONCE.values(), ids=ONCE)
def test_lower_end_without_pss(args: tuple[object, ...], pss_budget: float) -> None:
    """From statm alone, memory that can be shared counts once: 100 MiB in each case."""
    m = concmem.measure(known(*map(str, args)), stdout=subprocess.DEVNULL, pss_budget=pss_budget)
    assert m.peak.low_bytes is not None
    assert 100 * MIB <= m.peak.low_bytes <= 104 * MIB


def test_nothing_is_shared_after_an_exec() -> None:
    """Three programs of 30 MiB, started by a shell, are 90 MiB, whatever the size of the shell."""
    ramp = " ".join(known("ramp", 30 * MIB, HOLD_S, 30))
    m = concmem.measure(f"{ramp} & {ramp} & {ramp} & wait", pss_budget=0, stdout=subprocess.DEVNULL)
    assert m.peak.low_bytes is not None
    assert 85 * MIB <= m.peak.low_bytes <= 94 * MIB


LAUNCHES = {
    "plainly": "{sleep} &",
    "in a subshell": "( {sleep} & )",
    "by nohup": "nohup {sleep} >/dev/null 2>&1 &",
    "by setsid": "setsid {sleep} &",
    "by double fork": "{daemonize} >/dev/null",
}


def test_all_kinds_of_children_are_seen_and_end(marked: Any) -> None:
    """Children started directly, in a subshell, by nohup, setsid and double fork are all seen, and have ended."""
    script = "\n".join(LAUNCHES.values()).format(
        sleep="sleep 987654", daemonize=" ".join(known("daemonize", 7 * MIB, 987654))
    )
    m = concmem.measure(f"{script}\nwait; sleep 987654", timeout_s=5, env=marked.env)
    assert m.exit.reason == "timeout"
    assert marked.alive() == {}
    assert m.sampler.survivors == ()
    sleeps = [p for p in m.processes if p.argv == ("sleep", "987654")]
    daemons = [p for p in m.processes if p.comm == "daemonize" and p in holding(m, 7 * MIB)]
    assert len(sleeps) == 4
    assert len(daemons) == 1
    assert all(p.end_s <= m.tree_wall_s + 0.001 for p in m.processes)


def test_daemon_outlives_the_root() -> None:
    """The measurement waits for a double-forked daemon and includes it; `tree_wall_s` is longer than `wall_s`."""
    m = concmem.measure(known("daemonize", 60 * MIB, HOLD_S), stdout=subprocess.DEVNULL)
    assert m.tree_wall_s >= max(HOLD_S, m.wall_s + 0.1)
    assert m.exit.code == 0
    (daemon,) = holding(m, 60 * MIB)
    assert daemon.pid != m.processes[0].pid
    assert daemon.user_s is not None
    assert m.root_peak_rss.bytes is not None and m.largest_peak_rss.bytes is not None
    assert m.root_peak_rss.bytes < 8 * MIB
    assert m.largest_peak_rss.bytes >= 60 * MIB - m.largest_peak_rss.error_bytes
    assert int(m.timeline.rss_bytes.max()) >= 60 * MIB


MANY_THREADS = """
import subprocess, threading
over = threading.Event()
idle = [threading.Thread(target=over.wait) for _ in range(400)]
for thread in idle:
    thread.start()
for _ in range(20):
    thread = threading.Thread(target=subprocess.run, args=(["/bin/sleep", "0.05"],))
    thread.start()
    thread.join()
over.set()
"""


def test_short_lived_children_of_many_threads() -> None:
    """Children of 50 ms, forked by new threads among 400, are found before the lists of these threads are read."""
    for _ in range(10):  # on a busy machine the sampler may have no CPU for so long
        m = concmem.measure([sys.executable, "-c", MANY_THREADS], interval_s=0.001)
        assert m.exit.ok and m.max_threads > 400
        seen = sum(process.comm == "sleep" for process in m.processes)
        if seen >= 10:  # of 20
            return
    pytest.fail(f"only {seen} of 20 were found")


def test_child_of_a_thread() -> None:
    """A child forked by a thread other than the main thread is found, and its memory is in the sums."""
    m = concmem.measure(known("thread-fork", 60 * MIB, HOLD_S), stdout=subprocess.DEVNULL)
    assert m.max_alive == 2
    (child,) = holding(m, 60 * MIB)
    assert child.ppid == m.processes[0].pid
    assert int(m.timeline.rss_bytes.max()) >= 60 * MIB


def test_exec_renames_a_process() -> None:
    """A process keeps its row over exec and shows its new name; its earlier children stay in the list."""
    m = concmem.measure("sleep 0.5 & exec sleep 0.7")
    assert len(m.processes) == 2
    assert m.processes[0].comm == "sleep"
    assert m.processes[0].argv == ("sleep", "0.7")
    assert {p.argv for p in m.processes} == {("sleep", "0.7"), ("sleep", "0.5")}


def test_times_of_processes() -> None:
    """Start and end of a process are right to within the time between two readings."""
    m = concmem.measure("sleep 0.3; sleep 0.4")
    root, first, second = m.processes
    slack_s = 0.02 + m.sampler.longest_gap_s  # the kernel's clock for starts ticks 100 times a second
    assert root.start_s <= slack_s
    assert first.end_s - first.start_s >= 0.3 - slack_s
    assert second.end_s - second.start_s >= 0.4 - slack_s
    assert second.start_s >= first.end_s - slack_s
    assert abs(root.end_s - m.wall_s) <= slack_s
    assert second.end_s <= root.end_s + slack_s


CROWD = """
import subprocess, sys, time
begun = time.monotonic()
crowd = [subprocess.Popen(["sleep", "987"]) for _ in range(int(sys.argv[1]))]
# All have called exec. Their arguments are read again after at most twice their age.
time.sleep(2 * (time.monotonic() - begun) + 1)
for child in crowd:
    child.kill()
for child in crowd:
    child.wait()
"""


def crowd(count: int) -> list[str]:
    """Run a Python with `count` children, all alive together until the sampler must have seen them."""
    return [sys.executable, "-c", CROWD, str(count)]


def test_wide_tree() -> None:
    """1,200 children at once are all found, none twice. Their list takes several reads."""
    m = concmem.measure(crowd(1200))
    assert m.exit.ok
    assert m.max_alive == 1201  # and their parent
    assert len({p.pid for p in m.processes}) == len(m.processes) == 1201
    assert sum(p.argv == ("sleep", "987") for p in m.processes) == 1200


FEW_FILES = """
import json, resource, sys, concmem
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
m = concmem.measure(sys.argv[1:])
print(json.dumps([m.max_alive, len(m.processes), m.tree_peak_rss_sum.bytes]))
"""


def test_more_processes_than_file_descriptors(host_python: Callable[..., Any]) -> None:
    """With a hard limit on open files that is too low to keep all files open, all processes are still summed."""
    alive, seen, rss_sum_bytes = host_python(FEW_FILES, *crowd(100))
    assert (alive, seen) == (101, 101)
    assert rss_sum_bytes >= 101 * (512 << 10)


def test_processes_too_short_to_be_seen_count() -> None:
    """The largest of many short children is in `largest_peak_rss` even if unseen, from its parent's rusage."""
    hold = " ".join(known("hold", 40 * MIB, 1, 0))
    m = concmem.measure(
        f"{hold}; for i in 1 2 3 4 5 6 7 8; do /bin/true; done", interval_s=0.5, stdout=subprocess.DEVNULL
    )
    assert m.largest_peak_rss.bytes is not None
    assert m.largest_peak_rss.bytes >= 40 * MIB - m.largest_peak_rss.error_bytes
    assert m.peak.bytes is not None
    assert m.peak.bytes >= 40 * MIB - m.peak.error_bytes
