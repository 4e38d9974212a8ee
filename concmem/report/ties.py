"""Which of several are least and largest, where ranges and errors may leave a tie, and how that is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from concmem.report.sentences import number_of
from concmem.study import Row
from concmem.study.judging.verdicts import Span, largest, least, span

__all__ = ["Standing", "by_run", "ends", "in_words", "named", "need", "not_in_order", "of_rows"]

_NAMED = 4
"""So many names stand in full."""


@attrs.frozen
class Standing:
    """
    What is compared of one program.

    Attributes:
        title: Of the program.
        amount: The median.
        span: Between which ends it lies, by the range of the runs and the error of each.
    """

    title: str
    amount: float
    span: Span


def of_rows(rows: Sequence[Row]) -> list[Standing]:
    """The peaks of rows, least median first."""
    found = [Standing(row.title, row.median_bytes, span(row)) for row in rows if row.median_bytes is not None]
    return sorted(found, key=lambda each: each.amount)


def by_run(
    rows: Sequence[Row], runs: Mapping[tuple[str, int], Sequence[Row]], of: Callable[[Row], float | None]
) -> list[Standing]:
    """
    Any other quantity of rows.

    Args:
        rows: The rows.
        runs: The rows of single runs, by program and number of tasks, as `concmem.study.rows_of_runs` gives them.
        of: The quantity of a row; None where it has none.
    """
    found = []
    for row in rows:
        if (amount := of(row)) is not None:
            values = [value for each in runs.get((row.program, row.tasks), ()) if (value := of(each)) is not None]
            found.append(Standing(row.title, amount, Span(min([amount, *values]), max([amount, *values]))))
    return sorted(found, key=lambda each: each.amount)


def ends(standings: Sequence[Standing]) -> tuple[list[Standing], list[Standing]] | None:
    """Those that may be least and those that may be largest; None where that is not two groups."""
    spans = [each.span for each in standings]
    low, high = least(spans), largest(spans)
    if len(standings) < 2 or set(low) & set(high):
        return None
    return [standings[i] for i in low], [standings[i] for i in high]


def named(tied: Sequence[Standing]) -> str:
    """``A``, ``A and B``, ``A, B, C and 3 more``."""
    titles = [each.title for each in tied]
    if len(titles) > _NAMED:
        titles = [*titles[: _NAMED - 1], f"{len(titles) - _NAMED + 1} more"]
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def need(tied: Sequence[Standing], verb: str = "need") -> str:
    """The names with the verb in the right number."""
    return f"{named(tied)} {verb}{'s' if len(tied) == 1 else ''}"


def in_words(tied: Sequence[Standing], text: Callable[[float], str]) -> str:
    """Their amounts: one, or from the least to the largest."""
    amounts = sorted(each.amount for each in tied)
    texts = dict.fromkeys(text(amount) for amount in (amounts[0], amounts[-1]))
    return " to ".join(texts)


def not_in_order(standings: Sequence[Standing], tasks: int, text: Callable[[float], str]) -> str:
    """What is said where `ends` finds no two groups."""
    return f"At {number_of(tasks)}, {named(standings)} cannot be told apart: {in_words(standings, text)}"
