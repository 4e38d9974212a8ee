"""Ground truth: the programs hold what they say, concmem's figures hold, and `judge` detects wrong ones."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

import concmem
from concmem.model import Figure, Measurement
from concmem.testing import TRUTHS, Truth, Verdict, judge, known, known_names

KIB, MIB = 1 << 10, 1 << 20
HELD_MS = 400

START_UP_BYTES = 2 * MIB
"""More than the start-up size of any process here (0.2 to 1.9 MiB: pages of libc, the loader and stacks)."""

pytestmark = pytest.mark.usefixtures("no_child_left")


def by_name(name: str) -> Truth:
    return next(truth for truth in TRUTHS if truth.name == name)


def each(truths: tuple[Truth, ...]) -> Any:
    return pytest.mark.parametrize("truth", [pytest.param(truth, id=truth.name) for truth in truths])


def run(program: str, args: tuple[object, ...], **options: Any) -> Measurement:
    return concmem.measure(known(program, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


@functools.cache
def verdicts(truth: Truth, **options: Any) -> dict[str, Verdict]:
    """Run a truth and its base, and judge them."""
    m, base = run(truth.program, truth.args, **options), run(truth.program, truth.base, **options)
    return {verdict.figure: verdict for verdict in judge(truth, m, base)}


def test_the_table_is_complete() -> None:
    """Names are unique, and every program is in it except `refork`, which has no known size."""
    assert len({truth.name for truth in TRUTHS}) == len(TRUTHS)
    assert {truth.program for truth in TRUTHS} == set(known_names()) - {"refork"}


WITHOUT_UPPER_END = (
    "memfd", "memfd-allocated", "memfd-sent", "memfd-mapped", "memfd-parts", "dupmap",
    "shm", "shm-mapped", "shm-halves", "pinned", "unreaped", "unreaped-brief",
)  # fmt: skip
"""Truths of memory or processes of which only a control group knows all: without one they may have no upper end."""


@each(TRUTHS)
def test_every_figure_holds(truth: Truth) -> None:
    """No figure contradicts the truth. Known sizes of root and largest process are judged, including spikes."""
    judged = verdicts(truth)
    if truth.needs and all(verdict.ok is None for verdict in judged.values()):
        pytest.skip(judged["peak"].reason)
    assert {name: verdict.reason for name, verdict in judged.items() if verdict.ok is False} == {}
    if truth.program == "sigchld-ignored":
        assert "SIGCHLD" in judged["tree_upper_bound"].reason
    elif truth.name not in WITHOUT_UPPER_END or judged["tree_upper_bound"].reading.bytes is not None:
        assert judged["tree_upper_bound"].ok or truth.footprint_bytes is None
    assert judged["root_peak_rss"].ok


CHARGED = (
    "hold", "memfd", "memfd-mapped", "memfd-sent", "shm", "mapped-file", "file-parts", "shared", "shm-halves", "free",
    "dupmap", "clonevm", "pinned", "pinned-fork", "children-copy", "fork-tree", "execbig", "hand-over", "groups",
)  # fmt: skip


@each(tuple(map(by_name, CHARGED)))
def test_the_charge_holds(truth: Truth) -> None:
    """The program's own control group is charged once for each page, and for files that no process maps."""
    verdict = verdicts(truth, cgroup=True)["cgroup_peak"]
    if verdict.reading.status == "unavailable" or (truth.needs and truth.needs in verdict.reason):
        pytest.skip(verdict.reading.note or verdict.reason)
    assert verdict.ok, verdict.reason


# --- what the programs really hold, from their page tables


def pids() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def rollup(pid: int, mark: str) -> tuple[int, int] | None:
    """Return RSS and PSS of a process in bytes; None if its environment lacks the mark, or it has no memory."""
    # From the threads: if the main thread has ended, only the files of other threads have values.
    with contextlib.suppress(OSError):
        for tid in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                task = Path(f"/proc/{pid}/task/{tid}")
                if mark.encode() in (task / "environ").read_bytes():
                    lines = (task / "smaps_rollup").read_text().splitlines()[1:]
                    amounts = {line.split(":")[0]: int(line.split()[1]) * KIB for line in lines}
                    return amounts["Rss"], amounts["Pss"]
    return None


