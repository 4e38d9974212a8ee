from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from concmem.report.charts.study import finding
from concmem.report.page.sentences import bars_title, headline
from concmem.study import Study, rows
from concmem.study.judging.verdicts import Span, largest, least

Make = Callable[..., Study]


@pytest.mark.parametrize(
    ("spans", "low", "high"),
    [
        ([(1, 2), (3, 4)], [0], [1]),
        ([(1, 3), (3, 4), (5, 9)], [0, 1], [2]),
        ([(1, 9), (2, 3), (8, 9)], [0, 1], [0, 2]),
        ([(1, 1)], [0], [0]),
    ],
)
def test_which_may_be_least_and_largest(spans: list[tuple[float, float]], low: list[int], high: list[int]) -> None:
    """The result contains every index that may have the least or the largest value, and no other."""
    given = [Span(*each) for each in spans]
    assert (least(given), largest(given)) == (low, high)


def test_a_tie_has_no_winner(make_study: Make) -> None:
    """Programs within range and error of each other are named together in titles of charts and of the page."""
    study = make_study("tie", {("a", 1): [2.0, 2.2], ("b", 1): [2.1, 2.3], ("c", 1): [40.0, 40.0]})
    every = rows(study)
    assert finding(every) == "At 1 task, A and B need least: 2.10 MiB to 2.20 MiB; C most: 40.0 MiB"
    assert headline(every) == "1 task takes 2.10 MiB to 2.20 MiB in A and B, 40.0 MiB in C"
    assert finding(every[:2]) == "At 1 task, A and B do not differ clearly: 2.10 MiB to 2.20 MiB"
    by_error = [attrs.evolve(row, error_bytes=1 << 20) for row in rows(make_study("e", {("a", 1): [2], ("b", 1): [3]}))]
    assert finding(by_error) == "At 1 task, A and B do not differ clearly: 2.00 MiB to 3.00 MiB"


def test_ties_differ_between_sizes(make_study: Make) -> None:
    """A program that ties at one size and wins at another is not named as the winner of both."""
    cells = {("a", 1): [2.0], ("b", 1): [2.0], ("a", 1000): [90.0], ("b", 1000): [50.0]}
    assert bars_title(rows(make_study("few", cells))) == "A and B need least with 1 task, B with 1 000"
