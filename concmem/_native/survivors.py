"""Why a process that was killed has not ended: looked at once, when the sampler has given up on it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from concmem._cgroup.find import is_frozen, text
from concmem.sampler_report import Survivor, SurvivorReason

__all__ = ["survivors"]


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
        return "unknown"  # it has ended by now, and its number may be another's
    status = dict(line.split(":", 1) for line in text(root / f"proc/{pid}/status").splitlines() if ":" in line)
    if status.get("TracerPid", "0").strip() != "0":
        return "traced"
    if is_frozen(pid, root):
        return "frozen"
    return "uninterruptible" if fields[0] == "D" else "unknown"


def survivors(rows: Iterable[tuple[int, str, int]], count: int, root: Path = Path("/")) -> tuple[Survivor, ...]:
    """
    Each process with the reason why it is still there.

    Args:
        rows: PID, name and start, in clock ticks after boot, of those that are known.
        count: How many there are.
        root: Where /proc and the control groups are.
    """
    named = [Survivor(pid, name, _reason(pid, start_ticks, root)) for pid, name, start_ticks in rows]
    return (*named, *[Survivor(0, "", "unknown")] * (count - len(named)))
