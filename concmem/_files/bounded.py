"""Read stored files that can come from anywhere. Their sizes are checked before memory is allocated for them."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import zipfile
from pathlib import Path
from typing import IO, Any, NoReturn

__all__ = ["open_regular", "parse_json", "read_arrays", "read_json_file"]

_MOST_JSON_BYTES = 128 << 20
"""More than twice the largest possible measurement: 65,536 processes with their arguments."""
_MOST_TABLES = 1 << 20
_MOST_VALUES = 1 << 23
_MOST_ARRAYS = 64
_MOST_ARRAY_BYTES = 64 << 20
_MOST_ARRAYS_BYTES = 256 << 20


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _not_regular() -> ValueError:
    return ValueError("it is not a regular file")


def parse_json(content: bytes) -> Any:
    """
    Parse JSON of limited size.

    Raises:
        ValueError: It is not JSON, or is larger or nested more deeply than anything that concmem stores.
    """
    if len(content) > _MOST_JSON_BYTES:
        raise ValueError(f"it is larger than {_MOST_JSON_BYTES >> 20} MiB")
    # Python objects can take a hundred times the memory of their JSON text.
    if content.count(b"{") + content.count(b"[") > _MOST_TABLES or content.count(b",") > _MOST_VALUES:
        raise ValueError("it has more values than concmem stores")
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error


def open_regular(path: str | Path) -> IO[bytes]:
    """
    Open a regular file for reading. A pipe could let the reader wait forever, and a device may have no end.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is a directory, a pipe, a socket or a device, or a link to one.
    """
    try:
        # Without O_NONBLOCK, the open of a pipe waits for a writer.
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115 -- returned
    except IsADirectoryError:
        raise _not_regular() from None
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise _not_regular() from None
        raise
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _not_regular()
    return file


def read_json_file(path: Path) -> Any:
    """
    Read a JSON file of limited size.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is not a regular file, or as `parse_json`.
    """
    with open_regular(path) as file:
        return parse_json(file.read(_MOST_JSON_BYTES + 1))


def read_arrays(file: IO[bytes]) -> dict[str, bytes | str]:
    """
    Read the arrays of an ``.npz`` file: one-dimensional arrays of bytes, and single texts. Others are refused.

    NumPy allocates an array of the size in the header before it reads the data, so sizes are compared first.

    Raises:
        Exception: Of many types if the file is damaged: zipfile and NumPy check little of their input.
    """
    arrays: dict[str, bytes | str] = {}
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_ARRAYS:
            raise ValueError(f"it has {len(entries)} arrays; at most {_MOST_ARRAYS} are allowed")
        if sum(entry.file_size for entry in entries) > _MOST_ARRAYS_BYTES:
            raise ValueError(f"its arrays together are larger than {_MOST_ARRAYS_BYTES >> 20} MiB")
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            if name in arrays:
                raise ValueError(f"it has two arrays named {name!r}")
            if entry.file_size > _MOST_ARRAY_BYTES:
                raise ValueError(f"{name!r} is larger than {_MOST_ARRAY_BYTES >> 20} MiB")
            with archive.open(entry) as stored:
                arrays[name] = _array(name, stored.read(entry.file_size + 1))
    return arrays


def _array(name: str, content: bytes) -> bytes | str:
    import numpy as np
    from numpy.lib import format as npy

    stream = io.BytesIO(content)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    if version not in readers:
        raise ValueError(f"{name!r} has an unknown version of the .npy format")
    shape, _, kind = readers[version](stream)
    rest = content[stream.tell() :]
    if shape == (len(rest),) and kind == np.uint8:
        return rest
    if shape == () and kind.kind == "U" and kind.itemsize == len(rest):
        return str(np.frombuffer(rest, dtype=kind)[0]) if rest else ""
    raise ValueError(
        f"{name!r} must be one row of bytes or one text, not {len(rest)} bytes of type {kind} and shape {shape}"
    )