def walked(program: str, args: tuple[object, ...], marked: Any) -> tuple[dict[str, int], int]:
    """
    The largest amounts that walks saw while a program ran, and the most processes.

    Processes are read one after the other, so only walks between which nothing moved are believed. The processes of
    `clonevm` have one address space, which counts once.
    """
    argv, others = known(program, *args), pids()
    target = subprocess.Popen(argv, env=marked.env, stdout=subprocess.DEVNULL)
    most = dict.fromkeys(("root", "largest", "pss", "sum"), 0)
    processes = empty = 0
    before: dict[int, tuple[int, int]] = {}
    while empty < 5:  # a daemon can start between two readings of /proc
        walks = ((pid, rollup(pid, marked.mark)) for pid in pids() - others)
        found = {pid: amounts for pid, amounts in walks if amounts}
        empty = 0 if found or target.poll() is None else empty + 1
        processes = max(processes, len(found))
        if found == before:
            spaces = list(found.values())[: 1 if program == "clonevm" else None]
            rss = [size for size, _ in spaces]
            root = found.get(target.pid, (0, 0))[0]
            seen = (root, max(rss, default=0), sum(pss for _, pss in spaces), sum(rss))
            most = {name: max(size, most[name]) for name, size in zip(most, seen, strict=True)}
        before = found
        time.sleep(0.002)
    if target.wait() == 1:
        pytest.skip(f"the system refuses what {program} needs")
    assert target.returncode == 0
    return most, processes


SHORT: dict[str, Callable[[int], tuple[object, ...]]] = {
    "migrate": lambda ms: (32 * MIB, 4, ms / 1e3, 7),
    "ramp": lambda ms: (32 * MIB, 2 * ms / 1e3, 2),
    "spike": lambda ms: (16 * MIB, 32 * MIB, 0.05, ms),
    "populate": lambda ms: (16 * MIB, 32 * MIB, 0.05, ms, 1),
    "spikes": lambda ms: (1, 16 * MIB, ms, 16 * MIB),
    "workers": lambda ms: (4, 16 * MIB, 8 * MIB, 1, ms),
    "execbig": lambda ms: (3, 16 * MIB, ms / 1e3, 0),
    "execbig-huge": lambda ms: (3, 12 * MIB, ms / 1e3, 0, 1),
    "hand-over": lambda ms: (64 * MIB, 2, ms),
    "one-by-one": lambda ms: (2, 1, 8 * MIB, 0, ms),
    "groups": lambda ms: (5, 5, 8 * MIB, 0, ms),
    "big-parent": lambda ms: (1, 1, 1 * MIB, 100 * MIB, ms),
    "spawner": lambda ms: (1, 1, 1 * MIB, 100 * MIB, ms, "exec"),
    "unreaped": lambda ms: (4, 4, 8 * MIB, 0, ms, "unreaped"),
    "unreaped-brief": lambda ms: (1, 1, 16 * MIB, 0, ms, "unreaped"),
}
"""Arguments of truths that are too short for reading page tables: the same bytes, held longer."""


def longer(truth: Truth, factor: int) -> tuple[object, ...]:
    """Return a truth's arguments with a longer time: reading page tables is slow, and two readings must agree."""
    held_ms = HELD_MS * factor
    if truth.name in SHORT:
        return SHORT[truth.name](held_ms)
    return tuple(held_ms / 1e3 if isinstance(arg, float) else arg for arg in truth.args)


@each(TRUTHS)
def test_programs_hold_what_they_say(truth: Truth, marked: Any) -> None:
    """The page tables have the true amount and at most the start-up size of each process."""
    expected = {
        "root": truth.root_rss_bytes,
        "largest": truth.largest_rss_bytes,
        "pss": truth.tree_pss_bytes,
        "sum": truth.tree_rss_sum_bytes,
    }
    for factor in (1, 5, 25):  # on a busy machine it takes longer until two readings agree
        most, processes = walked(truth.program, longer(truth, factor), marked)
        for name, size in expected.items():
            assert size is None or most[name] <= size + processes * START_UP_BYTES, name
        if all(size is None or size <= most[name] for name, size in expected.items()):
            return
    pytest.fail(f"{most} never reached {expected}")


# --- programs that print times or amounts themselves


