"""Which ways to read memory there are, and which of them work here."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import attrs

from concmem._cgroup.groups import make
from concmem._escaping import escape_fields
from concmem._native.resources import OpenFile
from concmem._native.shared_memory import native

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Source", "names", "probe", "read"]

_IN_A_GROUP = frozenset({"cgroup", "rss_stat"})
"""Sources that see the tree by the control group that it was born in."""


@attrs.frozen(field_transformer=escape_fields)
class Source:
    """
    One way to read memory, and whether it can be used here.

    Attributes:
        name: ``statm``, ``status``, ``smaps_rollup``, ...
        columns: What it reads.
        usable: Whether it works here, found by trying.
        why_not: One sentence where it does not.
        needs: What it takes to use it, in a few words.
        remedy: The command that gives it to those who have not, or "".
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
    """Every source's name with the names of its columns, in the order of the tracks."""
    ffi, lib = native()
    found: dict[str, tuple[str, ...]] = {}
    columns = ffi.new("struct cm_column[]", lib.CM_MAX_COLUMNS)
    while (name := lib.cm_source_at(len(found), columns)) != ffi.NULL:
        found[ffi.string(name).decode()] = tuple(ffi.string(c.name).decode() for c in columns if c.name[0] != b"\0")
    return found


def _tried(number: int, name: str, columns: tuple[str, ...], proc_fd: int) -> Source:
    ffi, lib = native()
    why, remedy = ffi.new("char[]", 512), ffi.new("char **")
    usable = lib.cm_probe(proc_fd, name.encode(), why, len(why)) == 0
    why_not = ffi.string(why).decode()
    if usable and name in _IN_A_GROUP:
        with contextlib.closing(make(name == "cgroup", name == "rss_stat")) as groups:
            why_not = groups.why_not if name == "cgroup" else groups.selector_why_not
            usable = not why_not
    needs = ffi.string(lib.cm_source_needs(number, remedy)).decode()
    return Source(name, columns, usable, why_not, needs, ffi.string(remedy[0]).decode())


def probe(proc: str | os.PathLike[str] = "/proc") -> tuple[Source, ...]:
    """
    All sources, each tried: on this very process, or where it takes a control group with one that is removed again.

    Args:
        proc: Where the kernel's process files are.

    Raises:
        UnsupportedPlatform: This is not Linux.
        OSError: There is nothing at `proc`.
    """
    with _opened(proc) as fd:
        return tuple(_tried(number, name, columns, fd) for number, (name, columns) in enumerate(names().items()))


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
