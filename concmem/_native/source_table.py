"""The table of sources in C, as Python sees it."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from concmem._classes.record import Record
from concmem._native.shared_memory import native

__all__ = ["Group", "SourceEntry", "groups_of", "source_entries"]

Group = Literal["memory", "selector"]
"""The control group by which a source recognises the tree: one with a memory controller, or one with only the tree."""


class SourceEntry(Record):
    """
    What is known of a source before it is used.

    Attributes:
        name: Its name.
        columns: The names of its columns.
        needs: What it requires, in a few words.
        remedy: The command that makes it usable, or "".
        proof_column: The title of its column in doctor's table of known programs, or "".
        group: The control group by which it recognises the tree; None if it needs none.
        is_read_alone: Whether one process can be read once.
    """

    name: str
    columns: tuple[str, ...]
    needs: str
    remedy: str
    proof_column: str
    group: Group | None
    is_read_alone: bool


@lru_cache(maxsize=1)
def source_entries() -> dict[str, SourceEntry]:
    """Return every source by its name, in the order of the tracks."""
    ffi, lib = native()
    groups: dict[int, Group] = {lib.CM_GROUP_MEMORY: "memory", lib.CM_GROUP_SELECTOR: "selector"}
    entries: dict[str, SourceEntry] = {}
    info = ffi.new("struct cm_source_info *")
    while lib.cm_source_at(len(entries), info) == 0:
        entry = SourceEntry(
            name=ffi.string(info.name).decode(),
            columns=tuple(ffi.string(column.name).decode() for column in info.columns[0 : info.ncolumns]),
            needs=ffi.string(info.needs).decode(),
            remedy=ffi.string(info.remedy).decode(),
            proof_column=ffi.string(info.column).decode(),
            group=groups.get(info.group),
            is_read_alone=bool(info.is_read_alone),
        )
        entries[entry.name] = entry
    return entries


def groups_of(sources: frozenset[str]) -> set[Group]:
    """Return the control groups that these sources need."""
    return {group for source in sources if (group := source_entries()[source].group) is not None}
