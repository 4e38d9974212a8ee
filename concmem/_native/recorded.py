"""Copy the tracks of a recording, and what became of each source, from ``struct cm_track`` into typed values."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from concmem._native.shared_memory import SharedMemory, layout, native, struct_layout
from concmem._native.struct_row import StructRow

if TYPE_CHECKING:
    from concmem.timeline import Column, Track

__all__ = ["CopiedTrack", "ObservedSource", "copy_tracks", "read_sources", "read_tracks"]

_RING_ROW_BYTES = 16


class ObservedSource(StructRow):
    """How one source ended in a measurement: its columns, and then fields of ``struct cm_track`` in its order."""

    columns: tuple[Column, ...]
    why_not_text: bytes
    error: int
    wanted: int
    largest_values: bytes

    @property
    def is_wanted(self) -> bool:
        """Whether it was requested, or is read by default."""
        return bool(self.wanted)

    @property
    def is_missing(self) -> bool:
        """Whether it could not be used."""
        return bool(self.error)

    @property
    def why_not(self) -> str:
        """One sentence if it is missing."""
        return self.why_not_text.partition(b"\0")[0].decode(errors="replace")

    @property
    def maxima(self) -> list[int]:
        """The largest value of each column, in bytes or counts."""
        largest = memoryview(self.largest_values).cast("Q")
        return [value * column.scale for value, column in zip(largest, self.columns, strict=False)]


class _Place(StructRow):
    """Fields of ``struct cm_track``, in its order: where its windows and its ring are."""

    offset: int
    ring_offset: int
    row_bytes: int
    ring_capacity: int
    count: int  # type: ignore[assignment]  # it hides tuple.count
    readings: int
    ring_frozen: int


@lru_cache(maxsize=1)
def _layouts() -> tuple[struct.Struct, struct.Struct]:
    """Return the layouts of `_Place` and of the last fields of `ObservedSource`."""
    of_source = struct_layout("struct cm_track", ("why_not", "error", "wanted", "max"))
    return struct_layout("struct cm_track", _Place._fields), of_source


@lru_cache(maxsize=1)
def _tracks_at() -> int:
    """Return the offset of the tracks in the head."""
    ffi, _ = native()
    return int(ffi.offsetof("struct cm_head", "tracks"))


def _tracks_in(head: bytes) -> memoryview:
    """Return the part of a copy of the head with its ``struct cm_track``, up to the last whole one."""
    layout_of_place, _ = _layouts()
    rest = memoryview(head)[_tracks_at() :]
    return rest[: len(rest) // layout_of_place.size * layout_of_place.size]


@lru_cache(maxsize=1)
def _empty_tracks() -> tuple[Track, ...]:
    """Return every track without readings, in the order of the tracks."""
    from concmem.timeline import Column, Track

    ffi, lib = native()
    units = {lib.CM_UNIT_BYTES: "bytes", lib.CM_UNIT_COUNT: "count"}
    head, _ = layout()
    return tuple(
        Track(
            source=ffi.string(track.source).decode(),
            columns=tuple(
                Column(ffi.string(c.name).decode(), units[c.unit], c.scale) for c in track.columns[0 : track.ncolumns]
            ),
            windows=b"",
            row_bytes=track.row_bytes,
            readings=0,
        )
        for track in head.tracks[0 : head.ntracks]
    )


@lru_cache(maxsize=1)
def _shared_tracks() -> dict[str, Track]:
    """Return the tracks of the sources that are read by default: every timeline has them, even if nothing was read."""
    head, _ = layout()
    return {track.source: track for i, track in enumerate(_empty_tracks()) if not head.tracks[i].on_request}


def _ring(memory: SharedMemory, place: _Place) -> bytes:
    """Return the frozen copy of the ring, which lies behind the running ring, oldest row first."""
    rows, most = place.ring_frozen, place.ring_capacity
    offset = place.ring_offset + most * _RING_ROW_BYTES
    if rows <= most:
        return memory.copy(offset, rows * _RING_ROW_BYTES)
    start = rows % most * _RING_ROW_BYTES  # the oldest rows were overwritten
    return memory.copy(offset + start, most * _RING_ROW_BYTES - start) + memory.copy(offset, start)


class CopiedTrack(StructRow):
    """
    One track as it was copied.

    Attributes:
        number: Its number in the table of sources.
        windows, row_bytes, readings, ring: As in `Track`.
    """

    number: int
    windows: bytes
    row_bytes: int
    readings: int
    ring: bytes


def copy_tracks(memory: SharedMemory, head: bytes) -> tuple[CopiedTrack, ...]:
    """
    Copy the tracks with readings.

    Args:
        memory: The shared memory.
        head: A copy of its ``struct cm_head``.
    """
    layout_of_place, _ = _layouts()
    places = enumerate(map(_Place, layout_of_place.iter_unpack(_tracks_in(head))))
    return tuple(
        [
            CopiedTrack((i, memory.copy(p.offset, p.count * p.row_bytes), p.row_bytes, p.readings, _ring(memory, p)))
            for i, p in places
            if p.readings
        ]
    )


def read_tracks(copied: Iterable[CopiedTrack]) -> dict[str, Track]:
    """Return by source the tracks that every timeline has, and those that were copied, in the order of the tracks."""
    from concmem.timeline import Track

    by_number = {each.number: each for each in copied}
    tracks: dict[str, Track] = {}
    for number, empty in enumerate(_empty_tracks()):
        source = empty.source
        if (each := by_number.get(number)) is not None:
            tracks[source] = Track(source, empty.columns, each.windows, each.row_bytes, each.readings, each.ring)
        elif source in _shared_tracks():
            tracks[source] = empty
    return tracks


def read_sources(head: bytes) -> dict[str, ObservedSource]:
    """Read from a copy of ``struct cm_head`` what became of each source, in the order of the tracks."""
    _, layout_of_source = _layouts()
    read = zip(_empty_tracks(), layout_of_source.iter_unpack(_tracks_in(head)), strict=False)
    return {track.source: ObservedSource((track.columns, *values)) for track, values in read}
