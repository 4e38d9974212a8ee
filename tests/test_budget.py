"""What the sampler may spend, and what holds whatever it spends."""

from __future__ import annotations

import subprocess
import time
from typing import Any

import numpy as np
import pytest

import concmem
from concmem.testing import TRUTHS, Truth, judge, known

FIRST_CREDIT_S = 0.02
SLEEP = ["/bin/sleep", "1.5"]
LONGER_S = (1.5, 6, 24)
"""On a busy machine it takes longer until the first credit is spent, and the budget decides."""


def crew(life_s: float) -> list[str]:
    """Return a command of 21 processes."""
    return ["/bin/sh", "-c", f"for i in $(seq 20); do sleep {life_s} & done; wait"]


def set_up_s() -> float:
    """Return the CPU time that the sampler spends whatever it measures, mostly before the target starts."""
    return concmem.measure(["/bin/true"]).sampler.cpu_s


@pytest.mark.parametrize("command", [SLEEP, crew(1.5)], ids=["one process", "21 processes"])
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
    for life_s in LONGER_S:
        small, large = (concmem.measure(crew(life_s), cpu_budget=budget) for budget in (0.001, 1))
        one = concmem.measure(["/bin/sleep", str(life_s)], cpu_budget=0.001)
        assert np.diff(large.timeline.t_s)[:-1].min() >= 0.0009
        if small.sampler.ticks < min(large.sampler.ticks, one.sampler.ticks):
            return
    pytest.fail(f"{[m.sampler.ticks for m in (small, large, one)]} readings")


def test_short_commands_are_read_every_millisecond() -> None:
    """The first credit pays for it. From the share alone there would be a reading every 30 ms or more."""
    gaps_s: list[float] = []
    for _ in range(50):  # on a busy machine most readings are late
        gaps_s += np.diff(concmem.measure(["/bin/sleep", "0.1"], cpu_budget=0.001).timeline.t_s).tolist()
        if len(gaps_s) > 50 and np.quantile(gaps_s, 0.1) < 0.002:
            return
    pytest.fail(f"too long: {sorted(gaps_s)}")


def test_credit_is_saved_for_changes() -> None:
    """After quiet seconds the readings of a process that grows are closer together than those while it slept."""
    for sleep_s in (3, 6, 12):
        grow = (
            f"import time; print(time.monotonic(), flush=True); time.sleep({sleep_s}); print(time.monotonic());"
            "kept = [time.sleep(0.002) or bytearray(1 << 20) for _ in range(400)]"
        )
        m = concmem.measure(["python3", "-c", grow], pss_budget=0, cpu_budget=0.002, stdout=subprocess.PIPE)
        sleeps_s, grows_s = (float(word) - m.start_monotonic_s for word in (m.stdout or b"").split())
        t_s, gaps_s = m.timeline.t_s[1:], np.diff(m.timeline.t_s)
        quiet_s, changing_s = gaps_s[(t_s > sleeps_s + 1) & (t_s < grows_s)], gaps_s[t_s > grows_s + 0.01]
        # Some of the readings are late on a busy machine.
        if np.quantile(changing_s, 0.1) < np.median(quiet_s):
            return
    pytest.fail(f"{sorted(changing_s)} are not shorter than {sorted(quiet_s)}")


def test_pss_takes_at_most_half_of_the_budget() -> None:
    """However much it may take by `pss_budget`, the rest is left for readings of RSS."""
    for pace, expected_ppm in (({"cpu_budget": 0.01}, 5000), ({"interval_s": 0.001}, 1_000_000)):
        with concmem.start(["/bin/sleep", "600"], pss_budget=1, **pace) as running:  # type: ignore[arg-type]
            head = running._memory.head  # type: ignore[union-attr]
            deadline_s = time.monotonic() + 120
            while head.ticks == 0:
                assert time.monotonic() < deadline_s
                time.sleep(0.001)
            budget_ppm = head.pss_budget_ppm
            running.stop()
            m = running.wait()
        assert budget_ppm == expected_ppm
        assert (m.sampler.cpu_budget, m.sampler.interval_s) == (pace.get("cpu_budget"), pace.get("interval_s"))


def test_a_memory_limit_is_watched_closely() -> None:
    """A debt of the budget does not let a tree grow unseen: two readings are at most 20 ms apart, not 100 or more."""
    for life_s in LONGER_S:
        m, free = (
            concmem.measure(crew(life_s), cpu_budget=0.001, memory_limit_bytes=limit) for limit in (1 << 40, None)
        )
        gaps_s, free_gaps_s = (np.diff(each.timeline.t_s) for each in (m, free))
        if np.median(gaps_s[-10:-2]) < np.median(free_gaps_s[-5:-1]) / 2:
            return
    pytest.fail(f"{gaps_s} is not shorter than {free_gaps_s}")


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
    wrong = [verdict for verdict in judge(truth, m, base) if verdict.ok is False]
    assert [verdict for verdict in wrong if verdict.reading.status != "sampled"] == []
