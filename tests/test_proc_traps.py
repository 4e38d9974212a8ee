"""Special cases of /proc: zombies, processes without a main thread, exec, and processes that it hides."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import concmem
from concmem.testing import known

MIB = 1 << 20
HELD_BYTES = 60 * MIB

SMALL_BYTES = 8 * MIB
"""More than the start-up size of any program here."""

LONGER_S = (0.8, 4, 20)
"""How long a program runs: on a busy machine it may need most of a second to touch its memory."""

pytestmark = pytest.mark.usefixtures("no_child_left")


def after(m: concmem.Measurement, t_s: float) -> Any:
    """Return the RSS of the windows from `t_s` until shortly before the end."""
    t = m.timeline.t_s
    return m.timeline.rss_bytes[(t >= t_s) & (t <= m.wall_s - 0.05)]


def last_third(m: concmem.Measurement) -> Any:
    """Return the RSS in the readings of the last third of the time."""
    t_s, rss_bytes = m.timeline.t_s, m.timeline.rss_bytes
    assert len(t_s) > 10
    assert t_s[-1] >= m.wall_s - 2 * m.sampler.longest_gap_s - 0.1
    return rss_bytes[t_s > t_s[-1] * 2 / 3]


def holds_all(readings: Any) -> bool:
    """Return whether most readings have all that the program holds."""
    return int((readings >= HELD_BYTES).sum()) > len(readings) / 2


def test_a_zombie_holds_nothing() -> None:
    """A zombie keeps its peak, ends when it exited, and is in no later sum."""
    m = concmem.measure(known("zombie-keeper", HELD_BYTES, 1.0), stdout=subprocess.PIPE)
    zombie_pid = int((m.stdout or b"").split()[1])
    (zombie,) = [p for p in m.processes if p.pid == zombie_pid]
    assert zombie.peak.bytes is not None
    assert zombie.peak.bytes >= HELD_BYTES - zombie.peak.error_bytes
    assert zombie.end_s < m.wall_s - 0.3
    rss = after(m, zombie.end_s + 0.1)
    assert len(rss) > 5
    assert 0 < int(rss.max()) < SMALL_BYTES
    assert m.exit.ok


def test_a_process_without_its_main_thread() -> None:
    """Memory that another thread touches after the main thread has ended is in RSS and PSS while it is held."""
    m = concmem.measure(known("leader-exit", HELD_BYTES, 1.0), stdout=subprocess.DEVNULL)
    assert m.exit.ok
    assert int(m.timeline.rss_bytes.max()) >= HELD_BYTES
    assert int(m.timeline.pss_bytes.max()) >= HELD_BYTES
    assert m.root_peak_rss.bytes is not None
    assert m.root_peak_rss.bytes >= HELD_BYTES - m.root_peak_rss.error_bytes
    held = m.timeline.rss_bytes >= HELD_BYTES
    last = held[held.argmax() : len(held) - held[::-1].argmax()]  # from the first to the last largest reading
    assert len(last) > 5 and last.all()


def test_another_thread_that_executes_a_program(compiled: Callable[[str], str]) -> None:
    """It becomes the new main thread. The process is still read, and killed above the limit."""
    leaver = compiled("leaver")
    for held_s in LONGER_S:
        command = [leaver, "exec", *known("hold", HELD_BYTES, 1, held_s)]
        m = concmem.measure(command, stdout=subprocess.DEVNULL)
        assert m.exit.ok and len(m.processes) == 1
        if holds_all(last_third(m)):
            break
    assert holds_all(last_third(m))
    assert concmem.measure(command, memory_limit_bytes=HELD_BYTES // 2).exit.reason == "memory_limit"


def test_windows_without_the_main_thread(compiled: Callable[[str], str]) -> None:
    """Freed memory is in no later window, and the name is that of the process, not of the thread that is read."""
    m = concmem.measure(["/bin/sh", "-c", f"{compiled('leaver')} spike {HELD_BYTES}; exit 0"], windows=True)
    assert m.exit.ok
    assert int(m.timeline.rss_bytes.max()) >= HELD_BYTES
    assert float(np.median(last_third(m))) < HELD_BYTES / 2
    assert [process.comm for process in m.processes] == ["sh", "leaver"]


@pytest.mark.parametrize("life_s", [0.0002, 0.001, 0.003, 0.02])
def test_a_process_with_only_short_lived_threads(compiled: Callable[[str], str], life_s: float) -> None:
    """Its main thread has ended, and the thread whose files are read ends soon: it is read to its end."""
    relay = compiled("relay")
    for held_s in LONGER_S:
        m = concmem.measure([relay, str(HELD_BYTES), str(held_s), str(life_s)])
        assert m.exit.ok
        assert len(m.processes) == 1
        if holds_all(last_third(m)):
            break
    assert holds_all(last_third(m))


def test_an_exec_in_the_middle() -> None:
    """After an exec, the peak is kept, RSS and PSS are those of the new, small program, and no reading is 0."""
    m = concmem.measure(known("exec-small", HELD_BYTES, 1.5), stdout=subprocess.DEVNULL, pss_budget=1)
    assert m.exit.ok
    assert len(m.processes) == 1
    assert m.root_peak_rss.bytes is not None
    assert HELD_BYTES - m.root_peak_rss.error_bytes <= m.root_peak_rss.bytes <= HELD_BYTES + SMALL_BYTES
    rss = after(m, m.wall_s - 1)
    assert 0 < int(rss.min()) <= int(rss.max()) < SMALL_BYTES
    assert 0 < int(m.timeline.pss_bytes[-1]) < SMALL_BYTES
    assert int(m.timeline.pss_bytes.max()) >= HELD_BYTES


def test_a_child_without_rusage() -> None:
    """For a child that the kernel reaps itself there is no rusage. Its size is known from readings."""
    m = concmem.measure(known("sigchld-ignored", HELD_BYTES, 0.5), stdout=subprocess.PIPE)
    child_pid = int((m.stdout or b"").split()[1])
    (child,) = [p for p in m.processes if p.pid == child_pid]
    assert child.user_s is None
    assert child.peak.bytes is not None
    assert child.peak.bytes >= HELD_BYTES - child.peak.error_bytes
    assert m.largest_peak_rss.bytes is not None and m.peak.bytes is not None
    assert m.largest_peak_rss.bytes >= HELD_BYTES - m.largest_peak_rss.error_bytes
    assert m.peak.bytes >= HELD_BYTES - m.peak.error_bytes


def test_the_size_of_a_reaped_child_is_not_the_roots() -> None:
    """wait4 returns the maximum of the root and of the children it waited for. The root's figure excludes them."""
    m = concmem.measure(f"{' '.join(known('hold', HELD_BYTES, 1, 0.3))}; true", stdout=subprocess.DEVNULL)
    assert m.root_peak_rss.bytes is not None
    assert m.root_peak_rss.bytes < SMALL_BYTES
    assert m.largest_peak_rss.bytes is not None
    assert m.largest_peak_rss.bytes >= HELD_BYTES - m.largest_peak_rss.error_bytes


