"""What a study runs, and in which order."""

from __future__ import annotations

import random
from collections.abc import Iterable

import attrs

from concmem.errors import ConcmemError, InvalidRequest
from concmem.study.workloads import workload

__all__ = ["WHICH_RUNS", "Cell", "Plan", "StudyError", "cells", "difference", "differences"]


WHICH_RUNS = frozenset({"variants", "programs", "tasks", "runs", "runs_at", "seed", "programs_dirs"})
"""Attributes of a plan that say which runs are made, and in which order; all others say how one is made."""

MOST_TASKS = 2**31 - 1
"""What every language's ordinary integer can count to."""


class StudyError(ConcmemError, ValueError):
    """A study that cannot be begun, continued or read as it was asked for."""

    exit_code = 2


@attrs.frozen
class Cell:
    """
    One run that is to be made.

    Attributes:
        program: The program's name.
        tasks: How many tasks it starts.
        index: Which repetition this is, from 0.
    """

    program: str
    tasks: int
    index: int


def _sorted_counts(counts: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(counts)))


def _pairs(pairs: Iterable[Iterable[int]]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted((tasks, runs) for tasks, runs in pairs))


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


@attrs.frozen(kw_only=True)
class Plan:
    """
    What a study runs.

    Attributes:
        workload: What the tasks do: see `concmem.study.workloads`.
        variants: Which variants of programs; empty means those that make up the article's study.
        programs: Names of programs; empty means every program of these variants, ``all`` every program there is.
        tasks: The numbers of tasks, kept in ascending order.
        runs: Runs of every program at every number of tasks,
        runs_at: but of these numbers so many: pairs of a number of tasks and its runs.
        sleep_s: How long each task sleeps; the seconds of another workload.
        seed: Of the order of programs; None lets the study draw one, which it stores.
        programs_dirs: Folders with further programs.
        longest_sleep_s: A run that has not launched all its tasks within its sleep is repeated with twice
            the sleep, up to this.
        launch_limit_s: For programs in which no task begins before all are created: how long that may take.
        finish_limit_s: How long a program may take to end after its sleep.
    """

    workload: str = "sleep"
    variants: tuple[str, ...] = attrs.field(default=(), converter=_unique)
    programs: tuple[str, ...] = attrs.field(default=(), converter=_unique)
    tasks: tuple[int, ...] = attrs.field(default=(1, 10_000, 100_000, 1_000_000), converter=_sorted_counts)
    runs: int = 1
    runs_at: tuple[tuple[int, int], ...] = attrs.field(default=(), converter=_pairs)
    sleep_s: float = attrs.field(default=10.0, converter=float)
    seed: int | None = None
    programs_dirs: tuple[str, ...] = attrs.field(default=(), converter=_unique)
    longest_sleep_s: float = attrs.field(default=60.0, converter=float)
    launch_limit_s: float = attrs.field(default=600.0, converter=float)
    finish_limit_s: float = attrs.field(default=300.0, converter=float)

    def __attrs_post_init__(self) -> None:
        workload(self.workload)
        if not self.tasks:
            raise InvalidRequest("the study needs at least one number of tasks")
        if self.tasks[0] < 1:
            raise InvalidRequest(f"a program cannot start {self.tasks[0]} tasks: the least is 1")
        if self.tasks[-1] > MOST_TASKS:
            raise InvalidRequest(f"a program cannot start {self.tasks[-1]} tasks: the most is {MOST_TASKS}")
        if self.seed is not None and abs(self.seed) >= 1 << 63:
            raise InvalidRequest(f"the seed must be a number of at most 63 bits, not {self.seed}")
        for runs in (self.runs, *(runs for _, runs in self.runs_at)):
            if runs < 1:
                raise InvalidRequest(f"a study cannot make {runs} runs of a program: the least is 1")
        for tasks, _ in self.runs_at:
            if tasks not in self.tasks:
                raise InvalidRequest(f"runs are given for {tasks} tasks, which are none of the study's numbers")
        for name in ("sleep_s", "longest_sleep_s", "launch_limit_s", "finish_limit_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InvalidRequest(f"{name} must be a finite number of seconds above 0, not {getattr(self, name)}")

    def runs_of(self, tasks: int) -> int:
        """How many runs there are to be with so many tasks."""
        return dict(self.runs_at).get(tasks, self.runs)


def cells(plan: Plan) -> list[Cell]:
    """
    All runs of a plan, in the order in which they are made.

    Every cell has its first run before any has its second, so that a machine that changes over hours changes
    for all programs alike. Within such a round small numbers of tasks come first: they are quick, and what
    they needed tells whether the next size fits into memory. Within one size the programs are shuffled by
    the plan's seed, anew each time, so that none always follows the same neighbour.

    Raises:
        InvalidRequest: The plan has no seed yet.
    """
    if plan.seed is None:
        raise InvalidRequest("a plan without a seed has no order")
    shuffle = random.Random(plan.seed)
    order: list[Cell] = []
    for index in range(max(map(plan.runs_of, plan.tasks))):
        for tasks in (tasks for tasks in plan.tasks if index < plan.runs_of(tasks)):
            programs = list(plan.programs)
            shuffle.shuffle(programs)
            order += [Cell(program, tasks, index) for program in programs]
    return order


def differences(there: Plan, here: Plan) -> dict[str, tuple[str, str]]:
    """What tells two plans apart: of each attribute that does, what it is there and here."""
    both = {field.name: (getattr(there, field.name), getattr(here, field.name)) for field in attrs.fields(Plan)}
    return {name: (_shown(one), _shown(other)) for name, (one, other) in both.items() if one != other}


def difference(stored: Plan, wanted: Plan) -> str:
    """The first of `differences`, as ``"runs is 1 there and 3 here"``; empty where there is none."""
    return next((f"{name} is {a} there and {b} here" for name, (a, b) in differences(stored, wanted).items()), "")


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(":".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
