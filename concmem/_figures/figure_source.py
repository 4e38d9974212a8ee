"""The kernel interfaces that figures are read from, each with its code and its text."""

from __future__ import annotations

from enum import Enum

__all__ = ["UPPER_BOUNDS", "FigureSource"]


class FigureSource(Enum):
    """
    What a figure, or its upper end, was read from.

    The value is the text of `Figure.source` and `Figure.high_source`, printed and stored. Code compares members only.
    """

    STATM = "statm"
    STATM_HWM = "statm, VmHWM"
    LOWER_BOUND = "statm, less shared"
    HWM = "status VmHWM"
    WINDOWS = "status VmHWM, by windows"
    SWAP = "status VmSwap"
    PSS = "smaps_rollup"
    WAIT4 = "wait4"
    MAXRSS = "wait4 ru_maxrss"
    EXIT_RECORD = "taskstats hiwater_rss"
    MARKS = "VmHWM, wait4 ru_maxrss"
    MARKS_SUM = "statm, VmHWM, wait4 ru_maxrss"
    MARKS_AND_EXIT_RECORDS_SUM = "statm, VmHWM, wait4 ru_maxrss, taskstats"
    EXACT_SUM = "kmem:rss_stat by eBPF"
    CGROUP = "cgroup"
    CGROUP_HELD = "cgroup, less page cache and kernel memory"
    CGROUP_AND_ELSEWHERE = "cgroup, and what it is not charged for"
    FAULTS = "page faults"
    MACHINE = "MemTotal and SwapTotal"
    LIMIT = "memory limit of the surrounding cgroup"
    CGROUP_V1 = "cgroup v1 max_usage"
    CGROUP_V2 = "cgroup v2 memory.peak"

    @classmethod
    def of(cls, text: str) -> FigureSource | None:
        """Return the member with this text, or None: a stored figure can have any text."""
        return _BY_TEXT.get(text)


_BY_TEXT = {source.value: source for source in FigureSource}

UPPER_BOUNDS = frozenset(
    {
        FigureSource.MARKS_SUM,
        FigureSource.MARKS_AND_EXIT_RECORDS_SUM,
        FigureSource.EXACT_SUM,
        FigureSource.FAULTS,
        FigureSource.CGROUP_AND_ELSEWHERE,
        FigureSource.MACHINE,
        FigureSource.LIMIT,
    }
)
"""The sources of `tree_upper_bound`: each bounds the whole tree, not one process."""
