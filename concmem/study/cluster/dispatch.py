"""
Distribute the runs of a study over the workers of a Dask scheduler.

Every Dask task is bound to one worker here, instead of by Dask's scheduler. So two workers of one machine never work at
the same time, each run gets all runs that ended before it began, and the run of a lost worker is made again. Dask finds
the workers, transfers arguments and results, and reports lost workers.
"""

from __future__ import annotations

import contextlib
import platform
import queue
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import attrs
from distributed import CancelledError, Client, Future, KilledWorker
from distributed import TimeoutError as DaskTimeout  # before Python 3.11 this is not the builtin

from concmem._version import __version__
from concmem.drivers import programs as drivers
from concmem.errors import ConcmemError
from concmem.host import Host
from concmem.study.cluster.machines import entry_difference, kind_difference
from concmem.study.cluster.worker import Site, Unusable, describe_site, prepare, run
from concmem.study.plan import Cell
from concmem.study.running.backend import Check, ClusterError, FinishedRun, StudyContext
from concmem.study.running.machine_lock import MachineBusy
from concmem.study.store.records import Entry, Run
from concmem.units import format_count

__all__ = ["Dispatch"]

_WORKERS_S = 30.0
_POLL_S = 0.5
_REST_S = 2.0
_FETCH_S = 60.0
_TRIES = 3
_THIS_AND_STUDY = ("on this worker", "in the study")
_THIS_AND_FIRST = ("on this worker", "on the first worker")


@attrs.define(eq=False)
class _Worker:
    """
    A worker that takes part.

    Attributes:
        address, name: As Dask has them.
        site: Its machine; None until it has described it.
        prepared: The programs that are ready on it.
        task: Its current task: the program that it prepares or the cell that it runs; None: it describes its site.
        future: The result of this task; None if it has no task.
        submitted_s: CLOCK_MONOTONIC when it got the task.
        rests_until_s: It gets no task until then, because another study uses its machine; 0 if none does.
    """

    address: str
    name: str
    site: Site | None = None
    prepared: set[str] = attrs.field(factory=set)
    task: str | Cell | None = None
    future: Future[Any] | None = None
    submitted_s: float = 0.0
    rests_until_s: float = 0.0


