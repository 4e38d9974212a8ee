"""Search for the largest number of tasks that runs, if a planned number cannot run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from concmem.study.plan import Cell, Plan
from concmem.study.running.backend import FinishedRun
from concmem.study.store.records import Run

__all__ = ["Search", "find_searches", "guesses", "missing_cells", "run_search"]

_BELOW = 0.98
_STEP = 0.9
_GUESSES = 5


@attrs.frozen
class Search:
    """
    The search for the largest number of tasks of one program.

    Attributes:
        program: The program's name.
        instead_of: The smallest planned number that could not run.
        below: An upper end of the possible numbers.
        above: The largest number that ran.
    """

    program: str
    instead_of: int
    below: int
    above: int


def find_searches(plan: Plan, runs: Iterable[Run]) -> list[Search]:
    """
    Return the searches that are worth making.

    A program is searched if no run of a planned number succeeded, and a run shows how many tasks are possible: the
    threads that were alive, else the number that fits under a limit of the machine. This must be more than any number
    that ran. Programs whose largest number already has all its runs are skipped.
    """
    runs = list(runs)
    searches = []
    for program in plan.programs:
        planned = [run for run in runs if run.program == program and run.instead_of is None]
        good = {run.tasks for run in planned if run.status == "ok"}
        least = min((run.tasks for run in planned if run.tasks not in good and _possible_tasks(run)), default=None)
        if least is None:
            continue
        below = min(least, max(_possible_tasks(run) for run in planned if run.tasks == least))
        above = max((tasks for tasks in good if tasks < least), default=1)
        complete = sum(run.program == program and run.instead_of == least for run in runs) >= plan.runs_of(least)
        if below > above and not complete:
            searches.append(Search(program, least, below, above))
    return searches


def _possible_tasks(run: Run) -> int:
    """Return how many tasks a run that failed or was skipped could have at once; 0 if unknown."""
    if run.alive is not None:
        return run.alive
    return run.obstacles[0].room if run.obstacles else 0


def guesses(search: Search) -> Iterator[int]:
    """Yield the numbers to try, in two significant digits: just below the upper end, then a tenth less each time."""
    tasks = search.below * _BELOW
    for _ in range(_GUESSES):
        unit = 10 ** max(0, len(str(int(tasks))) - 2)
        rounded = int(tasks) // unit * unit
        if rounded <= search.above:
            return
        yield rounded
        tasks = rounded * _STEP


def missing_cells(plan: Plan, search: Search, earlier_runs: Iterable[Run]) -> list[Cell]:
    """Return the runs that a search still has to make if its next guess succeeds."""
    stored = _runs_of(search, earlier_runs)
    tasks = stored[0].tasks if stored else next(guesses(search), None)
    indexes = set(range(plan.runs_of(search.instead_of))) - {run.index for run in stored}
    return [] if tasks is None else [Cell(search.program, tasks, index) for index in sorted(indexes)]


def run_search(
    plan: Plan,
    search: Search,
    earlier_runs: Sequence[Run],
    make: Callable[[Cell], FinishedRun],
    store: Callable[[FinishedRun], None],
) -> None:
    """
    Find the largest number, and make as many runs of it as were planned for the number that could not run.

    Args:
        plan: The study's plan.
        search: The search.
        earlier_runs: The stored runs; if the number was found earlier, only the missing runs are made.
        make: Makes a run.
        store: Stores a run of the number that was found. Failed guesses are not stored.
    """
    stored = _runs_of(search, earlier_runs)
    tasks = stored[0].tasks if stored else None
    for guess in () if stored else guesses(search):
        finished = make(Cell(search.program, guess, 0))
        if finished.run.status == "ok":
            store(_marked(finished, search))
            tasks, stored = guess, [finished.run]
            break
    if tasks is None:
        return
    for index in set(range(plan.runs_of(search.instead_of))) - {run.index for run in stored}:
        store(_marked(make(Cell(search.program, tasks, index)), search))


def _runs_of(search: Search, runs: Iterable[Run]) -> list[Run]:
    return [run for run in runs if run.program == search.program and run.instead_of == search.instead_of]


def _marked(finished: FinishedRun, search: Search) -> FinishedRun:
    return attrs.evolve(finished, run=attrs.evolve(finished.run, instead_of=search.instead_of))
