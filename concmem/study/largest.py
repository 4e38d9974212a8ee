"""The largest number of tasks that does run, where a planned one cannot for a limit of the machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import attrs

from concmem.study.place import Made
from concmem.study.plan import Cell, Plan
from concmem.study.records import Run

__all__ = ["Sought", "guesses", "seek", "sought"]

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
        alive: How many of its threads were seen alive at once in that.
        above: The largest number that did run.
    """

    program: str
    instead_of: int
    alive: int
    above: int


def sought(plan: Plan, runs: Iterable[Run], programs: Collection[str]) -> list[Sought]:
    """
    For which of these programs it is worth looking: those of which a planned number was tried, failed in every run, and
    had more threads alive meanwhile than any number that did run; and whose largest has not all its runs yet.
    """
    made = list(runs)
    found = []
    for program in (name for name in plan.programs if name in programs):
        own = [run for run in made if run.program == program and run.tasks in plan.tasks]
        good = {run.tasks for run in own if run.status == "ok"}
        failed = [run for run in own if run.status == "failed" and run.tasks not in good]
        if not failed:
            continue
        least = min(run.tasks for run in failed)
        alive = max(run.alive or 0 for run in failed)
        above = max((tasks for tasks in good if tasks < least), default=1)
        complete = sum(run.program == program and run.instead_of == least for run in made) >= plan.runs_of(least)
        if alive > above and not complete:
            found.append(Sought(program, least, min(alive, least), above))
    return found


def guesses(wanted: Sought) -> Iterator[int]:
    """Numbers to try, in two significant digits: a little below what was alive, and down from there."""
    tasks = wanted.alive * _BELOW
    for _ in range(_GUESSES):
        unit = 10 ** max(0, len(str(int(tasks))) - 2)
        rounded = int(tasks) // unit * unit
        if rounded <= wanted.above:
            return
        yield rounded
        tasks = rounded * _STEP


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
