"""Whether figures of two machines compare: the machines must be of the same kind."""

from __future__ import annotations

import attrs

from concmem.host import Host
from concmem.study.store.records import Entry
from concmem.units import format_bytes

__all__ = ["MEMORY_TOLERANCE", "entry_difference", "kind_difference"]

_KIND = ("kernel", "machine", "cpu_model", "cpus_allowed", "page_bytes", "thp")
MEMORY_TOLERANCE = 0.05
"""The memory that firmware and kernel reserve differs a little between identical machines."""


def kind_difference(there: Host, here: Host) -> str:
    """
    Say why two machines are of different kinds, as ``"kernel is 6.1 there and 6.8 here"``; return "" if they are alike.

    Machines of the same kind have the same kernel, processor, number of CPUs, page size and mode of transparent huge
    pages, and about the same memory.
    """
    for name in _KIND:
        if (a := getattr(there, name)) != (b := getattr(here, name)):
            return f"{name} is {a or 'unknown'} there and {b or 'unknown'} here"
    if abs(there.memory_bytes - here.memory_bytes) > MEMORY_TOLERANCE * max(there.memory_bytes, here.memory_bytes):
        return f"memory is {format_bytes(there.memory_bytes)} there and {format_bytes(here.memory_bytes)} here"
    return ""


def entry_difference(there: Entry, here: Entry) -> str:
    """Say why runs of a program on two machines do not compare, in the same form; return "" if they do."""
    if bool(there.missing) != bool(here.missing):
        return f"missing is {there.missing or 'nothing'} there and {here.missing or 'nothing'} here"
    for name in (field.name for field in attrs.fields(Entry) if field.name != "missing"):  # it may name folders
        if (a := getattr(there, name)) != (b := getattr(here, name)):
            return f"{name} is {a} there and {b} here"
    return ""
