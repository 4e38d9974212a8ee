"""Judge a claim about figures that are known only as ranges."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from concmem.study.results.row import Row
from concmem.units import format_bytes, format_count

__all__ = ["Answer", "Cells", "Key", "Span", "at_least", "largest", "least", "median", "span"]

Key = tuple[str, int]
"""A program's name and a number of tasks."""

_NOT_DOTNET = "Mono"
"""The toolchain of C# that is not .NET."""
_SHOWN = 2
"""How many obstacles are shown; the others are counted."""


@attrs.frozen
class Span:
    """
    A quantity above 0 between two ends.

    Attributes:
        low, high: The ends, in the quantity's unit.
    """

    low: float
    high: float

    def __truediv__(self, other: Span) -> Span:
        return Span(self.low / other.high, self.high / other.low)

    def within(self, low: float, high: float) -> bool | None:
        """Return whether it lies between `low` and `high`, both excluded; None if only a part of it does."""
        if low < self.low and self.high < high:
            return True
        return False if self.high <= low or self.low >= high else None


def median(row: Row) -> int:
    """Return the median of a row with a figure, in bytes."""
    assert row.median_bytes is not None
    return row.median_bytes


def span(row: Row) -> Span:
    """
    Return the range of a row's runs in bytes, made wider on both sides by the known error.

    The error of an ``or more`` is unknown, so it counts as it was read.
    """
    assert row.min_bytes is not None and row.max_bytes is not None
    return Span(max(1, row.min_bytes - row.over_bytes), row.max_bytes + row.error_bytes)


def least(spans: Sequence[Span]) -> list[int]:
    """Return the indexes of the spans that may be the smallest: several if they overlap, which is a tie."""
    return [i for i, each in enumerate(spans) if all(each.low <= other.high for other in spans)]


def largest(spans: Sequence[Span]) -> list[int]:
    """Return the indexes of the spans that may be the largest, likewise."""
    return [i for i, each in enumerate(spans) if all(each.high >= other.low for other in spans)]


@attrs.frozen
class Answer:
    """
    Whether something holds.

    Attributes:
        holds: True, False, or None if the figures do not decide it.
        obstacles: Why they do not decide it.
    """

    holds: bool | None
    obstacles: tuple[str, ...] = ()

    @property
    def obstacle(self) -> str:
        """The first obstacles and the number of the others, in one line."""
        more = len(self.obstacles) - _SHOWN
        return "; ".join(self.obstacles[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def at_least(count: int, answers: Sequence[Answer]) -> Answer:
    """Return whether `count` or more of the answers are yes; None if that depends on answers that are unknown."""
    if sum(answer.holds is True for answer in answers) >= count:
        return Answer(True)
    if sum(answer.holds is not False for answer in answers) < count:
        return Answer(False)
    reasons = (obstacle for answer in answers if answer.holds is None for obstacle in answer.obstacles)
    return Answer(None, tuple(dict.fromkeys(reasons)))


class Cells:
    """The rows of a study by program and number of tasks."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = {(row.program, row.tasks): row for row in rows}

    def row(self, key: Key) -> Row | None:
        """Return the row of a cell, with or without a figure; None if the study has no such cell."""
        return self._rows.get(key)

    def good(self, *keys: Key) -> list[Row]:
        """Return the rows with a figure to judge by, the smallest first."""
        return sorted((self._rows[key] for key in keys if not self.why_not(key)), key=median)

    def why_not(self, key: Key) -> str:
        """Say why a cell has no figure to judge by; return "" if it has one."""
        row = self.row(key)
        where = f"{key[0]} at {format_count(key[1])}"
        if row is None:
            return f"{where} is not in this study"
        if row.median_bytes is None:
            return f"{where}: {row.reason}"
        if row.is_busy:
            return f"{where}: all its runs were made while the machine was busy with other work"
        if row.program == "csharp" and row.toolchain_name == _NOT_DOTNET:
            return f"{where} ran on {row.toolchain}, whose figures say nothing about .NET"
        return ""

    def with_replaced(self, program: str, other: str) -> Cells:
        """Return the same cells, with the figures of `other` in place of those of `program`."""
        replaced = [attrs.evolve(row, program=program) for row in self._rows.values() if row.program == other]
        return Cells([*(row for row in self._rows.values() if row.program not in (program, other)), *replaced])

    def ratio(self, one: Key, other: Key, low: float, high: float) -> Answer:
        """Return whether `one` needs more than `low` times and less than `high` times what `other` needs."""
        if missing := [why for key in (one, other) if (why := self.why_not(key))]:
            return Answer(None, tuple(missing))
        dividend, divisor = self._rows[one], self._rows[other]
        holds = (span(dividend) / span(divisor)).within(low, high)
        ranges = f"{_range_of(dividend)}, {_range_of(divisor)}"
        return Answer(holds, () if holds is not None else (f"the ranges allow both answers: {ranges}",))

    def below(self, one: Key, other: Key) -> Answer:
        """Return whether `one` needs less than `other`."""
        return self.ratio(one, other, 0, 1)


def _range_of(row: Row) -> str:
    ends = span(row)
    return f"{row.title} {format_bytes(ends.low)} to {format_bytes(ends.high)}"
