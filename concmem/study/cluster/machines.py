"""Whether figures of two machines can be compared: the machines must be of the same kind."""

from __future__ import annotations

import attrs

from concmem.host import Host
from concmem.study.store.records import Entry
from concmem.units import format_bytes

__all__ = ["MEMORY_TOLERANCE", "entry_difference", "kind_difference"]

_KIND = ("kernel", "machine", "cpu_model", "cpus_allowed", "page_bytes", "thp")
MEMORY_TOLERANCE = 0.05
"""The memory that firmware and kernel reserve differs a little between identical machines."""


def kind_difference(first: Host, second: Host, places: tuple[str, str]) -> str:
    """
    Return the first difference between two machines, as ``"kernel is 6.1 in the study and 6.8 on this machine"``.

    The result is "" if the machines are of the same kind: same kernel, processor, number of CPUs, page size and mode of
    transparent huge pages, and about the same memory.

    Args:
        first: One machine.
        second: The other one.
        places: The words that name them: ``("in the study", "on this machine")``.
    """
    for name in _KIND:
        if (a := getattr(first, name)) != (b := getattr(second, name)):
            return f"{name} is {a or 'unknown'} {places[0]} and {b or 'unknown'} {places[1]}"
    a, b = first.memory_bytes, second.memory_bytes
    if abs(a - b) > MEMORY_TOLERANCE * max(a, b):
        return f"memory is {format_bytes(a)} {places[0]} and {format_bytes(b)} {places[1]}"
    return ""


def entry_difference(first: Entry, second: Entry, places: tuple[str, str]) -> str:
    """Return why runs of a program on two machines cannot be compared, in the same form; "" if they can."""
    if bool(first.missing) != bool(second.missing):
        entry, place = (first, places[0]) if first.missing else (second, places[1])
        return f"it cannot run {place}: {entry.missing}"
    for name in (field.name for field in attrs.fields(Entry) if field.name != "missing"):  # it may name folders
        if (a := getattr(first, name)) != (b := getattr(second, name)):
            return f"{name} is {a} {places[0]} and {b} {places[1]}"
    return ""
