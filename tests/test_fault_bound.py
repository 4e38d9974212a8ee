"""
Attacks on the upper end: memory that comes without page faults, or whose faults get lost.

`test_ground_truth` runs each program once without optional sources. Here each runs twice with each of the sources that
have upper ends of their own. A truth above the upper end is the worst fault that a figure can have.
"""

from __future__ import annotations

import functools
import subprocess
from typing import Any

import pytest

import concmem
from concmem.testing import TRUTHS, Truth, known

RUNS = 2

ATTACKS = (
    "userfaultfd", "remote", "collapse", "huge", "fill-populate", "unreaped", "unreaped-brief", "pinned-fork",
    "clonevm", "execbig", "execbig-huge", "hand-over", "spawner", "fork-tree", "fork-copies", "dupmap", "memfd-parts",
    "file-parts",
)  # fmt: skip

SOURCES: dict[str, dict[str, Any]] = {
    "cgroup": {"cgroup": True},
    "taskstats": {"taskstats": True},
    "exact": {"exact": True},
    "windows": {"windows": True},
    "slow": {"interval_s": 0.05},
    "without PSS": {"pss_budget": 0},
}

TRACKS = {"cgroup": "cgroup", "taskstats": "taskstats", "exact": "rss_stat", "windows": "windows"}

pytestmark = pytest.mark.usefixtures("no_child_left")


@functools.cache
def why_not(source: str) -> str:
    return {found.name: found.why_not for found in concmem.probe()}[TRACKS[source]] if source in TRACKS else ""


CASES = [
    pytest.param(truth, source, id=f"{truth.name}-{source}")
    for truth in TRUTHS
    for source in SOURCES
    # At long intervals no reading meets a brief child, and the kernel keeps nothing of it: an assumption of the docs.
    if truth.name in ATTACKS and (truth.name, source) != ("unreaped-brief", "slow")
]


@pytest.mark.parametrize(("truth", "source"), CASES)
def test_the_truth_is_not_above_the_upper_end(truth: Truth, source: str) -> None:
    """In every run the footprint is at most the upper end, or there is none; the amount lies within its range."""
    if reason := why_not(source):
        pytest.skip(f"{TRACKS[source]} is not usable here: {reason}")
    command, truth_bytes = known(truth.program, *truth.args), truth.footprint_bytes
    assert truth_bytes is not None
    for _ in range(RUNS):
        m = concmem.measure(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **SOURCES[source])
        if truth.needs and m.exit.code == 1:
            pytest.skip(f"the system refuses what the program needs: {truth.needs}")
        assert m.exit.ok, m.exit
        for figure in (m.peak, m.tree_upper_bound):
            assert figure.high_bytes is None or figure.high_bytes >= truth_bytes, (figure, figure.note)
        peak = m.peak
        assert peak.bytes is not None and peak.low_bytes is not None and peak.low_bytes <= peak.bytes
        assert peak.high_bytes is None or peak.bytes <= peak.high_bytes
        assert (peak.status == "sampled") is (peak.high_bytes is None), peak
