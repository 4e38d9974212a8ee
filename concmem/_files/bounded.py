"""Stored files that can come from anywhere: their sizes are checked before anything is read or made of them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import IO, Any, NoReturn

__all__ = ["parse_json", "read_arrays", "read_json_file"]

_MOST_JSON_BYTES = 128 << 20
"""The largest measurement that the sampler can make, 65,536 processes with their arguments, is less than half."""
_MOST_TABLES = 1 << 20
_MOST_VALUES = 1 << 23
_MOST_ARRAYS = 64
_MOST_ARRAY_BYTES = 64 << 20
_MOST_ARRAYS_BYTES = 256 << 20


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def parse_json(content: bytes) -> Any:
    """
    What JSON of limited size says.

    Raises:
        ValueError: It is not JSON, or larger or deeper than anything that concmem stores.
    """
    if len(content) > _MOST_JSON_BYTES:
        raise ValueError(f"it is larger than {_MOST_JSON_BYTES >> 20} MiB")
    # Python's objects take up to a hundred times as much as their text.
    if content.count(b"{") + content.count(b"[") > _MOST_TABLES or content.count(b",") > _MOST_VALUES:
        raise ValueError("it has more values than concmem stores")
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json_file(path: Path) -> Any:
    """
    What a JSON file of limited size says.

    Raises:
        OSError: It cannot be opened.
        ValueError: As `parse_json`.
    """
    with path.open("rb") as file:
        return parse_json(file.read(_MOST_JSON_BYTES + 1))


def read_arrays(file: IO[bytes]) -> dict[str, bytes | str]:
    """
    The arrays of an ``.npz`` file: bytes of one dimension as bytes, one text as text; no other kind is read.

    NumPy makes an array as large as a header says before it reads a byte of it, so sizes are compared first.

    Raises:
        Exception: Of many kinds, where it is no such file: zipfile and NumPy check little of what they are given.
    """
    found: dict[str, bytes | str] = {}
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_ARRAYS:
            raise ValueError(f"it holds {len(entries)} arrays; the most is {_MOST_ARRAYS}")
        if sum(entry.file_size for entry in entries) > _MOST_ARRAYS_BYTES:
            raise ValueError(f"its arrays are larger than {_MOST_ARRAYS_BYTES >> 20} MiB together")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in found:
                raise ValueError(f"{name!r} is there twice")
            if entry.file_size > _MOST_ARRAY_BYTES:
                raise ValueError(f"{name!r} is larger than {_MOST_ARRAY_BYTES >> 20} MiB")
            with archive.open(entry) as stored:
                found[name] = _array(name, stored.read(entry.file_size + 1))
    return found


def _array(name: str, content: bytes) -> bytes | str:
    import numpy as np
    from numpy.lib import format as npy

    stream = io.BytesIO(content)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    if version not in readers:
        raise ValueError(f"{name!r} is of an unknown version")
    shape, _, kind = readers[version](stream)
    rest = content[stream.tell() :]
    if shape == (len(rest),) and kind == np.uint8:
        return rest
    if shape == () and kind.kind == "U" and kind.itemsize == len(rest):
        return str(np.frombuffer(rest, dtype=kind)[0]) if rest else ""
    raise ValueError(f"{name!r} is an array of {kind} of the shape {shape}, in {len(rest)} bytes")
