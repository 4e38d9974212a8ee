"""Find out why a killed process has not ended, once, when the sampler has given up waiting for it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from concmem._cgroup.find import is_frozen, text
from concmem.sampler_report import Survivor, SurvivorReason

__all__ = ["find_survivors"]


def _may_not_be_killed(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def _reason(pid: int, start_ticks: int, root: Path) -> SurvivorReason:
    if _may_not_be_killed(pid):
        return "not_permitted"
    fields = text(root / f"proc/{pid}/stat").rpartition(") ")[2].split()
    if len(fields) < 20 or fields[19] != str(start_ticks):
        return "unknown"  # it has ended since, and another process may have its PID
    status = dict(line.split(":", 1) for line in text(root / f"proc/{pid}/status").splitlines() if ":" in line)
    if status.get("TracerPid", "0").strip() != "0":
        return "traced"
    if is_frozen(pid, root):
        return "frozen"
    return "uninterruptible" if fields[0] == "D" else "unknown"


def find_survivors(rows: Iterable[tuple[int, str, int]], count: int, root: Path = Path("/")) -> tuple[Survivor, ...]:
    """
    Return each surviving process with the reason why it still runs.

    Args:
        rows: PID, name and start (in clock ticks after boot) of the known ones.
        count: How many there are in total.
        root: The folder that contains /proc and /sys.
    """
    named = [Survivor(pid, name, _reason(pid, start_ticks, root)) for pid, name, start_ticks in rows]
    return (*named, *[Survivor(0, "", "unknown")] * (count - len(named)))
