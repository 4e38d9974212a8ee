"""The backend makes the runs of a study: `local_backend` on this machine; `concmem.study.cluster` has another one."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import attrs

from concmem.drivers import programs as drivers
from concmem.drivers.outside_programs import Watch, unwatched
from concmem.errors import ConcmemError
from concmem.host import Host, describe
from concmem.study.cluster.machines import kind_difference
from concmem.study.plan import Cell, Plan, StudyError
from concmem.study.running.machine_lock import MachineBusy, find_holder, wait_for_machine
from concmem.study.running.other_work import measure_now
from concmem.study.running.runner import OnStart, Runner
from concmem.study.store.records import Entry, Run

__all__ = [
    "Backend",
    "Check",
    "ClusterError",
    "ClusterExtraMissing",
    "FinishedRun",
    "StudyContext",
    "WhileLocked",
    "local_backend",
]

_PLACES = ("in the study", "on this machine")

Check = Callable[[Entry], None]
"""Raises StudyError if the study must not use this program as it is on the machine."""


class ClusterError(ConcmemError, OSError):
    """The scheduler of several machines cannot be reached, or has no usable worker."""

    exit_code = 1


class ClusterExtraMissing(ConcmemError, ImportError):
    """Dask, which runs a study on several machines, is not installed."""


@attrs.frozen
class StudyContext:
    """
    What a backend must know of the study.

    Attributes:
        plan: The study's plan.
        stored_host: The machine of the stored runs, or None.
        on_start: See `OnStart`.
        note: Called with one sentence for the user.
        folder: The folder of the study.
        wait_s: How long to wait for a machine that another study uses; None without limit.
        watch: Called with the output of a compiler that runs on this machine.
    """

    plan: Plan
    stored_host: Host | None
    on_start: OnStart
    note: Callable[[str], None]
    folder: str = ""
    wait_s: float | None = None
    watch: Watch = unwatched


@attrs.frozen
class FinishedRun:
    """
    A finished run.

    Attributes:
        run: The run.
        took_s: How long it took, all attempts included.
    """

    run: Run
    took_s: float


class Backend(Protocol):
    """
    One machine or several, ready for a study.

    Attributes:
        host: The machine; with several, the one that the others must be like.
        hosts: All machines that are or were ready, by their names.
        at_once: The number of runs that are made at the same time.
    """

    @property
    def host(self) -> Host: ...  # noqa: D102 -- the class says it

    @property
    def hosts(self) -> Mapping[str, Host]: ...  # noqa: D102

    @property
    def at_once(self) -> int: ...  # noqa: D102

    def prepare(self, program: drivers.Program, check: Check) -> Entry:
        """Do the same as `Runner.prepare`; with several machines, `check` may be called after the build."""

    def lock_machine(self) -> AbstractContextManager[None]:
        """
        Keep other studies from measuring on the machine.

        Runs are made only inside of this block; programs are prepared outside.
        """

    def run_cells(self, cells: Sequence[Cell], earlier_runs: Collection[Run]) -> Iterator[FinishedRun]:
        """
        Start these runs in this order, and yield each as soon as it is finished.

        Args:
            cells: The runs; their programs have been prepared.
            earlier_runs: The runs of the study so far. The caller adds each run that is yielded.
        """


WhileLocked = Callable[[StudyContext], AbstractContextManager[None]]
"""A context that is entered when the study has got the machine lock, and left before the lock is released."""


class _LocalBackend:
    def __init__(self, context: StudyContext, while_locked: WhileLocked) -> None:
        self.host = describe()
        self.hosts = {platform.node(): self.host}
        self.at_once = 1
        self._context = context
        self._while_locked = while_locked
        self._runner = Runner(context.plan, context.on_start, watch=context.watch)
        self.prepare = self._runner.prepare

    @contextmanager
    def lock_machine(self) -> Iterator[None]:
        context = self._context
        lock = wait_for_machine(context.note, folder=context.folder, wait_s=context.wait_s)
        with lock, self._while_locked(context):
            if (other_work := measure_now()) is not None and other_work.is_busy:
                context.note(
                    f"the machine is busy: {other_work} just now; runs on a busy machine are not used to judge claims"
                )
            yield

    def run_cells(self, cells: Sequence[Cell], earlier_runs: Collection[Run]) -> Iterator[FinishedRun]:
        for cell in cells:
            begun_s = time.monotonic()
            run = self._runner.run(cell, earlier_runs)
            yield FinishedRun(run, time.monotonic() - begun_s)


@contextmanager
def local_backend(
    context: StudyContext, while_locked: WhileLocked = lambda context: nullcontext()
) -> Iterator[Backend]:
    """
    Make the runs on this machine.

    Args:
        context: What the backend must know of the study.
        while_locked: See `WhileLocked`.

    Raises:
        StudyError: The machine is of another kind than the machine of the stored runs.
        MachineBusy: Another study measures on the machine, and `wait_s` is 0.
    """
    backend = _LocalBackend(context, while_locked)
    if context.stored_host is not None and (differs := kind_difference(context.stored_host, backend.host, _PLACES)):
        raise StudyError(f"the study was made on another kind of machine: {differs}")
    if holder := find_holder():
        if context.wait_s == 0:
            raise MachineBusy(holder)
        context.note(f"{holder}; programs are built now, and run when that study has ended")
    yield backend
