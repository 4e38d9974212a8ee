"""
The functions that a Dask worker runs for a study.

`describe_site` is called first and refuses a study of another version of concmem, so the others may change from one
version to the next.
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
from concmem.study.running.machine_lock import lock_machine
from concmem.study.running.runner import Runner
from concmem.study.store.records import Entry, Run

__all__ = ["Site", "Unusable", "describe_site", "prepare", "run"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Unusable(Exception):
    """Why a worker cannot be used; the text follows "is not used: "."""


class _Cancelled(Exception):
    """The study no longer waits for this run."""


@attrs.frozen
class Site:
    """
    The machine of a worker.

    Attributes:
        boot_id: The same for all workers on one kernel, even in different containers.
        node: The machine's name (``uname -n``).
        host: The machine.
    """

    boot_id: str
    node: str
    host: Host


def describe_site(version: str) -> Site:
    """
    Describe this worker's machine.

    Args:
        version: The version of concmem that runs the study.

    Raises:
        Unusable: This worker has another version.
    """
    if version != __version__:
        raise Unusable(f"it has concmem {__version__}, but the study runs with {version}")
    drivers.forget()  # a toolchain may have been installed since the worker was started
    return Site(_BOOT_ID.read_text().strip(), platform.node(), describe())


def prepare(study: str, plan: Plan, program: str) -> Entry:
    """
    Do the same as `Runner.prepare`.

    Args:
        study: A unique name of the study.
        plan: The study's plan.
        program: The program's name.

    Raises:
        ManifestError, Unusable: The program's folder is missing or invalid.
    """
    return _prepared(study, plan, program)


def run(study: str, plan: Plan, cell: Cell, earlier_runs: Sequence[Run], folder: str) -> tuple[Run, float]:
    """
    Do the same as `Runner.run`, holding the machine lock; return the run and the seconds that it took.

    Args:
        study: As in `prepare`.
        plan: The study's plan.
        cell: As in `Runner.run`.
        earlier_runs: As in `Runner.run`.
        folder: The folder of the study.

    Raises:
        MachineBusy: Another study holds the machine lock.
    """
    _prepared(study, plan, cell.program)  # cached, unless the worker has been replaced by a new one at its address
    with lock_machine(folder):
        begun_s = time.monotonic()
        return _runner(study, plan).run(cell, earlier_runs), time.monotonic() - begun_s


@cache
def _prepared(study: str, plan: Plan, name: str) -> Entry:
    programs = drivers.load_programs([Path(folder) for folder in plan.programs_dirs])
    if name not in programs:
        raise Unusable(f"it has no program {name}")
    return _runner(study, plan).prepare(programs[name])


@cache
def _runner(study: str, plan: Plan) -> Runner:
    worker = get_worker()

    def on_start(cell: Cell, sleep_s: float, attempt: int) -> None:
        worker.log_event(study, [*attrs.astuple(cell), sleep_s, attempt])

    return Runner(plan, on_start, _check_wanted)


def _check_wanted() -> None:
    """Raise an exception, which ends the run, if the study is gone or this worker is about to end."""
    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    if worker.status in (Status.closing, Status.closed, Status.failed) or task is None or task.state == "cancelled":
        raise _Cancelled
