"""
What a tree cannot have exceeded: the high-water marks of all who can have been alive at once, summed.

Two kinds of processes need care. One that was seen may have grown after its mark was last read; where the sampler or
an exit record told of its end, that is known, and else it is no larger than the largest process of all, which its
ancestors' ``ru_maxrss`` tells. And one that came and went between two ticks has left its number: so many may have been
there, and none was larger than that either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from concmem._figures.process import Marks

__all__ = ["Unseen", "largest_sum_bytes"]

Unseen = tuple[float, float, int]
"""From when to when (seconds), and how many came and went at most."""

_Span = tuple[float, float, int]


def _spans(marks: Marks, largest_bytes: int) -> Iterator[_Span]:
    """What one process can have held, and when."""
    begin_s = marks.since_s
    if marks.exit_record_bytes is not None:
        at_end_bytes = marks.own_bytes
    elif marks.maxrss_bytes is not None:
        at_end_bytes = max(marks.read_bytes, marks.maxrss_bytes)
    else:
        at_end_bytes = max(marks.read_bytes, largest_bytes)
    if marks.hwm_read_s > 0:
        yield begin_s, marks.hwm_read_s, marks.read_bytes
        begin_s = marks.hwm_read_s
    yield begin_s, marks.end_s, at_end_bytes


def _largest_overlap_bytes(spans: Iterable[_Span]) -> int:
    events: list[tuple[float, int, int]] = []
    for begin_s, end_s, held_bytes in spans:
        events.append((begin_s, 1, held_bytes))
        events.append((max(begin_s, end_s), 0 if end_s > begin_s else 2, -held_bytes))
    events.sort()
    sum_bytes = most_bytes = 0
    for _, _, change_bytes in events:
        sum_bytes += change_bytes
        most_bytes = max(most_bytes, sum_bytes)
    return most_bytes


def largest_sum_bytes(processes: Sequence[Marks], unseen: Iterable[Unseen], largest_bytes: int) -> int:
    """
    The largest sum of what processes can have held at once, in bytes; but for the error of each of their marks.

    Args:
        processes: All that were seen.
        unseen: How many may have come and gone without being seen, and when.
        largest_bytes: What no process exceeded.
    """
    spans = [span for marks in processes for span in _spans(marks, largest_bytes)]
    spans += [(begin_s, end_s, count * largest_bytes) for begin_s, end_s, count in unseen]
    return _largest_overlap_bytes(spans)
