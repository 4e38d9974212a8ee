"""Sources that must be requested: what each adds to the default readings, and what works without privileges."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import concmem
from concmem.testing import known

MIB = 1 << 20
HOLD_S = 0.3

COUNTERS_BYTES = MIB
"""The error of a high-water mark on a few CPUs."""

pytestmark = pytest.mark.usefixtures("no_child_left")

_USABLE = {source.name: source for source in concmem.probe()}


def needs(name: str) -> pytest.MarkDecorator:
    source = _USABLE[name]
    return pytest.mark.skipif(not source.usable, reason=f"{name} cannot be used here: {source.why_not}")


def test_every_source_says_what_it_takes() -> None:
    """All are listed, each with columns and needs. One that cannot be used has a sentence that says why."""
    assert set(_USABLE) == {
        "statm", "status", "smaps_rollup", "children", "windows", "cgroup", "taskstats", "rss_stat",
    }  # fmt: skip
    for source in _USABLE.values():
        assert source.columns and source.needs
        assert source.usable == (source.why_not == "")
        assert "\n" not in source.why_not


def test_optional_sources_are_off_by_default() -> None:
    """By default the command's own marks are not reset, and no control group is changed."""
    m = concmem.measure(known("hold", 10 * MIB, 1, 0.05), stdout=subprocess.DEVNULL)
    assert not {"windows", "cgroup", "rss_stat", "taskstats"} & set(m.timeline.tracks)
    assert "cgroup=True" in m.cgroup_peak.note
    assert m.sampler.missing == {}


@needs("windows")
def test_windows_keep_the_maximum() -> None:
    """The target's ru_maxrss covers its last window; the figure and the right window have the spike of 20 MiB."""
    m = concmem.measure(known("spike", 5 * MIB, 20 * MIB, 0.2, 2), stdout=subprocess.DEVNULL, windows=True)
    peak = m.root_peak_rss
    assert peak.low_bytes is not None and peak.bytes is not None
    assert 25 * MIB - COUNTERS_BYTES <= peak.bytes <= 25 * MIB + 2 * MIB
    assert m.timeline.track("windows")["rss_max"].max() >= 25 * MIB - COUNTERS_BYTES
    assert m.timeline.track("windows")["rss_last"][-1] <= 8 * MIB
    assert peak.status == ("sampled" if m.sampler.inexact_windows else "bounded")


SPIKES, SPIKE_BYTES, BASE_BYTES = 200, 20 * MIB, 5 * MIB


def spikes_and_windows(track: str, **asked: Any) -> tuple[list[tuple[float, float, float]], Any, float]:
    """Return the spikes that the program prints, the windows of a track, and the clock at the start of the run."""
    command = known("spikes", SPIKES, SPIKE_BYTES, 2, BASE_BYTES)
    m = concmem.measure(command, interval_s=0.001, stdout=subprocess.PIPE, **asked)
    assert m.exit.ok and m.stdout is not None
    result = [line.split()[1:] for line in m.stdout.decode().splitlines() if line.startswith("spike ")]
    spikes = [(float(a), float(b), float(c)) for a, b, c in result]
    assert len(spikes) == SPIKES
    return spikes, m.timeline.track(track), m.start_monotonic_s


def whole_in_its_window(spikes: list[tuple[float, float, float]], windows: Any, start_s: float) -> int:
    """
    Return how many spikes are complete in the first window that ends after their top, or in the window before.

    The window before counts too: if the sampler waits for a CPU, a reading is made later than its time stamp.
    """
    ends = (windows["t_ns"] / 1e9 + start_s).searchsorted([top_s for _, top_s, _ in spikes])
    ends = np.minimum(ends, len(windows) - 1)
    most = np.maximum(windows["rss_max"][ends], windows["rss_max"][np.maximum(ends, 1) - 1])
    return int((most >= BASE_BYTES + SPIKE_BYTES - COUNTERS_BYTES).sum())


@needs("windows")
def test_windows_show_short_spikes() -> None:
    """At least 99 % of 200 spikes of 2 ms are complete in the right window."""
    spikes, windows, start_s = spikes_and_windows("windows", windows=True)
    assert whole_in_its_window(spikes, windows, start_s) >= 0.99 * SPIKES


@needs("rss_stat")
def test_the_kernels_sum_shows_every_spike() -> None:
    """All of 200 spikes of 2 ms are complete in the right window."""
    spikes, windows, start_s = spikes_and_windows("rss_stat", exact=True)
    assert whole_in_its_window(spikes, windows, start_s) == SPIKES


