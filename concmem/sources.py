"""Which ways to read memory there are, and which of them work here."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from concmem._shm import native
from concmem.model import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["names", "probe", "read"]


@contextmanager
def _opened(proc: str | os.PathLike[str]) -> Iterator[int]:
    fd = os.open(proc, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _columns(number: int) -> tuple[str, tuple[str, ...]] | None:
    ffi, lib = native()
    columns = ffi.new("struct cm_column[]", lib.CM_MAX_COLUMNS)
    name = lib.cm_source_at(number, columns)
    if name == ffi.NULL:
        return None
    return ffi.string(name).decode(), tuple(ffi.string(c.name).decode() for c in columns if c.name[0] != b"\0")


def names() -> dict[str, tuple[str, ...]]:
    """Every source's name with the names of its columns, in the order of the tracks."""
    found: dict[str, tuple[str, ...]] = {}
    while (source := _columns(len(found))) is not None:
        found[source[0]] = source[1]
    return found


def probe(proc: str | os.PathLike[str] = "/proc") -> tuple[Source, ...]:
    """
    All sources, each tried on this very process.

    Args:
        proc: Where the kernel's process files are.

    Raises:
        UnsupportedPlatform: This is not Linux.
        OSError: There is nothing at `proc`.
    """
    ffi, lib = native()
    why = ffi.new("char[]", 256)
    with _opened(proc) as fd:
        return tuple(
            Source(name, columns, lib.cm_probe(fd, name.encode(), why, len(why)) == 0, ffi.string(why).decode())
            for name, columns in names().items()
        )


def read(source: str, pid: int, proc: str | os.PathLike[str] = "/proc") -> dict[str, int]:
    """
    One reading of one process, now: bytes and counts by column.

    Raises:
        ProcessLookupError: It has ended, or has no memory any more.
        PermissionError: It is another user's.
        OSError: As the kernel says.
        KeyError: There is no such source.
    """
    ffi, lib = native()
    columns = names()[source]
    row = ffi.new("uint64_t[]", lib.CM_MAX_COLUMNS)
    with _opened(proc) as fd:
        got = lib.cm_read(fd, source.encode(), pid, row, len(row))
    if got < 0:
        import errno

        code = errno.ESRCH if -got in (errno.ENOENT, errno.ENODATA) else -got
        raise OSError(code, os.strerror(code), f"{os.fspath(proc)}/{pid}/{source}")
    return dict(zip(columns, row, strict=False))