def test_a_name_with_spaces_and_parentheses(tmp_path: Path) -> None:
    """The kernel does not escape names, so a name that looks like the rest of the line must be parsed correctly."""
    odd = tmp_path / "a) R 1 (b c"
    odd.symlink_to(known("hold")[0])
    m = concmem.measure([str(odd), str(HELD_BYTES), "1", "0.3"], stdout=subprocess.DEVNULL)
    assert m.processes[0].comm == "a) R 1 (b c"
    assert m.processes[0].argv == (str(odd), str(HELD_BYTES), "1", "0.3")
    assert int(m.timeline.rss_bytes.max()) >= HELD_BYTES


def test_a_stopped_target() -> None:
    """A target that is stopped and continued is still measured, with its own exit."""
    m = concmem.measure("(sleep 0.4; kill -CONT $$) & kill -STOP $$; exit 8")
    assert (m.exit.code, m.exit.reason) == (8, "exited")
    assert m.wall_s >= 0.4


HIDDEN = """
import json, os, sys, concmem, numpy
concmem.measure(["true"])  # so that all modules are imported: another user may not be able to read them
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
m = concmem.measure(sys.argv[1:], stdout=concmem.DEVNULL)
print(json.dumps([
    m.sampler.refused_readings, int(m.timeline.rss_bytes[-1]), m.root_peak_rss.bytes,
    m.tree_peak_pss.status, m.tree_peak_pss.note, m.peak.status, m.exit.code,
]))
"""


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other users can read, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.usefixtures("others_may_measure")
def test_refused_readings_are_reported(public_folder: Path, host_python: Callable[..., Any]) -> None:
    """The address space of a program without read permission is hidden: RSS is read, and refused PSS is reported."""
    closed = public_folder / "hold"
    shutil.copy(known("hold")[0], closed)
    closed.chmod(0o111)
    refused, last_rss_bytes, peak_bytes, status, note, headline, code = host_python(HIDDEN, closed, 20 * MIB, 1, 0.6)
    assert code == 0
    assert refused > 0
    assert last_rss_bytes >= 20 * MIB
    assert peak_bytes >= 20 * MIB
    assert status == "unavailable" and "refused" in note
    assert headline == "bounded"


