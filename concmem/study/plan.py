"""The runs of a study and their order."""

from __future__ import annotations

import random
from collections.abc import Iterable

import attrs

from concmem.errors import ConcmemError, InvalidRequest
from concmem.study.workloads import workload

__all__ = ["MOST_S", "MOST_TASKS", "WHICH_RUNS", "Cell", "Plan", "StudyError", "cells", "difference", "differences"]


WHICH_RUNS = frozenset({"variants", "programs", "tasks", "runs", "runs_at", "seed", "programs_dirs"})
"""The attributes of a plan that choose the runs and their order; all others set how a run is made."""

MOST_TASKS = 2**31 - 1
"""The largest number that the ordinary integer type of every language holds."""

MOST_S = 1e9
"""No time of a study is longer, in seconds."""

_MOST_SIZES = 100
"""The report has a chart for each."""
_MOST_PROGRAMS = 1000


class StudyError(ConcmemError, ValueError):
    """The study cannot be started, continued or read as requested."""

    exit_code = 2


@attrs.frozen
class Cell:
    """
    One run of a plan: a program, a number of tasks, and the number of the repetition.

    Attributes:
        program: The program's name.
        tasks: The number of tasks that it starts.
        index: The number of the repetition, from 0.
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
    The programs, sizes and times of a study.

    Attributes:
        workload: What the tasks do: see `concmem.study.workloads`.
        variants: Variants of programs; empty means the programs of the article.
        programs: Names of programs; empty means every program of these variants, ``all`` every known program.
        tasks: The numbers of tasks, kept in ascending order.
        runs: The number of runs of every program at every number of tasks.
        runs_at: Exceptions to `runs`: pairs of a number of tasks and its number of runs.
        sleep_s: How long each task sleeps; with another workload, how long the workload runs.
        seed: The seed of the order of programs; None: the study draws one and stores it.
        programs_dirs: Folders with further programs.
        longest_sleep_s: A run that has not launched all its tasks within its sleep is repeated with twice
            the sleep, up to this.
        launch_limit_s: How long launching may take in programs that create all tasks before any begins.
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
            raise InvalidRequest("a study needs at least one number of tasks")
        for what, values, most in (
            ("numbers of tasks", self.tasks, _MOST_SIZES),
            ("programs", self.programs, _MOST_PROGRAMS),
        ):
            if len(values) > most:
                raise InvalidRequest(f"a study can have at most {most} {what}, not {len(values)}")
        for tasks in (self.tasks[0], self.tasks[-1]):
            if not 1 <= tasks <= MOST_TASKS:
                raise InvalidRequest(f"the number of tasks must be between 1 and {MOST_TASKS}, not {tasks}")
        if self.seed is not None and abs(self.seed) >= 1 << 63:
            raise InvalidRequest(f"the seed must be an integer of at most 63 bits, not {self.seed}")
        for runs in (self.runs, *(runs for _, runs in self.runs_at)):
            if runs < 1:
                raise InvalidRequest(f"the number of runs must be at least 1, not {runs}")
        for tasks, _ in self.runs_at:
            if tasks not in self.tasks:
                raise InvalidRequest(f"runs are given for {tasks} tasks, but the study does not run {tasks} tasks")
        for name in ("sleep_s", "longest_sleep_s", "launch_limit_s", "finish_limit_s"):
            value = getattr(self, name)
            if not 0 < value <= MOST_S:
                raise InvalidRequest(f"{name} must be above 0 and at most {MOST_S:g} seconds, not {value}")

    def runs_of(self, tasks: int) -> int:
        """Return the planned number of runs of a program with this number of tasks."""
        return dict(self.runs_at).get(tasks, self.runs)


def cells(plan: Plan) -> list[Cell]:
    """
    Return all runs of a plan, in the order in which they are made.

    The first round has the first run of every program at every number of tasks, the second round the second run, and
    so on. So changes of the machine over hours affect all programs alike. Within a round small numbers of tasks come
    first: they are quick, and their memory shows whether the next number fits. For each round and each number of tasks,
    the programs are shuffled again with the plan's seed, so that no program always runs after the same other one.

    Raises:
        InvalidRequest: The plan has no seed yet.
    """
    if plan.seed is None:
        raise InvalidRequest("the plan has no seed, so the order of its runs is unknown")
    shuffle = random.Random(plan.seed)
    order: list[Cell] = []
    for index in range(max(map(plan.runs_of, plan.tasks))):
        for tasks in (tasks for tasks in plan.tasks if index < plan.runs_of(tasks)):
            programs = list(plan.programs)
            shuffle.shuffle(programs)
            order += [Cell(program, tasks, index) for program in programs]
    return order


def differences(first: Plan, second: Plan) -> dict[str, tuple[str, str]]:
    """Return each attribute in which two plans differ, with both values as text."""
    both = {field.name: (getattr(first, field.name), getattr(second, field.name)) for field in attrs.fields(Plan)}
    return {name: (_as_text(one), _as_text(other)) for name, (one, other) in both.items() if one != other}


def difference(stored: Plan, requested: Plan) -> str:
    """Return the first of `differences`, as ``"runs is 1 in the study, but 3 is requested"``; "" if there is none."""
    pairs = differences(stored, requested).items()
    return next((f"{name} is {a} in the study, but {b} is requested" for name, (a, b) in pairs), "")


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(":".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
