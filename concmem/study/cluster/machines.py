"""When figures of two machines compare: when these are of one kind."""

from __future__ import annotations

import attrs

from concmem.host import Host
from concmem.study.store.records import Entry
from concmem.units import format_bytes

__all__ = ["MEMORY_TOLERANCE", "entry_difference", "kind_difference"]

_KIND = ("kernel", "machine", "cpu_model", "cpus_allowed", "page_bytes", "thp")
MEMORY_TOLERANCE = 0.05
"""What firmware and kernel keep for themselves differs a little from one machine to its twin."""


def kind_difference(there: Host, here: Host) -> str:
    """
    Why two machines are not of one kind, as ``"kernel is 6.1 there and 6.8 here"``; empty where they are.

    Of one kind are those of one kernel, one processor and as many CPUs, one page size and one mode of transparent
    huge pages, and of about as much memory.
    """
    for name in _KIND:
        if (a := getattr(there, name)) != (b := getattr(here, name)):
            return f"{name} is {a or 'unknown'} there and {b or 'unknown'} here"
    if abs(there.memory_bytes - here.memory_bytes) > MEMORY_TOLERANCE * max(there.memory_bytes, here.memory_bytes):
        return f"memory is {format_bytes(there.memory_bytes)} there and {format_bytes(here.memory_bytes)} here"
    return ""


def entry_difference(there: Entry, here: Entry) -> str:
    """Why runs of a program on two machines do not compare, in the same form; empty where they do."""
    if bool(there.missing) != bool(here.missing):
        return f"missing is {there.missing or 'nothing'} there and {here.missing or 'nothing'} here"
    for name in (field.name for field in attrs.fields(Entry) if field.name != "missing"):  # which may name folders
        if (a := getattr(there, name)) != (b := getattr(here, name)):
            return f"{name} is {a} there and {b} here"
    return ""
