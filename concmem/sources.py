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

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Source", "names", "probe", "read"]

_NEED_GROUP = frozenset({"cgroup", "rss_stat"})
"""Sources that recognise the tree by the control group in which it was started."""


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
    ffi, lib = native()
    sources: dict[str, tuple[str, ...]] = {}
    columns = ffi.new("struct cm_column[]", lib.CM_MAX_COLUMNS)
    while (name := lib.cm_source_at(len(sources), columns)) != ffi.NULL:
        sources[ffi.string(name).decode()] = tuple(ffi.string(c.name).decode() for c in columns if c.name[0] != b"\0")
    return sources


def _try_source(number: int, name: str, columns: tuple[str, ...], proc_fd: int) -> Source:
    ffi, lib = native()
    why, remedy = ffi.new("char[]", 512), ffi.new("char **")
    usable = lib.cm_probe(proc_fd, name.encode(), why, len(why)) == 0
    why_not = ffi.string(why).decode()
    if usable and name in _NEED_GROUP:
        with contextlib.closing(make_groups(name == "cgroup", name == "rss_stat")) as groups:
            why_not = groups.why_not if name == "cgroup" else groups.selector_why_not
            usable = not why_not
    needs = ffi.string(lib.cm_source_needs(number, remedy)).decode()
    return Source(name, columns, usable, why_not, needs, ffi.string(remedy[0]).decode())


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
        return tuple(_try_source(number, name, columns, fd) for number, (name, columns) in enumerate(names().items()))


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
