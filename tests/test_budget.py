"""What the sampler may spend, and what holds whatever it spends."""

from __future__ import annotations

import subprocess
from typing import Any

import numpy as np
import pytest

import concmem
from concmem.testing import TRUTHS, Truth, judge, known

FIRST_CREDIT_S = 0.02
SLEEP = ["/bin/sleep", "1.5"]
CREW = ["/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1.5 & done; wait"]


def set_up_s() -> float:
    """Return the CPU time that the sampler spends whatever it measures, mostly before the target starts."""
    return concmem.measure(["/bin/true"]).sampler.cpu_s


@pytest.mark.parametrize("command", [SLEEP, CREW], ids=["one process", "21 processes"])
@pytest.mark.parametrize("budget", [0.005, 0.05])
def test_the_sampler_keeps_its_budget(command: list[str], budget: float) -> None:
    """It spends no more than its first credit and its share of the time, and in so short a run half as much again."""
    m = concmem.measure(command, cpu_budget=budget)
    tick_s = m.sampler.cpu_s / m.sampler.ticks
    allowed_s = set_up_s() + FIRST_CREDIT_S + budget * m.tree_wall_s
    assert m.sampler.cpu_s <= 1.5 * allowed_s + 10 * tick_s
    assert m.sampler.cpu_budget == budget and m.sampler.interval_s is None
    assert m.sampler.dropped_rows == 0


def test_a_larger_budget_gives_more_readings() -> None:
    """And so does a smaller tree. No two readings are closer than a millisecond, but for the last one."""
    small, large = (concmem.measure(CREW, cpu_budget=budget) for budget in (0.002, 0.2))
    one = concmem.measure(SLEEP, cpu_budget=0.002)
    assert small.sampler.ticks < large.sampler.ticks
    assert small.sampler.ticks < one.sampler.ticks
    assert np.diff(large.timeline.t_s)[:-1].min() >= 0.0009


def test_short_commands_are_read_every_millisecond() -> None:
    """The first credit pays for it: the median distance of two readings is a millisecond."""
    m = concmem.measure(["/bin/sleep", "0.1"], cpu_budget=0.001)
    if m.sampler.late_ticks * 4 < m.sampler.ticks:
        assert np.median(np.diff(m.timeline.t_s)) == pytest.approx(0.001, rel=0.1)
    assert m.sampler.ticks >= 5


def test_credit_is_saved_for_changes() -> None:
    """After three quiet seconds the readings of a process that grows are closer together than those while it slept."""
    grow = "import time; time.sleep(3); kept = [time.sleep(0.001) or bytearray(1 << 20) for _ in range(60)]"
    m = concmem.measure(["python3", "-c", grow], pss_budget=0)
    t_s, rss_bytes = m.timeline.t_s, m.timeline.rss_bytes
    is_grown = rss_bytes > rss_bytes[t_s < t_s[-1] - 0.6][-1] + (8 << 20)
    gaps_s = np.diff(t_s)
    before_s = gaps_s[(t_s[1:] > 1) & ~is_grown[1:]]
    assert np.median(gaps_s[is_grown[1:]]) < np.median(before_s)


def test_pss_takes_at_most_half_of_the_budget() -> None:
    """However much it may take by `pss_budget`, the rest is left for readings of RSS."""
    m = concmem.measure(known("hold", 200 << 20, 1, 1.5), cpu_budget=0.01, pss_budget=1, stdout=subprocess.DEVNULL)
    free = concmem.measure(known("hold", 200 << 20, 1, 1.5), interval_s=0.001, pss_budget=1, stdout=subprocess.DEVNULL)
    assert m.sampler.pss_s < free.sampler.pss_s
    assert free.sampler.cpu_budget is None and free.sampler.interval_s == 0.001


def test_a_memory_limit_is_watched_closely() -> None:
    """A debt of the budget does not let a tree grow unseen: two readings are at most 20 ms apart, not 100 or more."""
    m = concmem.measure(CREW, cpu_budget=0.001, memory_limit_bytes=1 << 40)
    free = concmem.measure(CREW, cpu_budget=0.001)
    assert np.median(np.diff(m.timeline.t_s[-10:])) < np.median(np.diff(free.timeline.t_s[-4:]))


CASES = ("hold", "spike", "spikes", "ramp", "parent-copies", "children-hold", "shared", "execbig", "chain", "dontneed")
PACES: list[dict[str, Any]] = [
    {"cpu_budget": 0.001},
    {"interval_s": 0.001},
    {"interval_s": 0.01},
    {"interval_s": 0.1},
]


@pytest.mark.parametrize("truth", [t for t in TRUTHS if t.name in CASES], ids=lambda t: t.name)
@pytest.mark.parametrize("pace", PACES, ids=str)
def test_every_range_holds_at_every_pace(truth: Truth, pace: dict[str, Any]) -> None:
    """What happens between two readings still reaches the peak, or the upper end."""
    base = concmem.measure(known(truth.program, *truth.base), stdout=subprocess.DEVNULL)
    m = concmem.measure(known(truth.program, *truth.args), stdout=subprocess.DEVNULL, **pace)
    assert [verdict for verdict in judge(truth, m, base) if verdict.ok is False] == []
