"""This machine as the backend of a study: print the limits that the study will meet, or raise them first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from concmem.drivers.programs import Program
from concmem.host import threads_on_machine
from concmem.study.limits.kinds import Limit, commands, limits_here, obstacles
from concmem.study.limits.lift import raised_limits
from concmem.study.running.backend import Backend, StudyContext, local_backend
from concmem.units import format_count

__all__ = ["local_backend_with_limits"]


def local_backend_with_limits(
    programs: Collection[Program], *, lift: bool
) -> Callable[[StudyContext], AbstractContextManager[Backend]]:
    """
    Return `local_backend`, extended by a note of the limits that the study's largest number of tasks will meet.

    Args:
        programs: The programs of the study.
        lift: Raise the limits as far as needed while the study holds the machine lock. No other study runs in that
            time, so no other study runs with raised limits.
    """

    def limits() -> list[Limit]:
        return limits_here(programs, of_others=threads_on_machine())

    @contextmanager
    def announce_limits(context: StudyContext) -> Iterator[None]:
        most = context.plan.tasks[-1]
        with ExitStack() as stack:
            if lift:
                for change in stack.enter_context(raised_limits(limits, most)):
                    context.note(f"raised until the study ends: {change}")
            if narrow := obstacles(limits(), most):
                names = ", ".join(program.name for program in programs if program.mappings)
                context.note(f"{names} cannot run {format_count(most)} tasks: {'; '.join(map(str, narrow))}")
                if lifts := commands(narrow):
                    context.note(f"to raise the limits: {'; '.join(lifts)} (or --lift-limits, for this study only)")
            yield

    return lambda context: local_backend(context, announce_limits)
