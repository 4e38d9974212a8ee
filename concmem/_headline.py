"""What a measurement comes to, in one sentence."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING

from concmem.units import format_bytes

if TYPE_CHECKING:
    from concmem.model import Measurement

__all__ = ["headline", "legible"]


def legible(text: str) -> str:
    """A text with a mark for every byte that is not UTF-8 (in Python: for every surrogate), which nothing can draw."""
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


def _program(command: tuple[str, ...] | str) -> str:
    return legible(PurePath(command[0]).name) if isinstance(command, tuple) else "the command"


def headline(measurement: Measurement) -> str:
    """One sentence for those who want one number: what the command needed, as exactly as it is known."""
    name, peak = _program(measurement.command), measurement.peak
    if peak.bytes is None:
        return f"How much memory {name} needed could not be measured: {peak.note}"
    if peak.status == "sampled":
        least, most = f"{name} needed at least {format_bytes(peak.bytes)} of memory", measurement.tree_upper_bound.bytes
        if most is None or most <= peak.bytes or len(measurement.processes) < 2:
            return f"{least}."
        return f"{least}; the high-water marks of its processes together are {format_bytes(most)}."
    low, high = format_bytes(peak.low_bytes or 0), format_bytes(peak.high_bytes or 0)
    if peak.status == "upper_bound":
        return f"{name} needed no more than {high} of memory."
    if low == high or peak.status == "exact":
        return f"{name} needed {format_bytes(peak.bytes)} of memory."
    return f"{name} needed {format_bytes(peak.bytes)} of memory (the truth lies between {low} and {high})."