def test_spikes_at_printed_times() -> None:
    """Each spike is held as long as requested, and the timeline shows it at the printed times, and only then."""
    for held_s in (0.04, 0.4, 4):  # the sampler may have no CPU during a whole spike
        m = run("spikes", (5, 32 * MIB, held_s * 1e3, 8 * MIB, 7, 60), interval_s=0.001)
        slack_s = m.sampler.longest_gap_s
        spikes = [tuple(map(float, line.split()[1:])) for line in (m.stdout or b"").decode().splitlines()]
        assert len(spikes) == 5
        t_s, rss_bytes = m.timeline.t_s + m.start_monotonic_s, m.timeline.rss_bytes
        outside = np.ones(len(t_s), dtype=bool)
        for from_s, top_s, down_s in spikes:
            assert from_s < top_s <= down_s - held_s
            outside &= (t_s < from_s - slack_s) | (t_s > down_s + slack_s)
        assert int(rss_bytes[outside].max(initial=0)) < 16 * MIB
        if slack_s < held_s:
            break
    for _, top_s, down_s in spikes:
        assert int(rss_bytes[(t_s >= top_s - slack_s) & (t_s <= down_s)].max(initial=0)) >= 40 * MIB


def test_workers_with_printed_amounts() -> None:
    """The workers print what they needed at once, and no figure contradicts it."""
    m = run("workers", (4, 16 * MIB, 8 * MIB, 4))
    least_bytes, most_bytes = map(int, (m.stdout or b"").split()[1:])
    assert 24 * MIB <= least_bytes <= most_bytes <= 48 * MIB
    assert (least_bytes - 16 * MIB) % (8 * MIB) == 0
    assert m.tree_upper_bound.high_bytes is not None and m.tree_upper_bound.high_bytes >= least_bytes
    assert m.peak.high_bytes is None or m.peak.high_bytes >= least_bytes
    for figure in (m.peak, m.tree_peak_pss):
        assert figure.low_bytes is not None and figure.low_bytes <= most_bytes + 4 * MIB


def test_a_seed_gives_the_same_gaps() -> None:
    """The random gaps of `spikes` depend only on the seed."""

    def gaps(seed: int) -> list[float]:
        done = subprocess.run(known("spikes", 6, 0, 0, 0, seed, 50), capture_output=True, text=True, check=True)
        times = [[float(word) for word in line.split()[1:]] for line in done.stdout.splitlines()]
        return [later[0] - earlier[2] for earlier, later in itertools.pairwise(times)]

    # No sleep is shorter than requested, and load makes some longer: the smallest of many runs is the gap.
    first, again, other = np.full((3, 6 - 1), np.inf)
    for _ in range(30):
        first, again, other = (np.minimum(a, gaps(seed)) for a, seed in ((first, 1), (again, 1), (other, 2)))
        if np.abs(first - again).max() < 0.005:
            break
    assert np.abs(first - again).max() < 0.005
    assert np.abs(first - other).max() > 0.010


# --- `judge` itself


@functools.cache
def plain() -> Measurement:
    return concmem.measure(["true"])


SIZE = 10 * MIB
START_UP = 1 * MIB
CASE = Truth("case", "one of these tests", "hold", (), (), SIZE, SIZE, SIZE, SIZE, SIZE, SIZE)
BOUND = 744 * KIB


def verdict_on(figure: str, reading: Figure, case: Truth = CASE, **changes: Any) -> Verdict:
    base = attrs.evolve(plain(), **{figure: Figure(START_UP, "bounded", "statm")})
    m = attrs.evolve(plain(), **{figure: reading}, **changes)
    return next(verdict for verdict in judge(case, m, base) if verdict.figure == figure)


