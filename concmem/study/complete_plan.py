"""Complete a plan: the programs that it selects, and the seed of their order."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import attrs

from concmem.drivers import programs as drivers
from concmem.study.plan import Plan, StudyError
from concmem.study.store.directory import Store

__all__ = ["add_programs_and_seed"]


def add_programs_and_seed(plan: Plan, store: Store, *, resume: bool) -> tuple[Plan, dict[str, drivers.Program]]:
    """
    Return the plan with its programs named and a seed, and these programs by name.

    With `resume`, programs and seed that the plan does not give are those of the stored study.

    Raises:
        InvalidRequest: There is no such program.
        StudyError: A selected program does not have the workload; with `resume`: there is no study in the store, or
            its plan differs.
        RecordingError: With `resume`: the study cannot be read.
    """
    plan = attrs.evolve(plan, programs_dirs=tuple(str(Path(folder).resolve()) for folder in plan.programs_dirs))
    known = drivers.load_programs([Path(folder) for folder in plan.programs_dirs])
    if resume:
        stored = store.plan()
        plan = attrs.evolve(plan, programs=plan.programs or stored.programs, seed=_or(plan.seed, stored.seed))
    plan = attrs.evolve(plan, programs=_select(plan, known), seed=_or(plan.seed, secrets.randbits(32)))
    if resume:
        store.check_same_plan(plan)
    return plan, {name: known[name] for name in plan.programs}


def _or(value: int | None, default: int | None) -> int | None:
    return default if value is None else value


def _select(plan: Plan, known: Mapping[str, drivers.Program]) -> tuple[str, ...]:
    """Return the names of the programs that the plan selects, in the order in which programs are listed everywhere."""
    selected = drivers.choose(known, plan.programs, plan.variants)
    able = tuple(name for name, program in selected.items() if plan.workload in program.workloads)
    unable = [name for name in plan.programs if name in selected and name not in able]
    if unable or not able:
        have_it = ", ".join(name for name, program in known.items() if plan.workload in program.workloads)
        names = ", ".join(unable) or "the selected programs"
        verb = "has" if len(unable) == 1 else "have"
        raise StudyError(f"{names} {verb} no workload {plan.workload!r}; programs that have it: {have_it}")
    return able
