"""How a claim about figures is judged, where each figure is only known to lie between two ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from concmem.study.results.table import Row
from concmem.units import format_bytes, format_count

__all__ = ["Answer", "Cells", "Key", "Span", "at_least", "largest", "least", "median", "span"]

Key = tuple[str, int]
"""A program's name and a number of tasks."""

_TOLD = 2
"""So many obstacles are told in full."""


@attrs.frozen
class Span:
    """
    A quantity above 0 that lies somewhere between two ends.

    Attributes:
        low, high: The ends, in the quantity's unit.
    """

    low: float
    high: float

    def __truediv__(self, other: Span) -> Span:
        return Span(self.low / other.high, self.high / other.low)

    def within(self, low: float, high: float) -> bool | None:
        """Whether it lies between `low` and `high`, both excluded; None where only a part of it does."""
        if low < self.low and self.high < high:
            return True
        return False if self.high <= low or self.low >= high else None


def median(row: Row) -> int:
    """The median of a row that has a figure, in bytes."""
    assert row.median_bytes is not None
    return row.median_bytes


def span(row: Row) -> Span:
    """
    Where the figures of a row lie, in bytes: the range of its runs and, on both sides, the error that is known.

    By how much an ``or more`` can be exceeded nobody knows: it counts as it was read.
    """
    assert row.min_bytes is not None and row.max_bytes is not None
    return Span(max(1, row.min_bytes - row.over_bytes), row.max_bytes + row.error_bytes)


def least(spans: Sequence[Span]) -> list[int]:
    """The places of those that may be the least, in their order: several where their ranges overlap, which is a tie."""
    return [i for i, each in enumerate(spans) if all(each.low <= other.high for other in spans)]


def largest(spans: Sequence[Span]) -> list[int]:
    """The places of those that may be the largest, likewise."""
    return [i for i, each in enumerate(spans) if all(each.high >= other.low for other in spans)]


@attrs.frozen
class Answer:
    """
    Whether something holds.

    Attributes:
        holds: None where that cannot be told.
        obstacles: What stands in the way then.
    """

    holds: bool | None
    obstacles: tuple[str, ...] = ()

    @property
    def obstacle(self) -> str:
        """The obstacles in one sentence; of many the first, and how many more there are."""
        more = len(self.obstacles) - _TOLD
        return "; ".join(self.obstacles[:_TOLD]) + (f"; and {more} more such" if more > 0 else "")


def at_least(count: int, answers: Sequence[Answer]) -> Answer:
    """Whether `count` of the answers or more are yes, whatever those are that cannot be told."""
    if sum(answer.holds is True for answer in answers) >= count:
        return Answer(True)
    if sum(answer.holds is not False for answer in answers) < count:
        return Answer(False)
    every = (obstacle for answer in answers if answer.holds is None for obstacle in answer.obstacles)
    return Answer(None, tuple(dict.fromkeys(every)))


class Cells:
    """The rows of a study, found by program and number of tasks."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = {(row.program, row.tasks): row for row in rows}

    def row(self, key: Key) -> Row | None:
        """The row of a cell, with a figure or without; None where the study has none."""
        return self._rows.get(key)

    def good(self, *keys: Key) -> list[Row]:
        """The rows that have a figure to judge by, the one that needs least first."""
        return sorted((self._rows[key] for key in keys if not self.why_not(key)), key=median)

    def why_not(self, key: Key) -> str:
        """Why a cell has no figure to judge by; "" where it has one."""
        row = self.row(key)
        where = f"{key[0]} at {format_count(key[1])}"
        if row is None:
            return f"{where} is not in this study"
        if row.median_bytes is None:
            return f"{where}: {row.reason}"
        if row.is_busy:
            return f"{where}: all its runs were made while the machine was busy with other work"
        if row.program == "csharp" and row.toolchain.startswith("Mono "):
            return f"{where} ran on {row.toolchain}, whose figures say nothing about .NET"
        return ""

    def instead(self, program: str, other: str) -> Cells:
        """The same cells, with the figures of another program in the place of one's own."""
        replaced = [attrs.evolve(row, program=program) for row in self._rows.values() if row.program == other]
        return Cells([*(row for row in self._rows.values() if row.program not in (program, other)), *replaced])

    def ratio(self, one: Key, other: Key, low: float, high: float) -> Answer:
        """Whether `one` needs more than `low` times and less than `high` times what `other` needs."""
        if missing := [why for key in (one, other) if (why := self.why_not(key))]:
            return Answer(None, tuple(missing))
        dividend, divisor = self._rows[one], self._rows[other]
        holds = (span(dividend) / span(divisor)).within(low, high)
        ranges = f"{_ranged(dividend)}, {_ranged(divisor)}"
        return Answer(holds, () if holds is not None else (f"the ranges allow both: {ranges}",))

    def below(self, one: Key, other: Key) -> Answer:
        """Whether `one` needs less than `other`."""
        return self.ratio(one, other, 0, 1)


def _ranged(row: Row) -> str:
    ends = span(row)
    return f"{row.title} {format_bytes(ends.low)} to {format_bytes(ends.high)}"
