"""Write and read the tracks of a stored timeline. Each size and number that was read is checked before it is used."""

from __future__ import annotations

import io
import json
import re
from typing import IO, TYPE_CHECKING, Any

import attrs

from concmem._files.bounded import parse_json, read_arrays

if TYPE_CHECKING:
    from concmem.timeline import Timeline

__all__ = ["read_tracks", "timeline_npz"]

_NAME = re.compile(r"[a-z0-9_]{1,32}")
_MOST_COLUMNS = 64
_MOST_ROW_BYTES = 4096
_RING_ROW_BYTES = 16
_LATEST_NS = 1 << 62
_NEEDED = {"statm": "rss", "smaps_rollup": "pss"}
"""Columns for which `Timeline` has attributes."""

StoredColumn = tuple[str, str, int]
"""The fields of `concmem.timeline.Column`: name, unit and scale."""

StoredTrack = tuple[str, tuple[StoredColumn, ...], bytes, int, int, bytes]
"""The fields of `concmem.timeline.Track`: source, columns, windows, row_bytes, readings and ring."""


def timeline_npz(timeline: Timeline) -> bytes:
    """Return all tracks as the content of an ``.npz`` file."""
    import numpy as np

    tracks = timeline.tracks
    about = {
        name: [track.row_bytes, track.readings, [attrs.astuple(column) for column in track.columns]]
        for name, track in tracks.items()
    }
    arrays: dict[str, Any] = {f"{name}.windows": np.frombuffer(t.windows, np.uint8) for name, t in tracks.items()}
    arrays |= {f"{name}.ring": np.frombuffer(t.ring, np.uint8) for name, t in tracks.items()}
    content = io.BytesIO()
    np.savez_compressed(content, about=np.array(json.dumps(about)), **arrays)
    return content.getvalue()


def read_tracks(file: IO[bytes]) -> list[StoredTrack]:
    """
    Read the tracks of an ``.npz`` file.

    Raises:
        Exception: The file is damaged or not a timeline. A ValueError names the track and what is wrong with it.
    """
    stored = read_arrays(file)
    about = stored.get("about")
    if not isinstance(about, str):
        raise ValueError("it has no text named 'about'")
    tracks = parse_json(about.encode("utf-8", "surrogatepass"))
    if not isinstance(tracks, dict):
        raise ValueError("'about' is not a table")
    return [_track(name, each, stored) for name, each in tracks.items()]


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r:.50} is not a name of lower-case letters, digits and underscores")
    return name


def _number(value: object, what: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{what} must be a whole number from {least} to {most}, not {value!r:.50}")
    return value


def _track(name: str, about: Any, stored: dict[str, bytes | str]) -> StoredTrack:
    at = f"track {_checked_name(name)!r}:"
    if not isinstance(about, list) or len(about) != 3 or not isinstance(about[2], list):
        raise ValueError(f"{at} it is not a list of row_bytes, readings and columns")
    if not 1 <= len(about[2]) <= _MOST_COLUMNS:
        raise ValueError(f"{at} it has {len(about[2])} columns; there must be 1 to {_MOST_COLUMNS}")
    columns = tuple(_column(at, column) for column in about[2])
    names = [column[0] for column in columns]
    if len(set(names)) < len(names) or _NEEDED.get(name, names[0]) not in names:
        raise ValueError(f"{at} a required column is missing or a name occurs twice: {', '.join(names)}")
    row_bytes = _number(about[0], f"{at} row_bytes", 12 + 12 * len(columns), _MOST_ROW_BYTES)
    readings = _number(about[1], f"{at} readings", 0, 1 << 63)
    windows, ring = (_rows(at, what, stored.get(f"{name}.{what}"), size)
                     for what, size in (("windows", row_bytes), ("ring", _RING_ROW_BYTES)))  # fmt: skip
    if row_bytes % 4:
        raise ValueError(f"{at} row_bytes must be a multiple of 4, not {row_bytes}")
    return name, columns, windows, row_bytes, readings, ring


def _column(at: str, about: Any) -> StoredColumn:
    if not isinstance(about, list) or len(about) != 3:
        raise ValueError(f"{at} a column is not a list of name, unit and scale")
    name, unit, scale = about
    if unit not in ("bytes", "count"):
        raise ValueError(f"{at} unit must be bytes or count, not {unit!r:.50}")
    return _checked_name(name), unit, _number(scale, f"{at} scale", 1, (1 << 31) - 1)


def _rows(at: str, what: str, content: bytes | str | None, row_bytes: int) -> bytes:
    import numpy as np

    if not isinstance(content, bytes):
        raise ValueError(f"{at} the bytes of its {what} are missing")
    if len(content) % row_bytes:
        raise ValueError(f"{at} its {what} have {len(content)} bytes, which is not a multiple of {row_bytes}")
    times = np.ndarray((len(content) // row_bytes,), dtype="<u8", buffer=content, strides=(row_bytes,))
    if len(times) and (int(times.max()) > _LATEST_NS or (times[1:] < times[:-1]).any()):
        raise ValueError(f"{at} the times of its {what} do not ascend, or are out of range")
    return content