class Dispatch:
    """
    A `Backend` of all workers of a scheduler, which may come and go.

    Args:
        client: The client of the scheduler.
        scheduler: The scheduler's address.
        context: What the backend must know of the study.
    """

    def __init__(self, client: Client, scheduler: str, context: StudyContext) -> None:
        self.hosts: dict[str, Host] = {}
        self._client = client
        self._scheduler = scheduler
        self._context = context
        self._study = f"concmem-{secrets.token_hex(8)}"
        self._folder = f"{platform.node()}:{context.folder}"
        self._workers: dict[str, _Worker] = {}
        self._unused: set[str] = set()
        self._host = context.stored_host
        self._checks: dict[str, Check] = {}
        self._entries: dict[str, Entry] = {}
        self._cells: deque[Cell] = deque()
        self._earlier_runs: Collection[Run] = ()
        self._lost_workers: Counter[Cell] = Counter()
        self._finished: deque[FinishedRun] = deque()
        self._arrived: queue.SimpleQueue[Future[Any] | list[Any]] = queue.SimpleQueue()
        self._refreshed_s = 0.0
        self._none_since_s: float | None = None
        client.subscribe_topic(self._study, lambda event: self._arrived.put(event[1]))

    @property
    def host(self) -> Host:
        """The machine of the stored runs, else that of the first worker; waits for a worker if needed."""
        while self._host is None:
            self._step()
        return self._host

    @property
    def at_once(self) -> int:
        """The number of machines with workers."""
        return max(1, len({worker.site.boot_id for worker in self._workers.values() if worker.site}))

    def prepare(self, program: drivers.Program, check: Check) -> Entry:
        """See `Backend.prepare`. Only the first worker is waited for."""
        self._checks[program.name] = check
        while program.name not in self._entries:
            self._step()
        return self._entries[program.name]

    def lock_machine(self) -> contextlib.AbstractContextManager[None]:
        """See `Backend.lock_machine`. Each worker locks its machine for each run instead."""
        return contextlib.nullcontext()

    def run_cells(self, cells: Sequence[Cell], earlier_runs: Collection[Run]) -> Iterator[FinishedRun]:
        """See `Backend.run_cells`."""
        self._cells.extend(cells)
        self._earlier_runs = earlier_runs
        for _ in cells:
            while not self._finished:
                self._step()
            yield self._finished.popleft()

    def _step(self) -> None:
        """Update the list of workers, give tasks to idle ones, and wait a moment for a result."""
        if time.monotonic() - self._refreshed_s >= _POLL_S:
            self._refresh_workers()
            self._refreshed_s = time.monotonic()
        # Workers of one machine take turns.
        for worker in sorted(self._workers.values(), key=lambda worker: worker.submitted_s):
            if worker.future is None and time.monotonic() >= worker.rests_until_s:
                self._assign(worker)
        with contextlib.suppress(queue.Empty):
            arrived = self._arrived.get(timeout=_POLL_S)
            if isinstance(arrived, Future):
                self._handle(arrived)
            else:
                program, tasks, index, sleep_s, attempt = arrived
                self._context.on_start(Cell(program, tasks, index), sleep_s, attempt)

    def _refresh_workers(self) -> None:
        try:
            if self._client.status != "running":
                raise OSError
            connected = self._client.scheduler_info(n_workers=-1)["workers"]
        except OSError as error:
            raise ClusterError(f"the scheduler at {self._scheduler} is gone") from error
        for address in self._workers.keys() - connected.keys():
            self._drop(self._workers[address], "was lost")
        self._unused &= connected.keys()
        for address, info in connected.items():
            if address not in self._workers and address not in self._unused:
                worker = self._workers[address] = _Worker(address, str(info["name"]))
                if info["resources"].get("concmem") != 1:
                    self._refuse(worker, "it was not started with --resources concmem=1")
        if self._workers:
            self._none_since_s = None
        elif self._none_since_s is None:
            self._none_since_s = time.monotonic()
            self._context.note(f"there is no usable worker at {self._scheduler}; waiting {_WORKERS_S:g} s for one")
        elif time.monotonic() - self._none_since_s > _WORKERS_S:
            raise ClusterError(
                f"{self._scheduler} had no usable worker for {_WORKERS_S:g} s; on each machine run: "
                f"dask worker {self._scheduler} --nthreads 1 --resources concmem=1"
            )

    def _assign(self, worker: _Worker) -> None:
        if worker.site is None:
            if self._host is not None or worker is next(iter(self._workers.values())):
                self._submit(worker, None, describe_site, __version__)
            return
        described = [other for other in self._workers.values() if other.site is not None]
        if any(o.future is not None and o.site.boot_id == worker.site.boot_id for o in described if o.site):
            return
        # The first worker prepares a program first; the entries of the others must be the same.
        for program in self._checks if worker is described[0] else self._entries:
            if program not in worker.prepared:
                self._submit(worker, program, prepare, self._study, self._context.plan, program)
                return
        if self._cells and worker.prepared >= self._checks.keys():
            cell = self._cells.popleft()
            earlier_runs = [other for other in self._earlier_runs if other.program == cell.program]
            self._submit(worker, cell, run, self._study, self._context.plan, cell, earlier_runs, self._folder)

    def _submit(self, worker: _Worker, task: str | Cell | None, function: Callable[..., Any], *args: object) -> None:
        worker.task = task
        worker.submitted_s = time.monotonic()
        worker.future = self._client.submit(
            function, *args, workers=[worker.address], resources={"concmem": 1}, pure=False
        )
        worker.future.add_done_callback(self._arrived.put)

    def _handle(self, future: Future[Any]) -> None:
        worker = next((worker for worker in self._workers.values() if worker.future is future), None)
        if worker is None:  # it was dropped before its result arrived
            return
        try:
            self._store_result(worker, future.result(timeout=_FETCH_S))
        except MachineBusy as busy:
            if not worker.rests_until_s:
                self._context.note(f"worker {worker.name} waits: {busy}")
            worker.rests_until_s = time.monotonic() + _REST_S
            self._workers[worker.address] = self._workers.pop(worker.address)  # now another one may be the first
            if isinstance(worker.task, Cell):
                self._cells.appendleft(worker.task)
        except (CancelledError, KilledWorker, DaskTimeout):
            self._refresh_workers()
            if worker.address in self._workers:
                self._drop(worker, "was lost")
        except (Unusable, ConcmemError) as error:
            self._refuse(worker, str(error))
        except Exception as error:
            self._refuse(worker, f"{type(error).__name__}: {error}")
        worker.future = None

    def _store_result(self, worker: _Worker, result: Any) -> None:
        """Keep the result of a worker's task."""
        task, worker.rests_until_s = worker.task, 0.0
        if task is None:
            self._host = self._host or result.host
            if differs := kind_difference(result.host, self._host, _THIS_AND_STUDY):
                raise Unusable(f"it is on another kind of machine: {differs}")
            worker.site = result
            self.hosts.setdefault(result.node, result.host)
        elif isinstance(task, str):
            if task not in self._entries:
                self._checks[task](result)
                self._entries[task] = result
            elif differs := entry_difference(result, self._entries[task], _THIS_AND_FIRST):
                raise Unusable(f"{task} differs from the first worker: {differs}")
            worker.prepared.add(task)
        else:
            self._finished.append(FinishedRun(*result))

    def _refuse(self, worker: _Worker, why: str) -> None:
        self._unused.add(worker.address)
        self._drop(worker, f"is not used: {why}")

    def _drop(self, worker: _Worker, what: str) -> None:
        """Use a worker no longer; make its current run again elsewhere, or give it up after `_TRIES` lost workers."""
        del self._workers[worker.address]
        again, cell = "", worker.task
        if worker.future is not None and worker.site is not None and isinstance(cell, Cell):
            self._lost_workers[cell] += 1
            name = f"{cell.program} {format_count(cell.tasks)}"
            if self._lost_workers[cell] < _TRIES:
                self._cells.appendleft(cell)
                again = f"; {name} will be run again"
            else:
                took_s = time.monotonic() - worker.submitted_s
                self._finished.append(FinishedRun(self._give_up(cell, worker.site), took_s))
                again = f"; {name} is given up"
        self._context.note(f"worker {worker.name} {what}{again}")

    def _give_up(self, cell: Cell, site: Site) -> Run:
        return Run(
            program=cell.program,
            tasks=cell.tasks,
            index=cell.index,
            status="skipped",
            reason=f"given up: {self._lost_workers[cell]} workers were lost while they ran it",
            reason_code="lost",
            sleep_s=self._context.plan.sleep_s,
            machine=site.node,
        )