@pytest.mark.parametrize(
    ("ok", "figure", "reading"),
    [
        (True, "root_peak_rss", Figure(SIZE + START_UP, "exact", "")),
        (False, "root_peak_rss", Figure(SIZE - 1, "exact", "")),
        (False, "root_peak_rss", Figure(SIZE + START_UP + MIB, "exact", "")),
        # The error of a bounded figure applies in both directions.
        (True, "root_peak_rss", Figure(SIZE - BOUND, "bounded", "", BOUND)),
        (False, "root_peak_rss", Figure(SIZE - BOUND - 1, "bounded", "", BOUND)),
        (True, "root_peak_rss", Figure(SIZE + START_UP + MIB, "bounded", "", 0, "", BOUND)),
        (False, "root_peak_rss", Figure(SIZE + START_UP + 2 * MIB, "bounded", "", 0, "", BOUND)),
        # A sampled figure must reach an amount that is held, and must not exceed it.
        (True, "tree_peak_rss_sum", Figure(SIZE, "sampled", "")),
        (False, "tree_peak_rss_sum", Figure(SIZE - 1, "sampled", "")),
        (False, "tree_peak_rss_sum", Figure(SIZE + 2 * MIB, "sampled", "")),
        # Both ends of the headline are judged; without an upper end, its lower end alone.
        (True, "peak", Figure(SIZE // 2, "bounded", "", SIZE // 2)),
        (False, "peak", Figure(SIZE // 2, "bounded", "", SIZE // 2 - 1)),
        (True, "peak", Figure(SIZE + 4 * MIB, "bounded", "", 0, "", 3 * MIB)),
        (False, "peak", Figure(SIZE + 4 * MIB, "bounded", "", 0, "", 2 * MIB)),
        (True, "peak", Figure(SIZE + MIB, "sampled", "")),
        (None, "peak", Figure(SIZE - 1, "sampled", "")),
        (False, "peak", Figure(SIZE + 2 * MIB, "sampled", "")),
        # An upper bound may be far above the true amount, but not below it.
        (True, "tree_upper_bound", Figure(SIZE * 5, "upper_bound", "")),
        (False, "tree_upper_bound", Figure(SIZE - 1, "upper_bound", "")),
        (None, "cgroup_peak", Figure(None, "unavailable", "cgroup", note="no control group here")),
    ],
)
def test_verdicts(ok: bool | None, figure: str, reading: Figure) -> None:
    """The true amount must lie within a figure's range, apart from the start-up size; else there is a reason."""
    sampler = attrs.evolve(plain().sampler, longest_gap_s=0.002)
    verdict = verdict_on(figure, reading, attrs.evolve(CASE, held_s=0.2), sampler=sampler)
    assert verdict.ok is ok
    assert (verdict.reason == "") is (ok is True)
    assert verdict.truth_bytes == SIZE
    assert verdict.error_bytes == (None if reading.bytes is None else reading.bytes - SIZE - START_UP)


def test_a_spike_need_not_be_sampled() -> None:
    """A sampled figure that missed a spike shorter than the interval is neither wrong nor right."""
    sampler = attrs.evolve(plain().sampler, longest_gap_s=0.004)
    spike, held = (attrs.evolve(CASE, held_s=held_s) for held_s in (0.002, 0.02))
    reading = Figure(SIZE // 2, "sampled", "statm")
    assert verdict_on("tree_peak_rss_sum", reading, spike, sampler=sampler).ok is None
    assert verdict_on("tree_peak_rss_sum", reading, held, sampler=sampler).ok is False
    # smaps_rollup is read less often.
    assert verdict_on("tree_peak_pss", reading, held, sampler=sampler).ok is None


def test_a_failed_run_is_not_judged() -> None:
    """If the system refused what the program needs, there is no verdict. Any other failure is wrong."""
    reading = Figure(SIZE, "exact", "")
    refused = concmem.measure("exit 1").exit
    needy = attrs.evolve(CASE, needs="a missing thing")
    assert verdict_on("root_peak_rss", reading, needy, exit=refused).ok is None
    assert "a missing thing" in verdict_on("root_peak_rss", reading, needy, exit=refused).reason
    assert verdict_on("root_peak_rss", reading, exit=refused).ok is False
    assert verdict_on("root_peak_rss", reading, needy, exit=concmem.measure("exit 3").exit).ok is False


def test_locked_memory_that_is_refused() -> None:
    """Without permission to lock memory, `locked` exits with 1 and its truth is not judged."""
    if os.geteuid() == 0:
        pytest.skip("root may lock any amount of memory")
    argv = " ".join(known("locked", 4 * MIB, 0))
    m = concmem.measure(f"ulimit -l 64; exec {argv}", stderr=subprocess.DEVNULL)
    assert {verdict.ok for verdict in judge(by_name("locked"), m, m)} == {None}
