"""The upper bound of a tree: the sum over processes that can have been alive together. The processes are made up."""

from __future__ import annotations

from typing import Any

import pytest
from made_up import MIB, SHELL, marks, tree

from concmem._figures.bounds import largest_sum_bytes
from concmem._figures.figure_source import FigureSource
from concmem._figures.process import Marks, process_peak
from concmem._figures.table import all_figures
from concmem._figures.tree import Charge


@pytest.mark.parametrize(
    ("processes", "unseen", "largest_mib", "sum_mib"),
    [
        ([], [], 0, 0),
        ([marks(5, 5, 0, 1)], [], 5, 5),
        ([marks(5, 5, 0, 1), marks(7, 7, 0.5, 2)], [], 7, 12),
        ([marks(5, 5, 0, 1), marks(7, 7, 1.5, 2)], [], 7, 7),
        # First seen at 0.9995, so it may have started before the other process ended at 1.
        ([marks(5, 5, 0, 1), marks(7, 7, 0.9995, 2)], [], 7, 12),
        # Grown after its last reading: the size is known from wait4, from its exit record, or not at all.
        ([marks(5, 9, 0, 1, program_until_s=0.9)], [], 9, 9),
        ([marks(5, None, 0, 1, program_until_s=0.9, exit_record_bytes=8 * MIB)], [], 20, 8),
        ([marks(5, None, 0, 1, program_until_s=0.9)], [], 20, 20),
        # Before its last reading it was no larger than that.
        ([marks(5, None, 0, 1, program_until_s=0.9), marks(6, 6, 0.1, 0.8)], [], 7, 11),
        # It may have executed another program before 0.4, and after 0.6. Other programs may have been larger.
        ([marks(5, None, 0, 1, program_since_s=0.4), marks(6, 6, 0.4, 0.6)], [], 20, 20),
        ([marks(5, None, 0, 1, program_since_s=0.4), marks(6, 6, 0.3, 0.6)], [], 20, 26),
        ([marks(5, None, 0, 1, program_until_s=0.6), marks(6, 6, 0.3, 0.6)], [], 20, 20),
        ([marks(5, None, 0, 1, program_until_s=0.6), marks(6, 6, 0.3, 0.7)], [], 20, 26),
        # The exit record shows whether it executed a program. If so, it does not say what the process held before.
        ([marks(5, None, 0, 1, program_until_s=0, exit_record_bytes=8 * MIB)], [], 20, 8),
        ([marks(5, None, 0, 1, program_until_s=0, exit_record_bytes=8 * MIB, has_executed=True)], [], 20, 20),
        ([marks(5, 9, 0, 1, program_until_s=0, exit_record_bytes=8 * MIB, has_executed=True)], [], 20, 9),
        # Never read at all.
        ([marks(0, None, 0, 1, program_until_s=0.0)], [], 20, 20),
        # Up to three started and ended unseen while one process ran, and two while none ran.
        ([marks(5, 5, 0, 1)], [(0.4, 0.402, 3), (2.0, 2.002, 2)], 5, 20),
    ],
)
def test_largest_sum(processes: list[Marks], unseen: list[Any], largest_mib: int, sum_mib: int) -> None:
    """Processes that can have overlapped are summed, each with its largest possible size at that time."""
    assert largest_sum_bytes(processes, unseen, largest_mib * MIB) == sum_mib * MIB


def test_headline_of_several_has_both_ends() -> None:
    """The lower end is the largest sum of PSS that was read, the upper end is the tree's upper bound."""
    figures = all_figures(tree(marks(2, 30, 0, 1, **SHELL), marks(30, None, 0.1, 0.9), pss_bytes=31 * MIB))
    peak = figures["peak"]
    assert (peak.status, peak.bytes, peak.source) == ("bounded", 31 * MIB, "smaps_rollup")
    assert peak.high_bytes == figures["tree_upper_bound"].high_bytes == (2 + 30) * MIB + 2 * 1000
    assert peak.high_source == figures["tree_upper_bound"].source


def test_unshared_memory_raises_the_lower_end() -> None:
    """The lower end is the largest known lower bound. If statm is not exact, its error is subtracted twice."""
    processes = marks(2, 30, 0, 1, **SHELL), marks(30, None, 0.1, 0.9)
    figures = all_figures(tree(*processes, pss_bytes=31 * MIB, lower_bound_bytes=32 * MIB))
    peak = figures["peak"]
    assert (peak.status, peak.low_bytes, peak.source) == ("bounded", 32 * MIB, FigureSource.LOWER_BOUND.value)
    assert peak.high_bytes == figures["tree_upper_bound"].high_bytes
    assert figures["tree_peak_pss"].bytes == 31 * MIB
    inexact = all_figures(tree(*processes, lower_bound_bytes=32 * MIB, statm_exact=False))["peak"]
    assert (inexact.bytes, inexact.low_bytes) == (32 * MIB, 32 * MIB - 2 * 2 * 1000)
    less = all_figures(tree(*processes, pss_bytes=32 * MIB, lower_bound_bytes=31 * MIB))["peak"]
    assert (less.bytes, less.source) == (32 * MIB, "smaps_rollup")


