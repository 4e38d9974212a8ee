"""Intervals of a median and of a ratio hold the truth as often as they say, with few runs and whatever the shape."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as oracle

from concmem import Figure
from concmem.comparison.intervals import MOST_EXACT, Sample, median_interval, p_value, ratio_interval

Values = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Values]

SETS = 2_000
SHAPES: dict[str, tuple[Draw, float]] = {
    "normal": (lambda random, n: random.normal(100, 5, n), 100.0),
    "skewed": (lambda random, n: 50 + random.lognormal(3, 0.8, n), 50 + math.exp(3)),
    "two humps": (lambda random, n: random.choice([100.0, 120.0], n) + random.normal(0, 1, n), 110.0),
}
"""How values are drawn, and the median of the distribution."""


def sample(*values: float) -> Sample:
    return Sample.exact(values)


def enough(held: int, sets: int, confidence: float) -> bool:
    """Return whether a share is not below what was claimed by more than three standard errors."""
    return held / sets >= confidence - 3 * math.sqrt(confidence * (1 - confidence) / sets)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("runs", [3, 5, 10])
def test_the_interval_of_a_median_holds_it_as_often_as_it_says(shape: str, runs: int) -> None:
    """Of 2,000 sets, and not much more often: with three runs in 75 %, not in 95 %."""
    draw, median = SHAPES[shape]
    random, held = np.random.default_rng(runs), 0
    for _ in range(SETS):
        interval = median_interval(Sample.exact(draw(random, runs).tolist()))
        assert interval is not None
        held += interval.holds(median)
    assert interval is not None
    assert enough(held, SETS, interval.confidence) and enough(SETS - held, SETS, 1 - interval.confidence)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("runs", [3, 5, 10])
def test_the_interval_of_a_ratio_holds_it_as_often_as_it_says(shape: str, runs: int) -> None:
    """Of 2,000 pairs of sets, one of which is 1.3 times as large; with three runs each in 90 %, not in 95 %."""
    draw, _ = SHAPES[shape]
    random, held = np.random.default_rng(runs), 0
    for _ in range(SETS):
        over, under = 1.3 * draw(random, runs), draw(random, runs)
        interval = ratio_interval(Sample.exact(over.tolist()), Sample.exact(under.tolist()))
        assert interval is not None
        held += interval.holds(1.3)
    assert interval is not None
    assert enough(held, SETS, interval.confidence) and enough(SETS - held, SETS, 1 - interval.confidence)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bootstrap_of_many_runs_holds_the_ratio(shape: str) -> None:
    """More than 25 runs on both sides."""
    draw, _ = SHAPES[shape]
    random, held = np.random.default_rng(1), 0
    for _ in range(40):
        over, under = 1.3 * draw(random, MOST_EXACT + 5), draw(random, MOST_EXACT + 1)
        interval = ratio_interval(Sample.exact(over.tolist()), Sample.exact(under.tolist()))
        assert interval is not None and interval.confidence == 0.95
        held += interval.holds(1.3)
    assert enough(held, 40, 0.95)


def test_errors_of_the_figures_are_inside() -> None:
    """Figures that are up to 3 % too small or 1 % too large: the intervals hold the truth as often as they say."""
    random, medians, ratios = np.random.default_rng(5), 0, 0

    def read(true: Values) -> Sample:
        error, over = random.uniform(0, 3, len(true)), random.uniform(0, 1, len(true))
        values = true + over * random.uniform(0, 1, len(true)) - error * random.uniform(0, 1, len(true))
        return Sample(tuple(values), tuple(values - over), tuple(values + error))

    for _ in range(SETS):
        one, other = random.normal(100, 0.5, 5), random.normal(110, 0.55, 5)
        median, ratio = median_interval(read(one)), ratio_interval(read(other), read(one))
        assert median is not None and ratio is not None
        medians += median.holds(100)
        ratios += ratio.holds(1.1)
    assert median is not None and ratio is not None
    assert enough(medians, SETS, median.confidence) and enough(ratios, SETS, ratio.confidence)


def test_the_confidence_is_the_true_one() -> None:
    """Three runs: 75 %; five: 15 of 16. Three against three: 90 %, because p cannot be below 0.1."""
    for runs, confidence in ((2, 0.5), (3, 0.75), (5, 0.9375), (6, 0.96875), (10, 1 - 22 / 1024)):
        interval = median_interval(sample(*range(1, runs + 1)))
        assert interval is not None and interval.confidence == confidence
    for one, other, least in ((3, 3, 0.9), (2, 2, 2 / 3), (4, 4, 1 - 2 / 70)):
        interval = ratio_interval(sample(*range(1, one + 1)), sample(*range(1, other + 1)))
        assert interval is not None and interval.confidence == pytest.approx(least)
    assert p_value([1, 2, 3], [4, 5, 6]) == pytest.approx(0.1)


def test_the_ends_are_values_of_runs() -> None:
    """Below six runs the interval is the range; with ten, all but one on each side. One run has none."""
    for values, low, high in (((5, 1, 3), 1, 3 + 2), (range(1, 11), 2, 9), ((7, 7, 7), 7, 7)):
        interval = median_interval(sample(*values))
        assert interval is not None and (interval.low, interval.high) == (low, high)
    assert median_interval(sample(5)) is None
    assert ratio_interval(sample(20), sample(10, 10)) is None and ratio_interval(sample(20, 20), sample(10)) is None


def test_both_sides_of_a_ratio_count() -> None:
    """If one side is constant, the interval is that of the other."""
    for over, under, low, high in (
        ((20, 20), (10, 10), 2, 2),
        ((20, 30, 40), (10, 10), 2, 4),
        ((20, 20), (5, 10, 20), 1, 4),
    ):
        interval = ratio_interval(sample(*over), sample(*under))
        assert interval is not None and (interval.low, interval.high) == (low, high)


def test_ends_of_figures() -> None:
    """The ends of a figure are its own; "or more" counts as it was read; a figure without bytes is left out."""
    figures = [
        Figure(100, "bounded", "statm", error_bytes=7, over_bytes=2),
        Figure(90, "sampled", "pss"),
        Figure(None, "unavailable", "statm", note="no reading"),
    ]
    assert Sample.of_figures(figures) == Sample((100, 90), (98, 90), (107, 90))
    interval = median_interval(Sample.of_figures(figures))
    assert interval is not None and (interval.low, interval.high) == (90, 107)


def test_a_ratio_to_what_may_be_nothing_has_no_upper_end() -> None:
    """The low end of a small figure may be 0."""
    small = Sample((4096.0,) * 30, (0.0,) * 30, (4096.0,) * 30)
    for runs in (3, 30):
        under = Sample(small.values[:runs], small.lows[:runs], small.highs[:runs])
        interval = ratio_interval(Sample.exact([8192.0] * runs), under)
        assert interval is not None and interval.low == 2 and interval.high == math.inf


@pytest.mark.parametrize(("one", "other"), [(2, 3), (3, 3), (5, 4), (8, 10), (20, 25)])
def test_the_p_value_is_that_of_scipy(one: int, other: int) -> None:
    """Rank sums without ties: the exact Mann-Whitney test. With ties: the permutation test of the same statistic."""
    random = np.random.default_rng(one)
    for _ in range(20):
        a, b = random.normal(0, 1, one), random.normal(0.5, 1, other)
        expected = oracle.mannwhitneyu(a, b, alternative="two-sided", method="exact").pvalue
        assert p_value(a.tolist(), b.tolist()) == pytest.approx(expected)
    if math.comb(one + other, one) > 500:
        return
    tied_a, tied_b = [1.0, 2.0, *[2.0] * (one - 2)], [2.0, *[3.0] * (other - 1)]

    def rank_sum(x: Values, y: Values, axis: int) -> Values:
        ranks: Values = oracle.rankdata(np.concatenate([x, y], axis=axis), axis=axis)
        return np.asarray(ranks[..., : x.shape[axis]].sum(axis=axis))

    expected = oracle.permutation_test((tied_a, tied_b), rank_sum, n_resamples=np.inf).pvalue
    assert p_value(tied_a, tied_b) == pytest.approx(expected)


@pytest.mark.parametrize(("one", "other"), [(25, 300), (300, 12), (20, 20)])
def test_many_runs_against_few(one: int, other: int) -> None:
    """The interval leaves out about as many pairs at each end as the normal distribution of the rank sums says."""
    interval = ratio_interval(Sample.exact(range(1, one + 1)), Sample.exact([1.0] * other))
    assert interval is not None and 0.95 <= interval.confidence < 0.96
    scatter = math.sqrt(one * other * (one + other + 1) / 12)
    left_out = (one * other / 2 - 1.96 * scatter) / other  # each value stands in the pairs once for each of the others
    assert interval.low == pytest.approx(left_out + 1, abs=1.5)


@pytest.mark.parametrize(("one", "other"), [(3, 3), (5, 5), (10, 10), (4, 7)])
def test_the_interval_is_what_the_test_does_not_refute(one: int, other: int) -> None:
    """Just inside of the ends the p-value is above 1 - confidence, just outside it is not."""
    random = np.random.default_rng(other)
    over, under = random.normal(130, 5, one), random.normal(100, 5, other)
    interval = ratio_interval(Sample.exact(over.tolist()), Sample.exact(under.tolist()))
    assert interval is not None
    for ratio, is_inside in (
        (interval.low * (1 + 1e-9), True),
        (interval.low * (1 - 1e-9), False),
        (interval.high * (1 - 1e-9), True),
        (interval.high * (1 + 1e-9), False),
    ):
        p = p_value((over / ratio).tolist(), under.tolist())
        assert (p > 1 - interval.confidence + 1e-12) == is_inside
