"""The timeline has the right amounts at the right times, at the requested rate, and the peak at the right place."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import concmem
from concmem.testing import known

MIB = 1 << 20

START_UP_BYTES = 2 * MIB
"""More than a known program of one thread needs for itself (about 1 MiB)."""

CLOCK_SLACK_S = 0.05
"""The time between the root's start and its main: exec, loader, and waiting for the CPU on a loaded machine."""

ROUNDS = 5
"""How many runs the medians are computed from."""

MOST_COST = 30 if os.environ.get("CONCMEM_SANITIZE") else 3
"""The CPU time of one tick, in readings of the bare loop. With sanitizers it is many times slower."""

pytestmark = pytest.mark.usefixtures("no_child_left")


@pytest.mark.parametrize("idle_s", [0.4, pytest.param(10.0, marks=pytest.mark.long)])
def test_one_spike(idle_s: float) -> None:
    """A spike of 20 MiB for a few milliseconds is in the peak, and in the timeline at the right time."""
    base, spike = 5 * MIB, 20 * MIB
    m = concmem.measure(known("spikes", 1, spike, 2, base, 1, idle_s * 1e3), stdout=subprocess.PIPE)
    from_s, top_s, down_s = (float(word) - m.start_monotonic_s for word in (m.stdout or b"").split()[1:])
    slack_s = m.sampler.longest_gap_s
    figure = m.root_peak_rss
    assert figure.bytes is not None
    assert base + spike - figure.error_bytes <= figure.bytes <= base + spike + START_UP_BYTES

    t, rss = m.timeline.t_s, m.timeline.rss_bytes
    high = t[rss >= base + spike // 2]
    if down_s - top_s > slack_s:  # else the sampler may have had no CPU during the whole spike
        assert len(high) > 0
        assert from_s - slack_s <= m.timeline.peak_t_s <= down_s + slack_s
    # If the sampler waits for a CPU, a reading is made later than its time stamp.
    assert all((from_s - slack_s <= high) & (high <= down_s + slack_s))
    # Outside of the spike the program has its base size. After it, the program sleeps for `idle_s`.
    calm = rss[((t < from_s - slack_s) | (t > down_s + slack_s)) & (rss.cumsum() > base) & (t < down_s + idle_s)]
    assert int(calm.max()) <= base + START_UP_BYTES
    assert base <= int(np.median(calm))


def test_a_millisecond_interval(compiled: Callable[[str], str]) -> None:
    """
    At 1 ms the sampler reads as often as a bare loop that runs beside it, with less than three times its CPU time.

    Both run under the same load, so the result does not depend on how slow or busy the machine is.
    """
    barest = compiled("bare_ticks")
    rates, gaps, costs = [], [], []
    for _ in range(ROUNDS):
        with concmem.start(["/bin/sleep", "1"], interval_s=0.001) as running:
            control = [barest, str(running.root_pid), str(1_000_000)]
            with subprocess.Popen(control, stdout=subprocess.PIPE, text=True) as beside:
                m = running.wait()
                assert beside.stdout is not None
                readings, span_ns, gap_ns, cpu_ns = (int(word) for word in beside.stdout.read().split())
        t_s = m.timeline.t_s
        rates.append((len(t_s) - 1) / (t_s[-1] - t_s[0]) / ((readings - 1) / span_ns * 1e9))
        gaps.append(float(np.median(np.diff(t_s))) / (gap_ns / 1e9))
        costs.append(m.sampler.cpu_s / m.sampler.ticks / (cpu_ns / readings / 1e9))
        # Readings made and readings dropped add up to the requested number.
        due = (m.tree_wall_s - 0.001) / 0.001
        assert due - 1 <= m.sampler.ticks + m.sampler.dropped_rows <= due + 2
        assert m.sampler.longest_gap_s >= np.diff(t_s).max() - 1e-6
    assert np.median(rates) > 0.95, rates
    assert np.median(gaps) < 1.2, gaps
    assert np.median(costs) < MOST_COST, costs


def test_the_interval_is_kept() -> None:
    """A longer interval gives as many windows as fit, each due at its own time, and some of them late."""
    m = concmem.measure(["/bin/sleep", "1"], interval_s=0.05)
    assert len(m.timeline) > 2
    assert m.sampler.ticks + m.sampler.dropped_rows == pytest.approx(m.tree_wall_s / 0.05, abs=2)
    slots = np.floor((m.timeline.t_s - 0.001) / 0.05)  # the first is due after a millisecond
    assert np.all(np.diff(slots) >= 1)
    assert m.sampler.interval_s == 0.05


def test_missed_readings_are_counted() -> None:
    """A sampler that is stopped for a while counts the readings that it dropped, and the late ones."""
    stopped_s = 0.3
    with concmem.start(["/bin/sleep", "600"], interval_s=0.001) as running:
        assert running.root_pid is not None
        time.sleep(0.2)
        sampler = psutil.Process(running.root_pid).parent()
        assert sampler is not None
        sampler.suspend()
        time.sleep(stopped_s)
        sampler.resume()
        deadline_s = time.monotonic() + 120
        while running._memory.head.dropped_rows == 0:  # type: ignore[union-attr]
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        running.stop()
        m = running.wait()
    report = m.sampler
    assert report.dropped_rows >= stopped_s / 0.001 - 2
    assert report.late_ticks >= 1
    assert report.longest_gap_s >= stopped_s
    assert report.ticks + report.dropped_rows == pytest.approx(m.tree_wall_s / 0.001, abs=3)
    assert report.ticks - 1 <= len(m.timeline) <= report.ticks  # the last tick may find no process


def test_a_ramp() -> None:
    """A ramp to 100 MiB in 1 s rises with time, at its actual speed."""
    m = concmem.measure(known("ramp", 100 * MIB, 1, 200), stdout=subprocess.DEVNULL)
    t, rss = m.timeline.t_s, m.timeline.rss_bytes
    alive = t < m.wall_s - CLOCK_SLACK_S
    t, rss = t[alive], rss[alive]
    assert np.all(np.diff(t) > 0)
    assert np.all(np.diff(rss.astype(np.int64)) >= 0)
    # On a busy machine a step of 5 ms can be late, but never early.
    assert np.all(rss <= (t + 0.005 + m.sampler.longest_gap_s) * 100 * MIB + START_UP_BYTES)
    assert m.peak.high_bytes is not None and m.peak.high_bytes >= 100 * MIB
    unread_s = 0.005 + m.sampler.longest_gap_s  # it ends at once after the last step
    assert int(m.timeline.rss_bytes.max()) >= (1 - unread_s) * 100 * MIB
    assert len(np.unique(rss)) > 20
    assert m.timeline.peak_t_s >= 0.95 - unread_s


def test_arrays() -> None:
    """All arrays are read-only, equally long and in order of time, and minima do not exceed maxima."""
    m = concmem.measure(known("hold", 20 * MIB, 1, 0.4), stdout=subprocess.DEVNULL, pss_budget=0.2)
    timeline = m.timeline
    for array in (timeline.t_s, timeline.rss_bytes, timeline.rss_min_bytes, timeline.pss_t_s, timeline.pss_bytes):
        assert isinstance(array, np.ndarray)
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert len(timeline.t_s) == len(timeline.rss_bytes) == len(timeline.rss_min_bytes) > 10
    assert len(timeline.pss_t_s) == len(timeline.pss_bytes) > 0
    assert np.all(np.diff(timeline.t_s) > 0)
    assert np.all(timeline.rss_min_bytes <= timeline.rss_bytes)
    assert timeline.t_s[0] >= 0
    assert timeline.t_s[-1] <= m.tree_wall_s + m.sampler.longest_gap_s


@pytest.mark.parametrize(
    ("source", "columns"),
    [
        ("statm", ["rss", "shared", "vms"]),
        ("status", ["hwm", "swap", "threads", "page_tables", "hugetlb", "shmem", "pinned"]),
        ("smaps_rollup", ["pss", "uss", "swap_pss", "lazy_free", "thp"]),
        ("children", ["processes", "unseen"]),
    ],
)
def test_tracks(source: str, columns: list[str]) -> None:
    """Each track has times, counts of readings, and three values of every column."""
    m = concmem.measure(known("hold", 20 * MIB, 1, 0.4), stdout=subprocess.DEVNULL)
    track = m.timeline.track(source)
    assert track.dtype.names == ("t_ns", "n", *(f"{c}_{kind}" for c in columns for kind in ("min", "max", "last")))
    assert len(track) > 0
    assert np.all(track["n"] >= 1)
    for column in columns:
        assert np.all(track[f"{column}_min"] <= track[f"{column}_last"])
        assert np.all(track[f"{column}_last"] <= track[f"{column}_max"])


def test_the_track_of_the_high_water_mark() -> None:
    """The track of VmHWM is in bytes, and never below the resident size."""
    m = concmem.measure(known("hold", 20 * MIB, 4, 0.4), stdout=subprocess.DEVNULL)
    assert 20 * MIB <= int(m.timeline.track("status")["hwm_max"].max()) <= 20 * MIB + START_UP_BYTES
    assert int(m.timeline.track("status")["threads_max"].max()) == 5


def test_an_unknown_track_is_one_sentence() -> None:
    """The error for an unknown track lists the existing ones."""
    m = concmem.measure(["/bin/true"])
    with pytest.raises((concmem.ConcmemError, KeyError), match="statm"):
        m.timeline.track("nothing")


def test_single_readings_around_the_largest() -> None:
    """All single readings around the largest one are kept."""
    m = concmem.measure(known("spike", 5 * MIB, 20 * MIB, 0.5, 5), stdout=subprocess.DEVNULL)
    t, rss = m.timeline.ring
    assert len(t) == len(rss) > 10
    assert np.all(np.diff(t) > 0)
    assert int(rss.max()) == int(m.timeline.rss_bytes.max())
    record_s = float(t[int(rss.argmax())])
    assert record_s == pytest.approx(m.timeline.peak_t_s, abs=1e-6)
    assert t[0] < record_s - 0.3 and t[-1] > record_s + 0.3


def test_all_agree_on_the_peak() -> None:
    """`peak_t_s`, the windows and the figure agree on time and amount."""
    m = concmem.measure(known("ramp", 40 * MIB, 0.4, 40), stdout=subprocess.DEVNULL)
    top = int(m.timeline.rss_bytes.max())
    assert m.tree_peak_rss_sum.bytes == top
    window = int(m.timeline.rss_bytes.argmax())
    assert m.timeline.peak_t_s == pytest.approx(float(m.timeline.t_s[window]), abs=0.01)
    assert m.peak.bytes is not None and m.peak.bytes + m.peak.error_bytes >= top


def test_a_very_short_target_has_a_timeline() -> None:
    """A target that ends before the first reading has figures, and arrays that may be short."""
    for _ in range(20):
        m = concmem.measure(["/bin/true"], interval_s=1)
        assert len(m.timeline.t_s) == len(m.timeline.rss_bytes)
        assert m.peak.high_bytes is not None and m.peak.high_bytes > 0


def test_saved_and_loaded(tmp_path: Path) -> None:
    """A saved timeline is the same when loaded, including ring and tracks."""
    m = concmem.measure(known("ramp", 10 * MIB, 0.3), stdout=subprocess.DEVNULL)
    m.save(tmp_path / "m.json")
    again: Any = concmem.load(tmp_path / "m.json").timeline
    for name in ("t_s", "rss_bytes", "rss_min_bytes", "pss_t_s", "pss_bytes"):
        assert np.array_equal(getattr(again, name), getattr(m.timeline, name)), name
    assert again.peak_t_s == m.timeline.peak_t_s
    for ours, theirs in zip(again.ring, m.timeline.ring, strict=True):
        assert np.array_equal(ours, theirs)
    for source in ("statm", "status", "smaps_rollup"):
        assert np.array_equal(again.track(source), m.timeline.track(source))
