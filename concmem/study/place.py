"""Where the runs of a study are made: `here`, on this machine, or as another module has it."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import attrs

from concmem import drivers
from concmem.errors import ConcmemError
from concmem.facts import Host
from concmem.host import describe
from concmem.study.alone import alone_in_turn
from concmem.study.machines import kind_difference
from concmem.study.plan import Cell, Plan, StudyError
from concmem.study.records import Entry, Run
from concmem.study.runner import Runner, Tell

__all__ = ["Check", "ClusterError", "ClusterExtraMissing", "Made", "Order", "Place", "here"]

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
    """

    plan: Plan
    like: Host | None
    tell: Tell
    note: Callable[[str], None]


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

    def make(self, cells: Sequence[Cell], before: Collection[Run]) -> Iterator[Made]:
        """
        All these runs, begun in this order, each as soon as it is made.

        Args:
            cells: Which; their programs have been prepared.
            before: The runs of the study that are known. Whoever iterates adds to them.
        """


class _Here:
    def __init__(self, order: Order) -> None:
        self.host = describe()
        self.hosts = {platform.node(): self.host}
        self.at_once = 1
        self._runner = Runner(order.plan, order.tell)
        self.prepare = self._runner.prepare

    def make(self, cells: Sequence[Cell], before: Collection[Run]) -> Iterator[Made]:
        for cell in cells:
            begun_s = time.monotonic()
            run = self._runner.run(cell, before)
            yield Made(run, time.monotonic() - begun_s)


@contextmanager
def here(order: Order) -> Iterator[Place]:
    """
    This machine, which no other study uses meanwhile: one that does is waited for.

    Raises:
        StudyError: It is of another kind than the one whose runs the study has.
    """
    place = _Here(order)
    if order.like is not None and (differs := kind_difference(order.like, place.host)):
        raise StudyError(f"the study is of another machine: {differs}")
    with alone_in_turn(order.note):
        yield place
