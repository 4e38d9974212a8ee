"""Write a timeline as CSV, for spreadsheets and other programs."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concmem.timeline import Timeline

__all__ = ["timeline_csv"]


def timeline_csv(timeline: Timeline) -> str:
    """
    Return a line for each window of the RSS track: ``t_s,rss_bytes,rss_min_bytes,pss_bytes``.

    ``t_s`` is the begin of the window, ``rss_bytes`` its maximum and ``rss_min_bytes`` its minimum. ``pss_bytes`` is
    the largest PSS that was read in the window. It is often empty, because PSS costs more and is read less often.
    """
    t_ns = timeline.values("statm", "t_ns")
    pss: dict[int, int] = {}
    for at_ns, size in zip(
        timeline.values("smaps_rollup", "t_ns"), timeline.values("smaps_rollup", "pss_max"), strict=True
    ):
        window = max(0, bisect_right(t_ns, at_ns) - 1)
        pss[window] = max(size, pss.get(window, 0))
    highs, lows = timeline.values("statm", "rss_max"), timeline.values("statm", "rss_min")
    lines = ["t_s,rss_bytes,rss_min_bytes,pss_bytes"]
    for window, (at_ns, high, low) in enumerate(zip(t_ns, highs, lows, strict=True)):
        lines.append(f"{at_ns / 1e9:.9f},{high},{low},{pss.get(window, '')}")
    return "\n".join([*lines, ""])