@needs("rss_stat")
def test_the_kernels_sum_of_shared_pages() -> None:
    """For five processes that share 200 MiB it equals the sum of smaps_rollup to the page: 1,000 MiB and more."""
    command = known("fork-share", 200 * MIB, 4, 600)
    with concmem.start(command, stdout=subprocess.PIPE, exact=True) as running:
        root = running.root_pid
        assert root is not None
        pids: list[int] = []
        while len(pids) < 5 or min(map(concmem_rss_bytes, pids)) < 200 * MIB:
            pids = [root, *map(int, Path(f"/proc/{root}/task/{root}/children").read_text().split())]
        time.sleep(0.2)  # the last process may still touch pages
        smaps_bytes = sum(concmem_rss_bytes(pid) for pid in pids)
        now_s = time.monotonic()
        time.sleep(0.1)
        running.stop()
        m = running.wait()
    assert len(pids) == 5
    track = m.timeline.track("rss_stat")
    assert track["rss_last"][(track["t_ns"] / 1e9 + m.start_monotonic_s).searchsorted(now_s)] == smaps_bytes
    assert m.tree_peak_rss_sum.status == "exact" and m.tree_peak_rss_sum.bytes is not None
    # At their ends they touch a few more pages, of the code that exits.
    assert smaps_bytes <= m.tree_peak_rss_sum.bytes <= smaps_bytes + MIB
    assert m.tree_upper_bound.high_bytes is not None and m.tree_upper_bound.high_bytes <= m.tree_peak_rss_sum.bytes


def concmem_rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no Rss")


@needs("rss_stat")
def test_processes_that_leave_the_group() -> None:
    """The kernel's sum lacks a tree that moves itself to another control group, and is then not exact."""
    (mount,) = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if " cgroup2 " in line][:1]
    elsewhere = Path(mount) / f"test-{os.getpid()}"
    elsewhere.mkdir()
    hold = " ".join(known("hold", 50 * MIB, 1, 0.4))
    try:
        m = concmem.measure(
            f"echo 0 > {elsewhere}/cgroup.procs; {hold} & {hold} & wait", stdout=subprocess.DEVNULL, exact=True
        )
    finally:
        elsewhere.rmdir()
    assert m.tree_peak_rss_sum.status == "sampled" and "left the control group" in m.tree_peak_rss_sum.note
    assert m.peak.bytes is not None and m.peak.bytes >= 98 * MIB
    assert m.tree_upper_bound.bytes is None or m.tree_upper_bound.bytes >= 100 * MIB


@pytest.mark.alone  # a thousand ends at once fill the buffers of exit records, and so do those of other tests
@needs("taskstats")
def test_exit_records_of_every_process() -> None:
    """1,000 runs of `true` by a shell are 1,000 processes, each with its own mark and CPU time."""
    m = concmem.measure("i=0; while [ $i -lt 1000 ]; do /bin/true; i=$((i+1)); done", taskstats=True)
    assert m.exit.ok
    names = Counter(process.comm for process in m.processes)
    lost = m.sampler.lost_exit_records  # if programs outside of the test end by the thousand
    assert names["sh"] == 1 and 1000 - lost <= names["true"] <= 1000
    for process in m.processes[1:]:
        assert process.peak.status == "bounded" and process.peak.bytes is not None
        assert 0 < process.peak.bytes < 4 * MIB
        assert process.user_s is not None
        assert process.ppid == m.processes[0].pid
    assert m.sampler.unseen == 0 or lost
    assert m.peak.status == "bounded"


SLOW_ENDS = """
import mmap, os
memory = mmap.mmap(-1, 512 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, len(memory), 4096):
    memory[at] = 1
for _ in range(20):
    if os.fork() == 0:
        os._exit(0)
    os.wait()
"""


@needs("taskstats")
def test_a_process_that_frees_much_is_one_process() -> None:
    """Its exit record comes some 20 ms before it is a zombie. Lists of children that are read in between show it."""
    m = concmem.measure([sys.executable, "-c", SLOW_ENDS], taskstats=True, interval_s=0.001)
    assert m.exit.ok
    assert 21 - m.sampler.lost_exit_records <= len(m.processes) <= 21
    assert len({process.pid for process in m.processes}) == len(m.processes)


MANY_THREADS = """
import os, threading, time
for _ in range(40):
    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
time.sleep(0.03)
os._exit(0)
"""


@pytest.mark.parametrize("taskstats", [False, pytest.param(True, marks=needs("taskstats"))])
def test_threads_that_end_at_once_are_one_process(taskstats: bool) -> None:
    """There is one row with the error of one process, whichever thread ends last, and whichever was read."""
    for _ in range(40):
        m = concmem.measure([sys.executable, "-S", "-c", MANY_THREADS], taskstats=taskstats)
        assert len(m.processes) == 1
        assert m.processes[0].comm == Path(sys.executable).name[:15]
        assert m.peak.error_bytes + m.peak.over_bytes < 3 * MIB


