"""Made-up processes and trees, for tests of the functions that compute figures."""

from __future__ import annotations

from typing import Any

from concmem._figures.held import Held
from concmem._figures.process import Marks
from concmem._figures.tree import Charge, Tree

__all__ = ["MIB", "SHELL", "marks", "tree"]

MIB = 1 << 20

SHELL = {"is_root": True, "reaped_others": True}
"""What is known of a root that waited for children."""


def marks(read_mib: int, maxrss_mib: int | None, since_s: float, end_s: float, **more: Any) -> Marks:
    """
    Make a process with a largest reading and a size at its end.

    By default that reading has all that it held from its start to its end.
    """
    more = {"program_since_s": since_s, "program_until_s": end_s} | more
    return Marks(
        rss_bytes=read_mib * MIB,
        hwm_bytes=read_mib * MIB,
        maxrss_bytes=None if maxrss_mib is None else maxrss_mib * MIB,
        since_s=since_s,
        end_s=end_s,
        **more,
    )


def tree(*processes: Marks, **more: Any) -> Tree:
    """Make a tree of these processes, with 1,000 bytes of error for each mark, and 4 KiB for a control group."""
    facts: dict[str, Any] = {
        "root": processes[0],
        "largest": Marks(
            max(m.rss_bytes for m in processes),
            max(m.hwm_bytes for m in processes),
            max(m.maxrss_bytes or 0 for m in processes),
            is_root=True,
        ),
        "processes": processes,
        "unseen": (),
        "pss_bytes": None,
        "pss_over_bytes": 0,
        "lower_bound_bytes": 0,
        "rss_sum_bytes": 0,
        "rss_high_bytes": 0,
        "exact_sum_bytes": None,
        "exact_sum_lost": 0,
        "left_groups": False,
        "several_threads": 0,
        "cpus": 2,
        "marks_sum_bytes": 0,
        "max_alive": len(processes),
        "survivors": 0,
        "left_running": 0,
        "refused": 0,
        "no_readings_reason": "",
        "dropped_processes": 0,
        "has_all_exit_records": False,
        "windows": False,
        "statm_exact": True,
        "counter_error_bytes": 1000,
        "floor_bytes": 0,
        "charge": Charge.unknown("none"),
        "held": Held(),
        "swap_bytes": None,
        "charge_batch_bytes": 4096,
    }
    return Tree(**(facts | more))
