"""Find the least and the largest of several ranges, with ties, and put them into words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from concmem.report.sentences import number_of
from concmem.study import Row
from concmem.study.judging.verdicts import Span, largest, least, span

__all__ = ["Standing", "by_run", "ends", "in_words", "named", "need", "not_in_order", "of_rows"]

_NAMED = 4
"""The largest number of names that are listed."""


@attrs.frozen
class Standing:
    """
    The amount of one program, to compare.

    Attributes:
        title: The title of the program.
        amount: The median.
        span: The range of the runs, widened by the error of each run.
    """

    title: str
    amount: float
    span: Span


def of_rows(rows: Sequence[Row]) -> list[Standing]:
    """Return the peaks of rows, least median first."""
    found = [Standing(row.title, row.median_bytes, span(row)) for row in rows if row.median_bytes is not None]
    return sorted(found, key=lambda each: each.amount)


def by_run(
    rows: Sequence[Row], runs: Mapping[tuple[str, int], Sequence[Row]], of: Callable[[Row], float | None]
) -> list[Standing]:
    """
    Return a quantity other than the peak for each row, least first.

    Args:
        rows: The rows.
        runs: The rows of single runs, by program and number of tasks, as from `concmem.study.rows_of_runs`.
        of: Returns the quantity of a row, or None.
    """
    found = []
    for row in rows:
        if (amount := of(row)) is not None:
            values = [value for each in runs.get((row.program, row.tasks), ()) if (value := of(each)) is not None]
            found.append(Standing(row.title, amount, Span(min([amount, *values]), max([amount, *values]))))
    return sorted(found, key=lambda each: each.amount)


def ends(standings: Sequence[Standing]) -> tuple[list[Standing], list[Standing]] | None:
    """Return those that may be least and those that may be largest, or None if the two groups overlap."""
    spans = [each.span for each in standings]
    low, high = least(spans), largest(spans)
    if len(standings) < 2 or set(low) & set(high):
        return None
    return [standings[i] for i in low], [standings[i] for i in high]


def named(tied: Sequence[Standing]) -> str:
    """Join titles: ``A``, ``A and B``, ``A, B, C and 3 more``."""
    titles = [each.title for each in tied]
    if len(titles) > _NAMED:
        titles = [*titles[: _NAMED - 1], f"{len(titles) - _NAMED + 1} more"]
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"


def need(tied: Sequence[Standing], verb: str = "need") -> str:
    """Return the names with the verb in singular or plural."""
    return f"{named(tied)} {verb}{'s' if len(tied) == 1 else ''}"


def in_words(tied: Sequence[Standing], text: Callable[[float], str]) -> str:
    """Return their amounts as text: one, or from the least to the largest."""
    amounts = sorted(each.amount for each in tied)
    texts = dict.fromkeys(text(amount) for amount in (amounts[0], amounts[-1]))
    return " to ".join(texts)


def not_in_order(standings: Sequence[Standing], tasks: int, text: Callable[[float], str]) -> str:
    """Return the sentence for programs without two separate groups (`ends` is None)."""
    return f"At {number_of(tasks)}, {named(standings)} do not differ clearly: {in_words(standings, text)}"
