"""
Compute what a tree needed at most: the sum of high-water marks of processes that can have been alive together.

Two kinds of processes need care. A process may have grown after its high-water mark was last read. If the sampler
reaped it or received its exit record, its size at the end is known. Otherwise it counts as the largest process: its own
size is part of the ``ru_maxrss`` of its ancestors, so it was not larger. A process that started and ended between two
ticks has used up a PID. The number of such PIDs bounds the number of such processes, and each counts as the largest
process too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from concmem._figures.process import Marks

__all__ = ["Unseen", "largest_sum_bytes"]

Unseen = tuple[float, float, int]
"""Begin and end in seconds, and the largest number of processes that can have started and ended in between."""

_Span = tuple[float, float, int]


def _spans(marks: Marks, largest_bytes: int) -> Iterator[_Span]:
    """Yield what one process can have held, and when."""
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
    Return the largest sum of what processes can have held at once, in bytes, without the error of their marks.

    Args:
        processes: All processes that were seen.
        unseen: When processes may have started and ended without being seen, and how many.
        largest_bytes: The size of the largest process, or more.
    """
    spans = [span for marks in processes for span in _spans(marks, largest_bytes)]
    spans += [(begin_s, end_s, count * largest_bytes) for begin_s, end_s, count in unseen]
    return _largest_overlap_bytes(spans)
