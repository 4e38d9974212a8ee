"""
Compute what a tree needed at most: the sum of high-water marks of processes that can have been alive together.

Two kinds of processes need care. What a process held at its end, or before an exec, is part of no mark that was read
while it ran. ``ru_maxrss`` has both, if the sampler reaped it. An exit record has the former, and shows whether there
was an exec. In all other cases the process counts as the largest process: its own size is part of the ``ru_maxrss`` of
its ancestors, so it was not larger. While it certainly executed no other program, the marks that were read suffice. A
process that started and ended between two ticks has used up a PID. The number of such PIDs bounds the number of such
processes, and each counts as the largest process too.
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
    if marks.exit_record_bytes is not None and not marks.has_executed:
        yield marks.since_s, marks.end_s, marks.own_bytes
        return
    most_bytes = max(marks.own_bytes, largest_bytes if marks.maxrss_bytes is None else marks.maxrss_bytes)
    known_since_s, known_until_s = marks.program_since_s, marks.program_until_s
    if known_until_s <= known_since_s:
        yield marks.since_s, marks.end_s, most_bytes
        return
    if known_since_s > marks.since_s:
        yield marks.since_s, known_since_s, most_bytes
    yield known_since_s, known_until_s, marks.read_bytes
    if marks.end_s > known_until_s:
        yield known_until_s, marks.end_s, most_bytes


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
