"""What a run's timeline says beyond its peak: the steady time, and what stays when all tasks have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from concmem.model import Figure, Measurement

if TYPE_CHECKING:
    from concmem.timeline import Timeline

__all__ = ["left_over", "plateau"]

_SOURCE = "statm"
_HEARING_S = 0.01


def plateau(measurement: Measurement, from_s: float, to_s: float) -> Figure:
    """
    The median of the tree's RSS over a time in which nothing should happen.

    Its error says how far the RSS strayed meanwhile: from the least to the largest reading.

    Kernel source: statm, every tick. Of several processes what they share is taken off as it is at the peak, so that
    the two compare.

    Args:
        measurement: Of the run, its timeline included.
        from_s: When that time began, from the start of the root.
        to_s: When it ended.
    """
    import numpy as np

    timeline = measurement.timeline
    inside = (timeline.t_s >= from_s) & (timeline.t_s <= to_s)
    if not inside.any():
        return Figure(None, "unavailable", _SOURCE, note=f"no reading from {from_s:.3f} to {to_s:.3f} s")
    middle = round(float(np.median(timeline.track("statm")["rss_last"][inside])))
    note = "the median of a time, its error the least and the largest reading"
    shared_bytes = _shared_bytes(measurement)
    if shared_bytes:
        note += "; less what its processes share at their peak, and the error by so much more"
    return Figure(
        max(0, middle - shared_bytes),
        "bounded",
        _SOURCE,
        error_bytes=max(0, int(timeline.rss_bytes[inside].max()) - middle) + shared_bytes,
        over_bytes=max(0, middle - int(timeline.rss_min_bytes[inside].min())),
        note=note,
    )


def _shared_bytes(measurement: Measurement) -> int:
    """By how much the sum of RSS, in which a shared page counts once a process, exceeds the peak."""
    sum_bytes, peak_bytes = measurement.tree_peak_rss_sum.bytes, measurement.peak.bytes
    if measurement.max_alive <= 1 or sum_bytes is None or peak_bytes is None:
        return 0
    return max(0, sum_bytes - peak_bytes)


def left_over(after: Figure, timeline: Timeline, before_s: float) -> Figure:
    """
    How much more a program holds after its tasks than it did before them; less than nothing counts as nothing.

    Args:
        after: The plateau behind the last task's end.
        timeline: Of the run.
        before_s: The last moment before the first task, from the start of the root.
    """
    if after.bytes is None:
        return after
    # That it is ready is heard some time after it said so, and the first tasks may have begun by then.
    readings = timeline.track("statm")["rss_last"]
    heard, surely = (int((timeline.t_s <= at_s).sum()) for at_s in (before_s, before_s - _HEARING_S))
    if not surely:
        return Figure(None, "unavailable", _SOURCE, note=f"no reading in the {before_s:.3f} s before the first task")
    before, perhaps = int(readings[surely - 1]), int(readings[heard - 1])
    return Figure(
        max(0, after.bytes - before),
        after.status,
        _SOURCE,
        error_bytes=after.error_bytes + max(0, before - perhaps),
        over_bytes=after.over_bytes + max(0, perhaps - before),
        note="the median after all tasks less the last reading before the first",
    )
