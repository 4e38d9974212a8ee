"""Where the runs of a study are made: `here`, on this machine, or as another module has it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import attrs

from concmem.drivers import programs as drivers
from concmem.drivers.long_command import Watch, unwatched
from concmem.errors import ConcmemError
from concmem.host import Host, describe
from concmem.study.cluster.machines import kind_difference
from concmem.study.plan import Cell, Plan, StudyError
from concmem.study.running.machine_lock import MachineBusy, alone_in_turn, find_holder
from concmem.study.running.other_work import look_around
from concmem.study.running.runner import Runner, Tell
from concmem.study.store.records import Entry, Run

__all__ = ["Check", "ClusterError", "ClusterExtraMissing", "Inside", "Made", "Order", "Place", "here"]

Check = Callable[[Entry], None]
"""Raises StudyError where a program was found as it must not be."""


class ClusterError(ConcmemError, OSError):
    """The scheduler of several machines cannot be reached, or has no worker to use."""

    exit_code = 1


class ClusterExtraMissing(ConcmemError, ImportError):
    """What runs a study on several machines is not installed."""


@attrs.frozen
class Order:
    """
    What a study wants of a place.

    Attributes:
        plan: The study's.
        like: The machine whose runs the study has already, or None.
        tell: See `Tell`.
        note: Told one sentence about what the reader should know.
        folder: Where the study is stored.
        wait_s: How long to wait for a machine that another study has; None for as long as it takes.
        watch: Is given what a compiler on this machine says while it works.
    """

    plan: Plan
    like: Host | None
    tell: Tell
    note: Callable[[str], None]
    folder: str = ""
    wait_s: float | None = None
    watch: Watch = unwatched


@attrs.frozen
class Made:
    """
    A run that has been made.

    Attributes:
        run: It.
        took_s: How long that took, all attempts included.
    """

    run: Run
    took_s: float


class Place(Protocol):
    """
    One machine or several, ready for a study.

    Attributes:
        host: The machine; of several, the one that the others are like.
        hosts: All that are or were ready, by their names.
        at_once: How many runs are made at once.
    """

    @property
    def host(self) -> Host: ...  # noqa: D102 -- the class says it

    @property
    def hosts(self) -> Mapping[str, Host]: ...  # noqa: D102

    @property
    def at_once(self) -> int: ...  # noqa: D102

    def prepare(self, program: drivers.Program, check: Check) -> Entry:
        """As `Runner.prepare`, but where there are several machines, `check` may be called after the build."""

    def alone(self) -> AbstractContextManager[None]:
        """
        Keep other studies from measuring on the machine: runs are made inside of this block alone, programs are
        prepared outside.
        """

    def make(self, cells: Sequence[Cell], before: Collection[Run]) -> Iterator[Made]:
        """
        All these runs, begun in this order, each as soon as it is made.

        Args:
            cells: Which; their programs have been prepared.
            before: The runs of the study that are known. Whoever iterates adds to them.
        """


Inside = Callable[[Order], AbstractContextManager[None]]
"""What is entered as soon as the machine is the study's own, and left before it is given back."""


class _Here:
    def __init__(self, order: Order, inside: Inside) -> None:
        self.host = describe()
        self.hosts = {platform.node(): self.host}
        self.at_once = 1
        self._order = order
        self._inside = inside
        self._runner = Runner(order.plan, order.tell, watch=order.watch)
        self.prepare = self._runner.prepare

    @contextmanager
    def alone(self) -> Iterator[None]:
        order = self._order
        with alone_in_turn(order.note, folder=order.folder, wait_s=order.wait_s), self._inside(order):
            if (seen := look_around()) is not None and seen.is_busy:
                order.note(f"the machine is busy: {seen} just now; runs are marked while it is, and judge no claim")
            yield

    def make(self, cells: Sequence[Cell], before: Collection[Run]) -> Iterator[Made]:
        for cell in cells:
            begun_s = time.monotonic()
            run = self._runner.run(cell, before)
            yield Made(run, time.monotonic() - begun_s)


@contextmanager
def here(order: Order, inside: Inside = lambda order: nullcontext()) -> Iterator[Place]:
    """
    This machine.

    Args:
        order: What the study wants.
        inside: See `Inside`.

    Raises:
        StudyError: It is of another kind than the one whose runs the study has.
        MachineBusy: Another study measures on it, and is not to be waited for.
    """
    place = _Here(order, inside)
    if order.like is not None and (differs := kind_difference(order.like, place.host)):
        raise StudyError(f"the study is of another machine: {differs}")
    if holder := find_holder():
        if order.wait_s == 0:
            raise MachineBusy(holder)
        order.note(f"{holder}: programs are built now, and measured when it has ended")
    yield place
