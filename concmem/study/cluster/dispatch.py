"""
Who of several workers makes which run of a study.

That is decided here, not by Dask's scheduler: every task is meant for one worker, so that two workers of one machine
never have work at once, a run knows of all that ended before it began, and what a lost worker had in hand is given out
again. Dask finds the workers, carries questions and answers, and tells who is gone.
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
from distributed import TimeoutError as DaskTimeout  # before Python 3.11 another than the builtin

from concmem._version import __version__
from concmem.drivers import programs as drivers
from concmem.errors import ConcmemError
from concmem.host import Host
from concmem.study.cluster.machines import entry_difference, kind_difference
from concmem.study.cluster.worker import Site, Unusable, look_over, prepare, run
from concmem.study.plan import Cell
from concmem.study.running.backend import Check, ClusterError, Made, Order
from concmem.study.running.machine_lock import MachineBusy
from concmem.study.store.records import Entry, Run
from concmem.units import format_count

__all__ = ["Dispatch"]

_WORKERS_S = 30.0
_LOOK_S = 0.5
_REST_S = 2.0
_FETCH_S = 60.0
_TRIES = 3


@attrs.define(eq=False)
class _Worker:
    """
    A worker that takes part.

    Attributes:
        address, name: Dask's.
        site: Where it runs; None until it has been asked.
        prepared: The programs that are ready on it.
        asked: What it is asked for: the name of a program that it prepares, the cell that it runs; None for its site.
        answer: What is waited for; None where it has nothing to do.
        given_s: CLOCK_MONOTONIC when it got that.
        rests_until_s: Until when it need not be asked, as another study has its machine; 0 where none had.
    """

    address: str
    name: str
    site: Site | None = None
    prepared: set[str] = attrs.field(factory=set)
    asked: str | Cell | None = None
    answer: Future[Any] | None = None
    given_s: float = 0.0
    rests_until_s: float = 0.0


class Dispatch:
    """
    A `Place` of as many workers as come.

    Args:
        client: Of the scheduler.
        scheduler: Its address.
        order: What the study wants.
    """

    def __init__(self, client: Client, scheduler: str, order: Order) -> None:
        self.hosts: dict[str, Host] = {}
        self._client = client
        self._scheduler = scheduler
        self._order = order
        self._study = f"concmem-{secrets.token_hex(8)}"
        self._folder = f"{platform.node()}:{order.folder}"
        self._workers: dict[str, _Worker] = {}
        self._unused: set[str] = set()
        self._host = order.like
        self._checks: dict[str, Check] = {}
        self._entries: dict[str, Entry] = {}
        self._cells: deque[Cell] = deque()
        self._before: Collection[Run] = ()
        self._lost: Counter[Cell] = Counter()
        self._made: deque[Made] = deque()
        self._arrived: queue.SimpleQueue[Future[Any] | list[Any]] = queue.SimpleQueue()
        self._mustered_s = 0.0
        self._none_since_s: float | None = None
        client.subscribe_topic(self._study, lambda event: self._arrived.put(event[1]))

    @property
    def host(self) -> Host:
        """That of the study so far, else of the first worker, which is waited for."""
        while self._host is None:
            self._turn()
        return self._host

    @property
    def at_once(self) -> int:
        """How many machines are there."""
        return max(1, len({worker.site.boot_id for worker in self._workers.values() if worker.site}))

    def prepare(self, program: drivers.Program, check: Check) -> Entry:
        """See `Place.prepare`. It is waited for on the first worker only."""
        self._checks[program.name] = check
        while program.name not in self._entries:
            self._turn()
        return self._entries[program.name]

    def alone(self) -> contextlib.AbstractContextManager[None]:
        """See `Place.alone`: each worker has its machine for as long as a run takes."""
        return contextlib.nullcontext()

    def make(self, cells: Sequence[Cell], before: Collection[Run]) -> Iterator[Made]:
        """See `Place.make`."""
        self._cells.extend(cells)
        self._before = before
        for _ in cells:
            while not self._made:
                self._turn()
            yield self._made.popleft()

    def _turn(self) -> None:
        """See who is there, give work to who has none, and wait a moment for what arrives."""
        if time.monotonic() - self._mustered_s >= _LOOK_S:
            self._muster()
            self._mustered_s = time.monotonic()
        # Workers of one machine take turns.
        for worker in sorted(self._workers.values(), key=lambda worker: worker.given_s):
            if worker.answer is None and time.monotonic() >= worker.rests_until_s:
                self._give(worker)
        with contextlib.suppress(queue.Empty):
            arrived = self._arrived.get(timeout=_LOOK_S)
            if isinstance(arrived, Future):
                self._take(arrived)
            else:
                program, tasks, index, sleep_s, attempt = arrived
                self._order.tell(Cell(program, tasks, index), sleep_s, attempt)

    def _muster(self) -> None:
        try:
            if self._client.status != "running":
                raise OSError
            there = self._client.scheduler_info(n_workers=-1)["workers"]
        except OSError as error:
            raise ClusterError(f"the scheduler at {self._scheduler} is gone") from error
        for address in self._workers.keys() - there.keys():
            self._drop(self._workers[address], "has been lost")
        self._unused &= there.keys()
        for address, about in there.items():
            if address not in self._workers and address not in self._unused:
                worker = self._workers[address] = _Worker(address, str(about["name"]))
                if about["resources"].get("concmem") != 1:
                    self._refuse(worker, "it was not started with --resources concmem=1")
        if self._workers:
            self._none_since_s = None
        elif self._none_since_s is None:
            self._none_since_s = time.monotonic()
            self._order.note(f"there is no worker to use at {self._scheduler}; waiting {_WORKERS_S:g} s for one")
        elif time.monotonic() - self._none_since_s > _WORKERS_S:
            raise ClusterError(
                f"in {_WORKERS_S:g} s no worker has come to {self._scheduler} that can be used; on each machine run: "
                f"dask worker {self._scheduler} --nthreads 1 --resources concmem=1"
            )

    def _give(self, worker: _Worker) -> None:
        if worker.site is None:
            if self._host is not None or worker is next(iter(self._workers.values())):
                self._ask(worker, None, look_over, __version__)
            return
        placed = [other for other in self._workers.values() if other.site is not None]
        if any(o.answer is not None and o.site.boot_id == worker.site.boot_id for o in placed if o.site):
            return
        # The others must find what the first one finds.
        for program in self._checks if worker is placed[0] else self._entries:
            if program not in worker.prepared:
                self._ask(worker, program, prepare, self._study, self._order.plan, program)
                return
        if self._cells and worker.prepared >= self._checks.keys():
            cell = self._cells.popleft()
            before = [other for other in self._before if other.program == cell.program]
            self._ask(worker, cell, run, self._study, self._order.plan, cell, before, self._folder)

    def _ask(self, worker: _Worker, asked: str | Cell | None, function: Callable[..., Any], *args: object) -> None:
        worker.asked = asked
        worker.given_s = time.monotonic()
        worker.answer = self._client.submit(
            function, *args, workers=[worker.address], resources={"concmem": 1}, pure=False
        )
        worker.answer.add_done_callback(self._arrived.put)

    def _take(self, answer: Future[Any]) -> None:
        worker = next((worker for worker in self._workers.values() if worker.answer is answer), None)
        if worker is None:  # it has been dropped meanwhile
            return
        try:
            self._learn(worker, answer.result(timeout=_FETCH_S))
        except MachineBusy as busy:
            if not worker.rests_until_s:
                self._order.note(f"worker {worker.name} waits: {busy}")
            worker.rests_until_s = time.monotonic() + _REST_S
            self._workers[worker.address] = self._workers.pop(worker.address)  # another one may be the first
            if isinstance(worker.asked, Cell):
                self._cells.appendleft(worker.asked)
        except (CancelledError, KilledWorker, DaskTimeout):
            self._muster()
            if worker.address in self._workers:
                self._drop(worker, "has been lost")
        except (Unusable, ConcmemError) as error:
            self._refuse(worker, str(error))
        except Exception as error:
            self._refuse(worker, f"{type(error).__name__}: {error}")
        worker.answer = None

    def _learn(self, worker: _Worker, found: Any) -> None:
        """Note what a worker has answered."""
        asked, worker.rests_until_s = worker.asked, 0.0
        if asked is None:
            self._host = self._host or found.host
            if differs := kind_difference(found.host, self._host):
                raise Unusable(f"it is on another kind of machine: {differs}")
            worker.site = found
            self.hosts.setdefault(found.node, found.host)
        elif isinstance(asked, str):
            if asked not in self._entries:
                self._checks[asked](found)
                self._entries[asked] = found
            elif differs := entry_difference(found, self._entries[asked]):
                raise Unusable(f"{asked} is not as on the first worker: {differs}")
            worker.prepared.add(asked)
        else:
            self._made.append(Made(*found))

    def _refuse(self, worker: _Worker, why: str) -> None:
        self._unused.add(worker.address)
        self._drop(worker, f"is not used: {why}")

    def _drop(self, worker: _Worker, what: str) -> None:
        """Do without a worker, and give out again what it had in hand."""
        del self._workers[worker.address]
        again, cell = "", worker.asked
        if worker.answer is not None and worker.site is not None and isinstance(cell, Cell):
            self._lost[cell] += 1
            name = f"{cell.program} {format_count(cell.tasks)}"
            if self._lost[cell] < _TRIES:
                self._cells.appendleft(cell)
                again = f"; {name} is to be run again"
            else:
                took_s = time.monotonic() - worker.given_s
                self._made.append(Made(self._given_up(cell, worker.site), took_s))
                again = f"; {name} is given up"
        self._order.note(f"worker {worker.name} {what}{again}")

    def _given_up(self, cell: Cell, site: Site) -> Run:
        return Run(
            program=cell.program,
            tasks=cell.tasks,
            index=cell.index,
            status="skipped",
            reason=f"given up: {self._lost[cell]} workers were lost while they ran it",
            sleep_s=self._order.plan.sleep_s,
            machine=site.node,
        )
