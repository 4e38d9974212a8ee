"""Figures from a run's timeline besides its peak: the memory of the steady time, and the memory left over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from concmem.model import Figure, Measurement

if TYPE_CHECKING:
    from concmem.timeline import Timeline

__all__ = ["left_over", "plateau"]

_SOURCE = "statm"
_ARRIVAL_S = 0.01


def plateau(measurement: Measurement, from_s: float, to_s: float) -> Figure:
    """
    Return the median of the tree's RSS over the steady time.

    Its error is the distance to the smallest and the largest reading.

    Kernel source: statm, every tick. With several processes, the memory that they share at the peak is subtracted, so
    that plateau and peak compare.

    Args:
        measurement: The measurement of the run, with its timeline.
        from_s: The begin of the steady time, from the start of the root.
        to_s: Its end.
    """
    import numpy as np

    timeline = measurement.timeline
    inside = (timeline.t_s >= from_s) & (timeline.t_s <= to_s)
    if not inside.any():
        return Figure(None, "unavailable", _SOURCE, note=f"no reading from {from_s:.3f} to {to_s:.3f} s")
    middle = round(float(np.median(timeline.track("statm")["rss_last"][inside])))
    note = "the median over the steady time; its error is the smallest and the largest reading"
    shared_bytes = _shared_bytes(measurement)
    if shared_bytes:
        note += "; memory that the processes share at the peak is subtracted, and added to the error"
    return Figure(
        max(0, middle - shared_bytes),
        "bounded",
        _SOURCE,
        error_bytes=max(0, int(timeline.rss_bytes[inside].max()) - middle) + shared_bytes,
        over_bytes=max(0, middle - int(timeline.rss_min_bytes[inside].min())),
        note=note,
    )


def _shared_bytes(measurement: Measurement) -> int:
    """Return by how much the sum of RSS, which counts a shared page once for each process, exceeds the peak."""
    sum_bytes, peak_bytes = measurement.tree_peak_rss_sum.bytes, measurement.peak.bytes
    if measurement.max_alive <= 1 or sum_bytes is None or peak_bytes is None:
        return 0
    return max(0, sum_bytes - peak_bytes)


def left_over(after: Figure, timeline: Timeline, before_s: float) -> Figure:
    """
    Return how much more memory a program holds after its tasks than before them, at least 0.

    Args:
        after: The plateau after the end of the last task.
        timeline: The timeline of the run.
        before_s: The last moment before the first task, from the start of the root.
    """
    if after.bytes is None:
        return after
    # The line "ready" arrives some time after it was printed, and the first tasks may have begun by then.
    readings = timeline.track("statm")["rss_last"]
    until_arrival, until_printed = (int((timeline.t_s <= at_s).sum()) for at_s in (before_s, before_s - _ARRIVAL_S))
    if not until_printed:
        return Figure(None, "unavailable", _SOURCE, note=f"no reading in the {before_s:.3f} s before the first task")
    before, at_arrival = int(readings[until_printed - 1]), int(readings[until_arrival - 1])
    return Figure(
        max(0, after.bytes - before),
        after.status,
        _SOURCE,
        error_bytes=after.error_bytes + max(0, before - at_arrival),
        over_bytes=after.over_bytes + max(0, at_arrival - before),
        note="the median after all tasks, less the last reading before the first task",
    )