@needs("taskstats")
def test_children_of_an_unseen_process(compiled: Callable[[str], str]) -> None:
    """One thread of the parent ended before its children: they still get their place in the tree."""
    m = concmem.measure(
        ["/bin/sh", "-c", f"sleep 0.05; {compiled('crew')} {30 * MIB}; sleep 0.01"], taskstats=True, interval_s=1
    )
    assert m.exit.ok
    crew, *children = sorted((p for p in m.processes if p.comm == "crew"), key=lambda p: p.start_s)
    assert [p.ppid for p in children] == [crew.pid] * 2
    assert max(p.peak.bytes or 0 for p in children) >= 30 * MIB
    assert crew.end_s is not None and all(p.end_s is not None and p.end_s <= crew.end_s for p in children)
    assert (m.tree_upper_bound.bytes or 0) >= 30 * MIB


@needs("taskstats")
def test_an_unseen_process_is_older_than_its_threads(compiled: Callable[[str], str]) -> None:
    """It held memory at the same time as another, before the thread started that sent its first record."""
    m = concmem.measure([compiled("overlap"), str(100 * MIB)], taskstats=True, interval_s=1)
    assert m.exit.ok and len(m.processes) == 3
    assert (m.tree_upper_bound.bytes or 0) >= 200 * MIB


@pytest.mark.parametrize("taskstats", [False, pytest.param(True, marks=needs("taskstats"))])
def test_many_processes_after_the_last_tick(taskstats: bool) -> None:
    """The bound includes all 1,500 children of an unseen process, and dropped records are counted."""
    script = """
import os
if os.fork() == 0:
    for i in range(1500):
        if os.fork() == 0:
            os._exit(0 if i else len(bytes(60 << 20)) % 2)
        os.wait()
    os._exit(0)
os.wait()
"""
    # One tick after the first millisecond, and no later one.
    m = concmem.measure(
        ["/bin/sh", "-c", 'sleep 0.05; "$0" -S -c "$1"; true', sys.executable, script],
        taskstats=taskstats,
        interval_s=30,
    )
    assert m.exit.ok
    assert m.tree_upper_bound.bytes is None or m.tree_upper_bound.bytes >= 65 * MIB
    if not taskstats or m.sampler.lost_exit_records:
        assert m.sampler.unseen >= 1000
    else:
        assert len(m.processes) >= 1500


@needs("cgroup")
def test_zombies_have_not_left_the_group() -> None:
    """Version 1 lists a process that has released its memory in the root group."""
    script = "import os, time\nfor _ in range(3):\n    os.fork() or os._exit(0)\ntime.sleep(0.3)"
    m = concmem.measure([sys.executable, "-S", "-c", script], cgroup=True)
    assert m.exit.ok and len(m.processes) == 4
    assert m.cgroup_peak.status == "bounded", m.cgroup_peak.note


@needs("taskstats")
def test_exit_records_of_grandchildren() -> None:
    """Unseen grandchildren get their place in the tree from their parents' records, with their sizes."""
    hold = " ".join(known("hold", 30 * MIB, 1, 0))
    m = concmem.measure(
        f"sh -c '{hold} >/dev/null; /bin/true'; for i in 1 2 3; do sh -c 'sh -c /bin/true; /bin/true'; done",
        taskstats=True,
        interval_s=0.2,
    )
    comms = Counter(process.comm for process in m.processes)
    assert comms["hold"] == 1 and comms["true"] == 7
    (hold_process,) = (process for process in m.processes if process.comm == "hold")
    assert hold_process.peak.bytes is not None
    assert 30 * MIB - COUNTERS_BYTES <= hold_process.peak.bytes <= 33 * MIB


def test_unseen_processes_without_records() -> None:
    """Very short processes are missing in the list, at most as many as `unseen`; the largest size is right."""
    hold = " ".join(known("hold", 20 * MIB, 1, 0))
    m = concmem.measure(f"for i in $(seq 300); do /bin/true; done; {hold} >/dev/null; true")
    assert len(m.processes) + m.sampler.unseen >= 302
    assert m.largest_peak_rss.bytes is not None
    assert 20 * MIB - COUNTERS_BYTES <= m.largest_peak_rss.bytes <= 23 * MIB


@needs("cgroup")
def test_page_cache_is_charged_but_not_resident(tmp_path: Path) -> None:
    """For a file of 300 MiB written by dd, `peak` is about 3 MiB, and `cgroup_peak` over 300 MiB, most of it `file`."""
    command = ["dd", "if=/dev/zero", f"of={tmp_path / 'file'}", "bs=1M", "count=300"]
    m = concmem.measure(command, stderr=subprocess.DEVNULL, cgroup=True)
    assert m.peak.bytes is not None and m.peak.bytes < 5 * MIB
    assert m.cgroup_peak.bytes is not None and m.cgroup_peak.bytes > 300 * MIB
    assert m.cgroup_parts["file"] > 280 * MIB
    assert m.cgroup_parts["anon"] < 3 * MIB
    assert "page cache" in m.cgroup_peak.note


