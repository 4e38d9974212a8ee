"""A plan with all that a study needs: which programs are meant, and the seed of their order."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

import attrs

from concmem.drivers import programs as drivers
from concmem.study.plan import Plan, StudyError
from concmem.study.store.directory import Store

__all__ = ["complete_plan"]


def complete_plan(plan: Plan, store: Store, *, resume: bool) -> tuple[Plan, dict[str, drivers.Program]]:
    """
    A plan that names its programs and has a seed, and these programs; a study that is resumed has its own of both.

    Raises:
        InvalidRequest: There is no such program.
        StudyError: No program has the workload; with `resume`: there is no study, or one with another plan.
        RecordingError: With `resume`: the study cannot be read.
    """
    plan = attrs.evolve(plan, programs_dirs=tuple(str(Path(folder).resolve()) for folder in plan.programs_dirs))
    found = drivers.load_programs([Path(folder) for folder in plan.programs_dirs])
    if resume:
        stored = store.plan()
        plan = attrs.evolve(plan, programs=plan.programs or stored.programs, seed=_or(plan.seed, stored.seed))
    plan = attrs.evolve(plan, programs=_chosen(plan, found), seed=_or(plan.seed, secrets.randbits(32)))
    if resume:
        store.check(plan)
    return plan, {name: found[name] for name in plan.programs}


def _or(given: int | None, otherwise: int | None) -> int | None:
    return otherwise if given is None else given


def _chosen(plan: Plan, found: Mapping[str, drivers.Program]) -> tuple[str, ...]:
    """The programs that are meant, in the order in which they are listed everywhere."""
    chosen = drivers.choose(found, plan.programs, plan.variants)
    able = tuple(name for name, program in chosen.items() if plan.workload in program.workloads)
    unable = [name for name in plan.programs if name in chosen and name not in able]
    if unable or not able:
        has = ", ".join(name for name, program in found.items() if plan.workload in program.workloads)
        who = f"{', '.join(unable)} has" if unable else "none of the programs that are meant have"
        lacking = f"no workload {plan.workload!r}" if unable else f"the workload {plan.workload!r}"
        raise StudyError(f"{who} {lacking}; it is in: {has}")
    return able
