"""How long the rest of a study will take."""

from __future__ import annotations

from collections.abc import Iterable

from concmem.study.plan import Cell, Plan
from concmem.study.store.records import Run

__all__ = ["Eta"]

_FIRST_GUESS_S = 0.5
_GUESS_PER_TASK_S = 5e-6


class Eta:
    """
    Learns from every run what a program needs beyond the planned sleep, and adds up the rest.

    A size that has not been seen yet is guessed in proportion to the largest smaller one of the same program.
    """

    def __init__(self, plan: Plan) -> None:
        self._sleep_s = plan.sleep_s
        self._over_s: dict[tuple[str, int], float] = {}

    def learn(self, run: Run, took_s: float) -> None:
        """Note that a run took so long, all attempts included."""
        self._over_s[run.program, run.tasks] = took_s - self._sleep_s

    def left_s(self, cells: Iterable[Cell]) -> float:
        """How long these runs will take together."""
        return sum(self.run_s(cell) for cell in cells)

    def run_s(self, cell: Cell, sleep_s: float | None = None) -> float:
        """How long a run will take, where its tasks sleep for so long; by default as planned."""
        longer_s = 0.0 if sleep_s is None else sleep_s - self._sleep_s
        return max(0.0, self._sleep_s + self._over(cell) + longer_s)

    def _over(self, cell: Cell) -> float:
        known = [tasks for program, tasks in self._over_s if program == cell.program and tasks <= cell.tasks]
        if not known:
            return _FIRST_GUESS_S + _GUESS_PER_TASK_S * cell.tasks
        nearest = max(known)
        over_s = self._over_s[cell.program, nearest]
        if nearest == cell.tasks or over_s <= 0:
            return over_s
        return over_s + _GUESS_PER_TASK_S * (cell.tasks - nearest)
