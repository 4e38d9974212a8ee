"""
What remains of a measurement when its tree has ended, and the `Measurement` that is built from it.

Only the exit of the root is computed at once, the rest on first use: for a command of half a millisecond, it would make
the call nearly 10 % longer. The classes of a measurement are imported on first use as well: their import takes longer
than a short command runs, and a quiet ``concmem run`` does without them.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from concmem._classes.record import Record
from concmem._figures.outcome import Ending, ending_of
from concmem._files.machine import Machine
from concmem._native.observed import Observed
from concmem._native.request import Request

if TYPE_CHECKING:
    from concmem._figures.parts import Parts
    from concmem.host import Host
    from concmem.model import Exit, Figure, Measurement, OutOfMemory

__all__ = ["EndedTree", "HostValues"]


class HostValues(Record):
    """
    What the calling process knows of a measurement, and the sampler does not.

    Attributes:
        machine: The machine.
        started_s: The time of the start, in seconds since 1970.
        stdout, stderr: What the command wrote if PIPE was given, else None: bytes, or with ``text`` a str.
        stdout_dropped_bytes, stderr_dropped_bytes: How much more it wrote than `max_output_bytes`.
        swapped_bytes: What the whole machine swapped in and out; None if it has no swap.
        oom: The processes of the tree that the OOM killer killed, or None.
    """

    machine: Machine
    started_s: float
    stdout: Any
    stderr: Any
    stdout_dropped_bytes: int
    stderr_dropped_bytes: int
    swapped_bytes: int | None
    oom: OutOfMemory | None

    @property
    def host(self) -> Host:
        """The machine, as part of a measurement."""
        from concmem.host import host_of

        return host_of(self.machine)


class EndedTree:
    """
    A measurement whose tree has ended.

    Attributes:
        ending: How the root ended.
    """

    def __init__(self, request: Request, observed: Observed, known: HostValues) -> None:
        self.ending: Ending = ending_of(observed, known.oom)
        self._request = request
        self._observed = observed
        self._known = known

    @cached_property
    def _parts(self) -> Parts:
        from concmem._figures.parts import Parts

        return Parts(self._request, self._observed, self._known, self._exit())

    def _peak(self) -> Figure:
        return self._parts.peak

    def _build(self) -> Measurement[Any]:
        return self._parts.build()

    def _exit(self) -> Exit:
        from concmem.parts import Exit

        return Exit(self.ending.code, self.ending.signal, self.ending.reason)

    def measurement(self) -> Measurement[Any]:
        """Return the measurement, which computes its parts on first use."""
        from concmem.model import Measurement

        return Measurement.create_lazy(self._build, {"peak": self._peak}, exit=self._exit())
