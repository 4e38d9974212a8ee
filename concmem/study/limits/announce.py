"""This machine, and how many tasks there is room for on it: said before a study runs, or made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from concmem.drivers.programs import Program
from concmem.host import threads_on_machine
from concmem.study.limits.kinds import Limit, commands, limits_here, obstacles
from concmem.study.limits.lift import lifted
from concmem.study.running.backend import Order, Place, here
from concmem.units import format_count

__all__ = ["here_with_room"]


def here_with_room(programs: Collection[Program], *, lift: bool) -> Callable[[Order], AbstractContextManager[Place]]:
    """
    As `here`, and whoever watches the study is told which limits its largest number of tasks will meet.

    Args:
        programs: Those of the study.
        lift: Raise the limits as far as is needed for as long as the machine is the study's own; nobody else's study
            runs meanwhile, so that no other has them raised.
    """

    def limits() -> list[Limit]:
        return limits_here(programs, of_others=threads_on_machine())

    @contextmanager
    def room(order: Order) -> Iterator[None]:
        most = order.plan.tasks[-1]
        with ExitStack() as stack:
            if lift:
                for change in stack.enter_context(lifted(limits, most)):
                    order.note(f"raised until the study has ended: {change}")
            if met := obstacles(limits(), most):
                names = ", ".join(program.name for program in programs if program.mappings)
                order.note(f"{format_count(most)} tasks of {names} will not run: {'; '.join(map(str, met))}")
                if lifts := commands(met):
                    order.note(f"to let them run: {'; '.join(lifts)} (--lift-limits does it for one study)")
            yield

    return lambda order: here(order, room)
