"""Examine what can be measured on this machine, and prove it with programs of known size."""

from concmem.doctor.checkup import (
    Check,
    Checkup,
    Clock,
    examine,
)

__all__ = [
    "Check",
    "Checkup",
    "Clock",
    "examine",
]
