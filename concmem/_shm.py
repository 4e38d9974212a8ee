"""The memory that the sampler writes and this process reads; and the native extension that knows its layout."""

from __future__ import annotations

import errno
import mmap
import os
from functools import lru_cache
from typing import Any

from concmem.errors import SamplerError, UnsupportedPlatform
from concmem.request import Request

try:
    from concmem._native import ffi, lib
except ImportError as error:  # pragma: no cover - not built, or not Linux
    ffi = lib = None
    _missing: ImportError | None = error
else:
    _missing = None

__all__ = ["SharedMemory", "layout", "native", "track_of"]


def native() -> tuple[Any, Any]:
    """
    The extension's ``ffi`` and ``lib``.

    Raises:
        UnsupportedPlatform: There is none here.
    """
    if lib is None:
        import sys

        if not sys.platform.startswith("linux"):
            raise UnsupportedPlatform("concmem measures through Linux's /proc, so it needs Linux")
        raise UnsupportedPlatform(f"concmem's native part is not built here: {_missing}")
    return ffi, lib


@lru_cache(maxsize=1)
def layout() -> tuple[Any, int]:
    """A head as C lays it out, and the size of the whole: the same for every measurement."""
    ffi, lib = native()
    head = ffi.new("struct cm_head *")
    return head, lib.cm_layout(head)


@lru_cache(maxsize=1)
def _numbers() -> dict[str, int]:
    ffi, _ = native()
    head, _ = layout()
    return {ffi.string(track.source).decode(): number for number, track in enumerate(head.tracks[0 : head.ntracks])}


def track_of(head: Any, source: str) -> Any:
    """The track of a source."""
    return head.tracks[_numbers()[source]]


@lru_cache(maxsize=32)
def _draft(extra: frozenset[str]) -> tuple[Any, int]:
    """The same for a request with these optional sources."""
    ffi, _ = native()
    blank, size = layout()
    head = ffi.new("struct cm_head *", blank[0])
    head.memory_group_fd = head.selector_group_fd = -1
    for track in head.tracks[0 : head.ntracks]:
        track.wanted = not track.on_request or ffi.string(track.source).decode() in extra
    return head, size


class _Mapping:
    """A memfd, its mapping and ``struct cm_head *``: making them takes longer than a short measurement should."""

    def __init__(self) -> None:
        ffi, _ = native()
        _, size = layout()
        self.fd = os.memfd_create("concmem", os.MFD_CLOEXEC)
        try:
            os.ftruncate(self.fd, size)
            self.map = mmap.mmap(self.fd, size)
        except BaseException:
            os.close(self.fd)
            raise
        self._owner_pid = os.getpid()
        self._inode = os.fstat(self.fd).st_ino
        self._buffer = ffi.from_buffer(self.map)
        self.head = ffi.cast("struct cm_head *", self._buffer)

    def is_ours(self) -> bool:
        """Whether it is this process's own, and not a forked parent's."""
        return self._owner_pid == os.getpid()

    def is_open(self) -> bool:
        """Whether the descriptor still is what it was: a host that turns into a daemon may close all that it finds."""
        _, lib = native()
        return bool(lib.cm_is_file(self.fd, self._inode))

    def close(self) -> None:
        if not self.is_open():
            _lost.append(self)  # its numbers may be others' files by now, which nobody must close
            return
        ffi, _ = native()
        ffi.release(self._buffer)
        self.map.close()
        os.close(self.fd)


_MOST_KEPT = 2
_kept: list[_Mapping] = []
_lost: list[_Mapping] = []


def _take() -> _Mapping:
    while True:
        try:
            mapping = _kept.pop()
        except IndexError:
            return _Mapping()
        if mapping.is_ours() and mapping.is_open():
            return mapping
        mapping.close()


def _leave_to_parent() -> None:
    while _kept:
        _kept.pop().close()


os.register_at_fork(after_in_child=_leave_to_parent)


class SharedMemory:
    """
    One measurement's memory: written by the sampler, owned by Python.

    Attributes:
        fd: The memfd, until `close`.
        over_fd: An eventfd that can be read as soon as the sampler has written its last word, until `close`.
        head: ``struct cm_head *``, until `close`.
    """

    def __init__(self, request: Request) -> None:
        ffi, _ = native()
        draft, size = _draft(request.extra)
        self.over_fd = -1
        try:
            self.over_fd = os.eventfd(0, os.EFD_CLOEXEC)
            self._mapping = _take()
        except OSError as error:
            if self.over_fd >= 0:
                os.close(self.over_fd)
            why = (
                "the limit on the size of files (ulimit -f) is below that"
                if error.errno == errno.EFBIG
                else error.strerror
            )
            text = f"no room for the recording, {size >> 20} MiB of which little is used: {why}"
            raise SamplerError(error.errno, text, "concmem") from None
        self.fd = self._mapping.fd
        self.head = head = self._mapping.head
        ffi.memmove(head, draft, ffi.sizeof("struct cm_head"))
        head.interval_ns = request.interval_ns
        head.pss_budget_ppm = request.pss_budget_ppm
        head.timeout_ns = request.timeout_ns
        head.memory_limit_bytes = request.memory_limit_bytes

    def copy(self, offset: int, size: int) -> bytes:
        """A piece of it."""
        return self._mapping.map[offset : offset + size]

    def close(self) -> None:
        """Nothing of it can be read any more; nobody but this process may have it by now."""
        os.close(self.over_fd)
        head, self.head = self.head, None
        is_small = head.ticks <= 1000 and head.processes <= 1000 and head.text_bytes <= 1 << 20
        if is_small and len(_kept) < _MOST_KEPT:
            _kept.append(self._mapping)
        else:
            self._mapping.close()
