"""The sources of memory figures, and which of them work on this machine."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import attrs

from concmem._cgroup.groups import make_groups
from concmem._escaping import escape_fields
from concmem._native.resources import OpenFile
from concmem._native.shared_memory import native
from concmem._native.source_table import SourceEntry, source_entries

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Source", "names", "probe", "read"]


@attrs.frozen(field_transformer=escape_fields)
class Source:
    """
    One kernel interface that memory is read from, and whether it works here.

    Attributes:
        name: ``statm``, ``status``, ``smaps_rollup``, ...
        columns: The names of the values that it has.
        usable: Whether it works here, found by trying.
        why_not: One sentence if it does not work, else "".
        needs: What it requires, in a few words.
        remedy: The command that makes it available, or "".
    """

    name: str
    columns: tuple[str, ...]
    usable: bool
    why_not: str = ""
    needs: str = ""
    remedy: str = ""


@contextlib.contextmanager
def _opened(proc: str | os.PathLike[str]) -> Iterator[int]:
    with OpenFile.of(proc, os.O_RDONLY | os.O_DIRECTORY) as file:
        yield file.fileno()


def names() -> dict[str, tuple[str, ...]]:
    """Return the names of all sources with the names of their columns, in the order of the tracks."""
    return {name: entry.columns for name, entry in source_entries().items()}


def _try_source(entry: SourceEntry, proc_fd: int) -> Source:
    ffi, lib = native()
    why = ffi.new("char[]", 512)
    usable = lib.cm_probe(proc_fd, entry.name.encode(), why, len(why)) == 0
    why_not = ffi.string(why).decode()
    if usable and entry.group is not None:
        with contextlib.closing(make_groups(entry.group == "memory", entry.group == "selector")) as groups:
            why_not = groups.reason(entry.group)
            usable = not why_not
    return Source(entry.name, entry.columns, usable, why_not, entry.needs, entry.remedy)


def probe(proc: str | os.PathLike[str] = "/proc") -> tuple[Source, ...]:
    """
    Try every source on this process, and return all of them.

    A source that requires a control group is tried with one that is removed again.

    Args:
        proc: The folder where procfs is mounted.

    Raises:
        UnsupportedPlatform: This is not Linux.
        OSError: `proc` cannot be opened.
    """
    with _opened(proc) as fd:
        return tuple(_try_source(entry, fd) for entry in source_entries().values())


def read(source: str, pid: int, proc: str | os.PathLike[str] = "/proc") -> dict[str, int]:
    """
    Read one source of one process, and return bytes and counts by column.

    Raises:
        ProcessLookupError: The process has ended, or has no memory any more.
        PermissionError: The process belongs to another user.
        OSError: The kernel refused the reading for another reason.
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