def test_unseen_processes_raise_the_upper_bound() -> None:
    """Each possible unseen process counts as the largest process, unless all exit records were received."""
    processes = marks(2, 30, 0, 1, **SHELL), marks(30, None, 0.1, 0.9)
    unseen = [(0.5, 0.502, 2)]
    upper = all_figures(tree(*processes, unseen=unseen, pss_bytes=31 * MIB))["tree_upper_bound"]
    assert upper.bytes == (2 + 30 + 2 * 30) * MIB
    assert "up to 2 at a time started and ended unseen" in upper.note
    recorded = all_figures(tree(*processes, unseen=unseen, pss_bytes=31 * MIB, has_all_exit_records=True))[
        "tree_upper_bound"
    ]
    assert recorded.bytes == (2 + 30) * MIB
    alone = all_figures(tree(marks(30, 30, 0, 1, is_root=True), unseen=unseen))
    assert alone["peak"] == alone["largest_peak_rss"], (
        "a tree without children has no unseen processes, whatever PIDs were allocated"
    )


def test_children_of_a_process_that_ignores_sigchld() -> None:
    """The size of unread children of a process that ignores SIGCHLD is unknown, so there is no upper end."""
    forgetful = marks(2, 2, 0, 1, is_root=True, ignores_sigchld=True), marks(30, None, 0.1, 0.9)
    figures = all_figures(tree(*forgetful, pss_bytes=31 * MIB))
    for name in ("peak", "largest_peak_rss"):
        assert figures[name].status == "sampled"
        assert figures[name].high_bytes is None
        assert "SIGCHLD" in figures[name].note
    assert figures["tree_upper_bound"].bytes is None and "SIGCHLD" in figures["tree_upper_bound"].note
    assert all_figures(tree(*forgetful, pss_bytes=31 * MIB, has_all_exit_records=True))["peak"].status == "bounded"


def test_the_kernels_own_sum() -> None:
    """It is exact and an upper bound. With several threads, its error is one huge page per concurrent thread."""
    processes = marks(20, 20, 0, 1, **SHELL), marks(30, None, 0.1, 0.9)
    facts: dict[str, Any] = {"pss_bytes": 31 * MIB, "exact_sum_bytes": 45 * MIB}
    figures = all_figures(tree(*processes, **facts))
    assert (figures["tree_peak_rss_sum"].status, figures["tree_peak_rss_sum"].bytes) == ("exact", 45 * MIB)
    assert figures["peak"].high_bytes == figures["tree_upper_bound"].bytes == 45 * MIB
    threads = all_figures(tree(*processes, **facts, several_threads=7))["tree_peak_rss_sum"]
    assert (threads.status, threads.low_bytes, threads.high_bytes) == ("bounded", 43 * MIB, 47 * MIB)
    for left in ({"left_groups": True}, {"rss_sum_bytes": 60 * MIB}):
        incomplete = all_figures(tree(*processes, **facts | left))
        assert incomplete["tree_peak_rss_sum"].status == "sampled"
        assert "left the control group" in incomplete["tree_peak_rss_sum"].note
        assert incomplete["tree_upper_bound"].source != incomplete["tree_peak_rss_sum"].source
    lossy = all_figures(tree(*processes, **facts, exact_sum_lost=3))["tree_peak_rss_sum"]
    assert lossy.status == "sampled" and "3 are missing" in lossy.note


def test_windows_reset_marks() -> None:
    """ru_maxrss then covers only the last window. A mark that was reset late leaves no upper end."""
    complete = Marks(5 * MIB, 25 * MIB, 6 * MIB, is_root=True, end_s=1.0)
    figure = process_peak(complete, error_bytes=1000, windows=True)
    assert (figure.status, figure.bytes, figure.high_bytes) == ("bounded", 25 * MIB, 25 * MIB + 1000)
    late = Marks(5 * MIB, 25 * MIB, 6 * MIB, is_root=True, inexact=2)
    figure = process_peak(late, error_bytes=1000, windows=True)
    assert (figure.status, figure.high_bytes) == ("sampled", None)
    assert "reset late 2 times" in figure.note
    figures = all_figures(tree(late, windows=True, largest=late))
    assert figures["tree_upper_bound"].bytes is None and "2 high-water marks" in figures["tree_upper_bound"].note
    assert figures["peak"].high_bytes is None


def test_exit_records() -> None:
    """The mark in an exit record is the process's own and needs no reading, whichever process waited for it."""
    figure = process_peak(Marks(0, 0, None, 7 * MIB), error_bytes=1000)
    assert (figure.status, figure.bytes, figure.source) == ("bounded", 7 * MIB, "taskstats hiwater_rss")
    assert (figure.low_bytes, figure.high_bytes) == (7 * MIB - 1000, 7 * MIB + 1000)


def test_a_charge_is_a_figure_of_its_own() -> None:
    """The charge of a control group is not RSS. It is a separate figure, and its note names its parts."""
    charge = Charge(300 * MIB, "cgroup v2 memory.peak", {"anon": MIB, "file": 299 * MIB, "sock": 0})
    figures = all_figures(tree(marks(3, 3, 0, 1, is_root=True), charge=charge))
    assert figures["peak"].bytes == 3 * MIB
    assert (figures["cgroup_peak"].bytes, figures["cgroup_peak"].low_bytes) == (300 * MIB, 300 * MIB - 4096)
    assert "page cache" in figures["cgroup_peak"].note and "file 299 MiB" in figures["cgroup_peak"].note
    assert "sock" not in figures["cgroup_peak"].note
    left = all_figures(tree(marks(3, 3, 0, 1, is_root=True), charge=charge, left_groups=True))["cgroup_peak"]
    assert left.status == "sampled" and "left the group" in left.note
