"""
What a Dask worker does for a study: the functions that `concmem.study.cluster.dask` has it run.

`look_over` comes first, and refuses a study of another version of concmem; all else may change from one to the next.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import attrs
from distributed import Status, get_worker

from concmem._version import __version__
from concmem.drivers import programs as drivers
from concmem.host import Host, describe
from concmem.study.plan import Cell, Plan
from concmem.study.running.machine_lock import alone
from concmem.study.running.runner import Runner
from concmem.study.store.records import Entry, Run

__all__ = ["Site", "Unusable", "look_over", "prepare", "run"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Unusable(Exception):
    """Why a worker cannot take part, in words that follow "is not used: "."""


class _Unwanted(Exception):
    """Nobody waits for what is being run."""


@attrs.frozen
class Site:
    """
    Where a worker runs.

    Attributes:
        boot_id: The same for all workers on one kernel, whatever containers they are in.
        node: The machine's name (``uname -n``).
        host: The machine.
    """

    boot_id: str
    node: str
    host: Host


def look_over(version: str) -> Site:
    """
    Say where this is.

    Args:
        version: Of the concmem that runs the study.

    Raises:
        Unusable: This is another.
    """
    if version != __version__:
        raise Unusable(f"it has concmem {__version__}, but the study is run by {version}")
    drivers.forget()  # a worker may be older than a toolchain that has been installed since
    return Site(_BOOT_ID.read_text().strip(), platform.node(), describe())


def prepare(study: str, plan: Plan, program: str) -> Entry:
    """
    As `Runner.prepare`.

    Args:
        study: A name that no other study has.
        plan: The study's.
        program: Its name.

    Raises:
        ManifestError, Unusable: The program's folder is not there, or not as it must be.
    """
    return _prepared(study, plan, program)


def run(study: str, plan: Plan, cell: Cell, before: Sequence[Run], folder: str) -> tuple[Run, float]:
    """
    As `Runner.run`, while no other study measures on the machine; with the seconds that it took.

    Args:
        study: As in `prepare`.
        plan: The study's.
        cell: As in `Runner.run`.
        before: As in `Runner.run`.
        folder: Where the study is stored.

    Raises:
        MachineBusy: Another study has the machine.
    """
    _prepared(study, plan, cell.program)  # no work but on a worker that has been replaced at its address
    with alone(folder):
        begun_s = time.monotonic()
        return _runner(study, plan).run(cell, before), time.monotonic() - begun_s


@cache
def _prepared(study: str, plan: Plan, name: str) -> Entry:
    programs = drivers.load_programs([Path(folder) for folder in plan.programs_dirs])
    if name not in programs:
        raise Unusable(f"there is no program {name} on it")
    return _runner(study, plan).prepare(programs[name])


@cache
def _runner(study: str, plan: Plan) -> Runner:
    worker = get_worker()

    def tell(cell: Cell, sleep_s: float, attempt: int) -> None:
        worker.log_event(study, [*attrs.astuple(cell), sleep_s, attempt])

    return Runner(plan, tell, _look)


def _look() -> None:
    """End what runs for a study that has gone, or on a worker that is about to go."""
    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    if worker.status in (Status.closing, Status.closed, Status.failed) or task is None or task.state == "cancelled":
        raise _Unwanted