@needs("cgroup")
@pytest.mark.alone  # limits of the machine on threads
def test_memory_of_threads() -> None:
    """10,000 threads: RSS, kernel stacks and page tables."""
    m = concmem.measure(known("hold", 0, 10_000, 1), stdout=subprocess.DEVNULL, cgroup=True)
    assert m.exit.ok and m.max_threads == 10_001
    parts = m.cgroup_parts
    assert m.host.kernel_stack_bytes in (8192, 16384, 32768, 65536)
    assert parts["kernel_stack"] >= 0.9 * 10_000 * m.host.kernel_stack_bytes
    assert parts["page_tables"] >= 10_000 * 4096  # each stack needs its own page table
    assert parts["kernel_stack"] + parts["page_tables"] <= parts["kernel"]
    assert m.root_peak_rss.bytes is not None and m.root_peak_rss.bytes < m.cgroup_peak.bytes  # type: ignore[operator]
    assert m.maxima["status.page_tables"] >= 10_000 * 4096


@needs("cgroup")
def test_nothing_is_left_of_a_group() -> None:
    """No group is left after a measurement, even if the command could not be started."""
    concmem.measure(["/bin/true"], cgroup=True)
    with pytest.raises(concmem.CommandNotFound):
        concmem.measure(["/nonexistent/command"], cgroup=True)
    assert own_groups(os.getpid()) == []


def own_groups(pid: int) -> list[Path]:
    return list(Path("/sys/fs/cgroup").rglob(f"concmem-{pid}-*"))


KILLED_HOST = """
import concmem, sys
running = concmem.start(["sh", "-c", "sleep 4321 & sleep 4321"], cgroup=True)
print(running.root_pid, flush=True)
running.wait()
"""


@needs("cgroup")
@pytest.mark.alone  # any other measurement with a group would remove these
@pytest.mark.parametrize("victim", ["host", "sampler", "both"])
def test_killed_in_the_middle(victim: str, marked: Any) -> None:
    """
    No process of the tree and no group is left, whether the host, the sampler or both are killed.

    If the host is killed, the tree ends. If the sampler is killed, the host kills the tree, and removes the group if it
    is not busy. The next measurement removes groups that are left.
    """
    host = subprocess.Popen([sys.executable, "-c", KILLED_HOST], stdout=subprocess.PIPE, env=marked.env, text=True)
    assert host.stdout is not None
    root_pid = int(host.stdout.readline())
    assert own_groups(host.pid)
    marked.wait_for(5)  # host, sampler, shell and two sleeps
    sampler_pid = int(Path(f"/proc/{root_pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    if victim == "both":
        host.send_signal(signal.SIGSTOP)  # so that it cannot remove the group before it is killed
        os.waitid(os.P_PID, host.pid, os.WSTOPPED)
    if victim != "host":
        os.kill(sampler_pid, signal.SIGKILL)
    if victim != "sampler":
        host.kill()
    host.wait()
    host.stdout.close()
    if victim != "both":
        marked.wait_for(0)
    if victim != "sampler":
        assert own_groups(host.pid)
    concmem.measure(["/bin/true"], cgroup=True)
    assert own_groups(host.pid) == []
    marked.wait_for(0)


UNPRIVILEGED = """
import concmem, json, os
concmem.measure(["true"])  # so that all modules are imported: another user may not be able to read them
os.setgroups([]); os.setgid(65534); os.setuid(65534)
m = concmem.measure(["sh", "-c", "sleep 0.2; true"], cgroup=True, taskstats=True, exact=True, windows=True)
print(json.dumps([m.sampler.missing, {n: [f.status, f.note] for n, f in m.figures.items()}, m.exit.code]))
"""


@pytest.mark.usefixtures("others_may_measure")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_without_privilege(host_python: Callable[..., Any]) -> None:
    """Available sources work, each other one has a sentence that says why not, and the command runs as usual."""
    missing, figures, code = host_python(UNPRIVILEGED)
    assert code == 0
    assert set(missing) == {"cgroup", "taskstats", "rss_stat"}
    assert all(why and "\\n" not in why and not why.endswith(" ") for why in missing.values())
    assert figures["cgroup_peak"] == ["unavailable", missing["cgroup"]]
    for name in ("peak", "root_peak_rss", "largest_peak_rss", "tree_peak_pss", "tree_peak_rss_sum"):
        assert figures[name][0] != "unavailable", name