INVISIBLE = """
import json, os, subprocess, sys, concmem
concmem.measure(["true"])
subprocess.run(["mount", "-t", "proc", "-o", "hidepid=2", "proc", "/proc"], check=True)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
m = concmem.measure(sys.argv[1:], stdout=concmem.DEVNULL)
seen = concmem.measure(["sleep", "0.1"])
print(json.dumps([
    m.sampler.refused_readings, m.root_peak_rss.status, m.root_peak_rss.bytes, m.tree_peak_rss_sum.note, m.exit.code,
    seen.sampler.refused_readings, seen.root_peak_rss.status,
]))
"""


@pytest.mark.usefixtures("others_may_measure")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount /proc with hidepid")
def test_processes_hidden_by_hidepid(
    public_folder: Path, host_python: Callable[..., Any], own_mounts: list[str]
) -> None:
    """With hidepid a process that may not be traced has no folder in /proc. It is reported, with its size."""
    closed = public_folder / "hold"
    shutil.copy(known("hold")[0], closed)
    closed.chmod(0o111)
    apart = [*own_mounts, sys.executable]
    result = host_python(INVISIBLE, closed, 20 * MIB, 1, 0.3, python=apart)
    refused, status, peak_bytes, note, code, refused_of_seen, status_of_seen = result
    assert code == 0
    assert refused > 0 and "refused" in note
    assert status == "upper_bound" and peak_bytes >= 20 * MIB - MIB
    assert (refused_of_seen, status_of_seen) == (0, "bounded")


def test_sources_are_found_by_trying() -> None:
    """`probe` returns every source with its columns. The three that every Linux has are usable here."""
    sources = {source.name: source for source in concmem.probe()}
    assert "rss" in sources["statm"].columns
    assert {"hwm", "swap", "threads"} <= set(sources["status"].columns)
    assert {"pss", "uss", "swap_pss"} <= set(sources["smaps_rollup"].columns)
    for name in ("statm", "status", "smaps_rollup"):
        assert sources[name].usable, sources[name].why_not
    for source in sources.values():
        assert source.usable or source.why_not


def test_pss_lies_between_uss_and_rss() -> None:
    """The USS of a process is at most its PSS, which is at most its RSS."""
    m = concmem.measure(known("hold", HELD_BYTES, 1, 1.0), stdout=subprocess.DEVNULL, pss_budget=0.5)
    rollup = m.timeline.track("smaps_rollup")
    assert len(rollup) > 3
    assert np.all(rollup["uss_max"] <= rollup["pss_max"])
    assert np.all(rollup["pss_max"] <= m.tree_peak_rss_sum.bytes)
    assert np.all(rollup["swap_pss_max"] == 0) or m.host.swap_bytes > 0
    assert int(rollup["uss_max"].max()) >= HELD_BYTES


def test_the_budget_of_smaps_rollup_is_kept() -> None:
    """Reading the PSS of 300 MiB in 4 KiB pages takes milliseconds, so with 1 % of the wall time it is read rarely."""
    budget = 0.01
    m = concmem.measure(known("hold", 300 * MIB, 1, 2), stdout=subprocess.DEVNULL, pss_budget=budget)
    assert m.sampler.pss_readings >= 1
    # Above the budget, one reading at the start and one at a new maximum are allowed, each slow on a busy machine.
    credit_s = 0.02
    assert m.sampler.pss_s <= credit_s + budget * m.tree_wall_s + 5 * m.sampler.pss_s / m.sampler.pss_readings
    assert m.tree_peak_pss.bytes is not None
    assert 300 * MIB <= m.tree_peak_pss.bytes <= 304 * MIB


def test_no_budget_no_pss() -> None:
    """With `pss_budget=0` smaps_rollup is not read, and the figure says why it is unavailable."""
    m = concmem.measure(known("hold", 10 * MIB, 1, 0.3), stdout=subprocess.DEVNULL, pss_budget=0)
    assert m.sampler.pss_readings == 0
    assert (m.tree_peak_pss.bytes, m.tree_peak_pss.status) == (None, "unavailable")
    assert m.tree_peak_pss.note
    assert m.peak.bytes is not None
    assert m.peak.bytes >= 10 * MIB - m.peak.error_bytes


