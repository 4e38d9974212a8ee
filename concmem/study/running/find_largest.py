"""The largest number of tasks that does run, where a planned one cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from concmem.study.plan import Cell, Plan
from concmem.study.running.backend import Made
from concmem.study.store.records import Run

__all__ = ["Sought", "guesses", "seek", "sought", "unmade"]

_BELOW = 0.98
_STEP = 0.9
_GUESSES = 5


@attrs.frozen
class Sought:
    """
    A program whose largest number of tasks is looked for.

    Attributes:
        program: Its name.
        instead_of: The least planned number that could not run.
        below: How many it can have at most, as far as is known.
        above: The largest number that did run.
    """

    program: str
    instead_of: int
    below: int
    above: int


def sought(plan: Plan, runs: Iterable[Run]) -> list[Sought]:
    """
    For which programs it is worth looking.

    Those of which no run of a planned number went well, and of which it is known how many they can have: threads that
    were alive meanwhile, else what fits below a limit of the machine. That must be more than any number that did run.
    Whose largest has all its runs already is not looked for again.
    """
    made = list(runs)
    found = []
    for program in plan.programs:
        own = [run for run in made if run.program == program and run.instead_of is None]
        good = {run.tasks for run in own if run.status == "ok"}
        least = min((run.tasks for run in own if run.tasks not in good and _most(run)), default=None)
        if least is None:
            continue
        below = min(least, max(_most(run) for run in own if run.tasks == least))
        above = max((tasks for tasks in good if tasks < least), default=1)
        complete = sum(run.program == program and run.instead_of == least for run in made) >= plan.runs_of(least)
        if below > above and not complete:
            found.append(Sought(program, least, below, above))
    return found


def _most(run: Run) -> int:
    """How many tasks of a run that did not go well there could be at once; 0 where nothing tells."""
    if run.alive is not None:
        return run.alive
    return run.obstacles[0].room if run.obstacles else 0


def guesses(wanted: Sought) -> Iterator[int]:
    """Numbers to try, in two significant digits: a little below what there can be, and down from there."""
    tasks = wanted.below * _BELOW
    for _ in range(_GUESSES):
        unit = 10 ** max(0, len(str(int(tasks))) - 2)
        rounded = int(tasks) // unit * unit
        if rounded <= wanted.above:
            return
        yield rounded
        tasks = rounded * _STEP


def unmade(plan: Plan, wanted: Sought, before: Iterable[Run]) -> list[Cell]:
    """The runs that are still to make of a program whose largest number is looked for, if the next guess is right."""
    there = [run for run in before if run.program == wanted.program and run.instead_of == wanted.instead_of]
    tasks = there[0].tasks if there else next(guesses(wanted), None)
    indexes = set(range(plan.runs_of(wanted.instead_of))) - {run.index for run in there}
    return [] if tasks is None else [Cell(wanted.program, tasks, index) for index in sorted(indexes)]


def seek(
    plan: Plan, wanted: Sought, before: Sequence[Run], make: Callable[[Cell], Made], store: Callable[[Made], None]
) -> None:
    """
    Find it, and make as many runs of it as the planned number was to have.

    Args:
        plan: The study's.
        wanted: What is looked for.
        before: Runs that are stored; what was found earlier is completed.
        make: Makes a run.
        store: Stores one that counts; guesses that fail do not.
    """
    there = [run for run in before if run.program == wanted.program and run.instead_of == wanted.instead_of]
    tasks = there[0].tasks if there else None
    for guess in () if there else guesses(wanted):
        made = make(Cell(wanted.program, guess, 0))
        if made.run.status == "ok":
            store(_marked(made, wanted))
            tasks, there = guess, [made.run]
            break
    if tasks is None:
        return
    for index in set(range(plan.runs_of(wanted.instead_of))) - {run.index for run in there}:
        store(_marked(make(Cell(wanted.program, tasks, index)), wanted))


def _marked(made: Made, wanted: Sought) -> Made:
    return attrs.evolve(made, run=attrs.evolve(made.run, instead_of=wanted.instead_of))
