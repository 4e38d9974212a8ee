"""
Build a `Measurement` from what was observed of a tree.

Only the exit of the root is computed at once, the rest on first use: for a command of half a millisecond, it would make
the call nearly 10 % longer.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import attrs

from concmem._figures.outcome import exit_of
from concmem._native.observed import Observed
from concmem._native.request import Request
from concmem.host import Host
from concmem.model import Figure, Measurement, OutOfMemory

if TYPE_CHECKING:
    from concmem._figures.parts import Parts

__all__ = ["HostValues", "build_measurement"]


@attrs.frozen(eq=False, repr=False)
class HostValues:
    """
    What the calling process knows of a measurement, and the sampler does not.

    Attributes:
        host: The machine.
        started_s: The time of the start, in seconds since 1970.
        stdout, stderr: What the command wrote if PIPE was given, else None.
        swapped_bytes: What the whole machine swapped in and out; None if it has no swap.
        oom: The processes of the tree that the OOM killer killed, or None.
    """

    host: Host
    started_s: float
    stdout: bytes | None
    stderr: bytes | None
    swapped_bytes: int | None
    oom: OutOfMemory | None


class _Later:
    """
    Computes what is read of a measurement later.

    `concmem._figures.parts` is imported on first use: it takes as long as a short command runs, and a quiet
    ``concmem run`` does without it.
    """

    def __init__(self, request: Request, observed: Observed, known: HostValues) -> None:
        self.request = request
        self.observed = observed
        self.known = known

    @cached_property
    def parts(self) -> Parts:
        from concmem._figures.parts import Parts

        return Parts(self.request, self.observed, self.known)

    def peak(self) -> Figure:
        return self.parts.peak

    def build(self) -> Measurement:
        return self.parts.build()


def build_measurement(request: Request, observed: Observed, known: HostValues) -> Measurement:
    """Build a lazy measurement from the request, what was observed, and what the calling process knows."""
    later = _Later(request, observed, known)
    return Measurement.create_lazy(later.build, {"peak": later.peak}, exit=exit_of(observed, known.oom))