def test_a_target_killed_by_the_kernel_still_has_its_figures() -> None:
    """The peak of a target that is killed by SIGKILL is known."""
    m = concmem.measure(f"{' '.join(known('hold', HELD_BYTES, 1, 60))} & sleep 0.4; kill -KILL $!; wait $!",
                        stdout=subprocess.DEVNULL)  # fmt: skip
    assert m.exit.code == 128 + signal.SIGKILL
    assert m.largest_peak_rss.bytes is not None
    assert m.largest_peak_rss.bytes >= HELD_BYTES - m.largest_peak_rss.error_bytes


MANY_GROUPS = """
import ctypes, json, os, re, resource, sys
from concmem._native.shared_memory import native
from pathlib import Path

ffi, lib = native()
setgroups = ctypes.CDLL(None, use_errno=True).setgroups
proc_fd, row = os.open("/proc", os.O_RDONLY), ffi.new("uint64_t[8]")

def kib():
    text = Path("/proc/self/status").read_text()
    return [int(re.search(rf"^{name}:\\s*(\\d+)", text, re.M)[1]) for name in ("VmHWM", "VmSwap", "Threads", "VmPTE")]

wrong = []
for count in (*range(0, 1200, 7), *map(int, sys.argv[1:])):
    groups = (ctypes.c_uint32 * count)(*range(1_000_000_000, 1_000_000_000 + count))
    if setgroups(ctypes.c_size_t(count), groups) != 0:
        raise OSError(ctypes.get_errno(), "setgroups")
    # This process grows: the reading is between the values of the file before and after it.
    before = kib()
    got = lib.cm_read(proc_fd, b"status", os.getpid(), row, 8)
    after = kib()
    read = [row[0] // 1024, row[1] // 1024, row[2], row[3] // 1024]
    # VmHWM comes from per-CPU counters with batches: a later reading can be lower by one batch per CPU.
    is_near = [before[0] - 1024 < read[0] < after[0] + 1024]
    is_near += [min(b, a) <= r <= max(b, a) for b, r, a in list(zip(before, read, after))[1:]]
    if got != 7 or not all(is_near):
        wrong.append((count, got, before, read, after))
print(json.dumps(wrong))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="requires root: setgroups")
def test_status_of_any_length_is_read_whole(host_python: Any) -> None:
    """The memory figures come after the list of groups. They are found at any position, up to the longest list."""
    assert host_python(MANY_GROUPS, 2000, 65536) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="requires root: setgroups")
def test_a_measurement_with_thousands_of_groups(host_python: Any) -> None:
    """With 2,000 groups, the high-water mark of the target and the sampler's own size are still read."""
    script = (
        "import concmem, json, os, sys\n"
        "os.setgroups(range(1_000_000_000, 1_000_002_000))\n"
        "m = concmem.measure(sys.argv[1:], stdout=concmem.DEVNULL)\n"
        "print(json.dumps([m.maxima.get('status.hwm', 0), m.sampler.floor_bytes, m.sampler.rss_bytes, m.exit.ok]))\n"
    )
    hwm_bytes, floor_bytes, own_bytes, ok = host_python(script, *known("hold", HELD_BYTES, 1, 0.3))
    assert ok
    assert hwm_bytes >= HELD_BYTES - MIB
    assert floor_bytes
    assert own_bytes


@pytest.mark.parametrize(("size", "is_cut"), [(4000, False), (4094, False), (4096, True), (100_000, True)])
def test_cut_arguments_are_marked(size: int, is_cut: bool) -> None:
    """At most 4 KiB of a process's arguments are kept, and `argv_is_cut` says whether it has more."""
    words = ("/bin/sh", "-c", "read line; exit 0")
    before = sum(len(word) + 1 for word in words)
    filler = "x" * (size - before - 1)
    reader, writer = os.pipe()
    with os.fdopen(reader) as stdin, os.fdopen(writer, "w"):
        running = concmem.start([*words, filler], stdin=stdin)
        while running.alive() == 0:
            time.sleep(0.01)
        time.sleep(0.2)
    (root,) = running.wait().processes
    assert root.argv_is_cut == is_cut
    assert root.argv == (*words, filler[: 4095 - before])
