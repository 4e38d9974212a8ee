"""Fits of numbers with a known result."""

from __future__ import annotations

import numpy as np
import pytest

from concmem.study.stats import cost


def test_a_line_without_noise_is_fitted_exactly() -> None:
    """A floor of 30 MiB and 430 bytes per task."""
    line = {n: (30 << 20) + 430 * n for n in (1, 10_000, 100_000, 1_000_000)}
    result = cost(line)
    assert result is not None
    assert result.floor_bytes == pytest.approx(30 << 20, rel=1e-6) and result.each_bytes == pytest.approx(430, rel=1e-6)
    assert result.worst < 1e-6 and result.tasks == tuple(line)
    assert result.each_low_bytes is not None and result.each_high_bytes is not None
    assert result.each_high_bytes - result.each_low_bytes < 1


def test_a_small_cell_counts_as_much_as_a_large_one() -> None:
    """Twenty percent too much at a million change the floor little; in bytes alone they would change it much."""
    line = {n: (2 << 20) + 400 * n for n in (1, 10_000, 100_000)} | {1_000_000: round(1.2 * ((2 << 20) + 400e6))}
    result = cost(line)
    assert result is not None and result.floor_bytes == pytest.approx(2 << 20, rel=0.1)
    assert result.each_low_bytes is not None and result.each_high_bytes is not None
    assert result.each_low_bytes < 400 < result.each_high_bytes and 0.05 < result.worst < 0.2


@pytest.mark.parametrize("cells", [{1: 100, 1000: 90, 1_000_000: 50_000}, {1: 100, 1000: 5000, 2000: 40_000}])
def test_no_floor_is_above_one_task_and_no_memory_below_0(cells: dict[int, int]) -> None:
    """With less memory for more tasks, or ever more for each task, floor and intervals stay possible."""
    result = cost(cells)
    assert result is not None and 0 <= result.floor_bytes <= cells[1] and result.each_bytes > 0
    assert result.floor_low_bytes is not None and result.floor_high_bytes is not None
    assert 0 <= result.floor_low_bytes <= result.floor_bytes <= result.floor_high_bytes
    assert result.each_low_bytes is not None and 0 <= result.each_low_bytes <= result.each_bytes


def test_a_bounded_line_is_the_nearest() -> None:
    """With the floor at its bound, no other cost of a task brings the line nearer to the cells."""
    cells = {1: 100, 1000: 250, 10_000: 1500, 1_000_000: 120_000}
    result = cost(cells)
    assert result is not None and result.floor_bytes == 100

    def distance(each: float) -> float:
        return sum(((100 + each * tasks) / needed - 1) ** 2 for tasks, needed in cells.items())

    assert distance(result.each_bytes) < min(distance(result.each_bytes * part) for part in (0.99, 1.01))


def test_intervals_of_noisy_lines_hold_the_true_values() -> None:
    """With 3 % of noise in five cells, the intervals hold floor and cost in at least 85 % of the cases."""
    random, floors, prices = np.random.default_rng(3), 0, 0
    for _ in range(200):
        noisy = {n: round(((5 << 20) + 300 * n) * random.normal(1, 0.03)) for n in (1, 3000, 10_000, 100_000, 10**6)}
        result = cost(noisy)
        assert result is not None and result.floor_low_bytes is not None and result.floor_high_bytes is not None
        assert result.each_low_bytes is not None and result.each_high_bytes is not None
        floors += result.floor_low_bytes <= 5 << 20 <= result.floor_high_bytes
        prices += result.each_low_bytes <= 300 <= result.each_high_bytes
    assert floors >= 170 and prices >= 170


def test_intervals_contain_the_errors_of_the_figures() -> None:
    """With figures that are all 2 % too small, the interval holds the true cost; without the errors it does not."""
    true = {n: (1 << 20) + 500 * n for n in (1, 10_000, 100_000, 1_000_000)}
    read = {n: round(needed * 0.98) for n, needed in true.items()}
    without, result = cost(read), cost(read, {n: true[n] - read[n] for n in true})
    assert without is not None and without.each_high_bytes is not None and without.each_high_bytes < 500
    assert result is not None and result.each_low_bytes is not None and result.each_high_bytes is not None
    assert result.each_low_bytes < 500 <= result.each_high_bytes * (1 + 1e-9) and result.each_high_bytes < 520


def test_two_cells_have_a_line_and_no_interval() -> None:
    """Every two points have a line; one point has none."""
    result = cost({1: 1000, 101: 2000})
    assert result is not None and result.each_bytes == pytest.approx(10) and result.each_low_bytes is None
    assert cost({1: 1000}) is None and cost({}) is None
