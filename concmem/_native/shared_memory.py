"""The memory that the sampler writes and this process reads, and access to the C extension."""

from __future__ import annotations

import errno
import os
import struct
from functools import lru_cache
from typing import Any

from concmem._native.request import Request
from concmem.errors import SamplerError, UnsupportedPlatform

try:
    from concmem._native._core import ffi, lib
except ImportError as error:  # pragma: no cover - not built, or not Linux
    ffi = lib = None
    _missing: ImportError | None = error
else:
    _missing = None

__all__ = ["SharedMemory", "layout", "lib", "native", "struct_layout", "track_of"]


def native() -> tuple[Any, Any]:
    """
    Return ``ffi`` and ``lib`` of the C extension.

    Raises:
        UnsupportedPlatform: The extension could not be imported.
    """
    if lib is None:
        import sys

        if not sys.platform.startswith("linux"):
            raise UnsupportedPlatform("concmem requires Linux: it reads memory from Linux's /proc")
        raise UnsupportedPlatform(f"the C extension of concmem cannot be loaded: {_missing}")
    return ffi, lib


@lru_cache(maxsize=1)
def layout() -> tuple[Any, int]:
    """Return a ``struct cm_head`` in which C has filled in the layout, and the total size. Both are always the same."""
    ffi, lib = native()
    head = ffi.new("struct cm_head *")
    return head, lib.cm_layout(head)


SHORTEST_INTERVAL_S = 0.001
"""The time between two readings while the budget allows it."""

_CODES = {"int32_t": "i", "uint32_t": "I", "uint64_t": "Q", "uint8_t": "B"}
"""How `struct` writes the types of the fields in ``csrc/concmem.h``."""


def struct_layout(name: str, fields: tuple[str, ...]) -> struct.Struct:
    """Return the layout of fields of a C struct. They must be in the struct's order. Arrays and structs are bytes."""
    ffi, _ = native()
    known = dict(ffi.typeof(name).fields)
    form, at = "=", 0
    for field in fields:
        kind, offset = known[field].type, known[field].offset
        form += f"{offset - at}x" + (f"{ffi.sizeof(kind)}s" if kind.kind in ("array", "struct") else _CODES[kind.cname])
        at = offset + ffi.sizeof(kind)
    return struct.Struct(f"{form}{ffi.sizeof(name) - at}x")


@lru_cache(maxsize=1)
def _numbers() -> dict[str, int]:
    ffi, _ = native()
    head, _ = layout()
    return {ffi.string(track.source).decode(): number for number, track in enumerate(head.tracks[0 : head.ntracks])}


def track_of(head: Any, source: str) -> Any:
    """Return the track of a source."""
    return head.tracks[_numbers()[source]]


@lru_cache(maxsize=32)
def _prepare_head(extra: frozenset[str]) -> tuple[Any, int]:
    """Return the head for a request with these optional sources, and the total size."""
    ffi, _ = native()
    blank, size = layout()
    head = ffi.new("struct cm_head *", blank[0])
    head.memory_group_fd = head.selector_group_fd = -1
    for track in head.tracks[0 : head.ntracks]:
        track.wanted = not track.on_request or ffi.string(track.source).decode() in extra
    return head, size


@lru_cache(maxsize=1)
def _leftover() -> dict[str, int]:
    _, lib = native()
    return {"wait": lib.CM_LEFTOVER_WAIT, "leave": lib.CM_LEFTOVER_LEAVE, "kill": lib.CM_LEFTOVER_KILL}


@lru_cache(maxsize=1)
def _row_layout() -> tuple[int, int]:
    """Return the size of a row of the process table, and the offset of the name in it."""
    ffi, _ = native()
    return ffi.sizeof("struct cm_process"), ffi.offsetof("struct cm_process", "comm")


if lib is not None:
    os.register_at_fork(after_in_child=lib.cm_memory_forget_kept)


class SharedMemory:
    """
    The shared memory of one measurement. The sampler writes it, C owns it, and it is released with this object.

    Attributes:
        fd: The memfd.
        done_fd: An eventfd that becomes readable when the sampler has finished writing.
        head: ``struct cm_head *``, valid as long as this object.
    """

    def __init__(self, request: Request) -> None:
        ffi, lib = native()
        draft, size = _prepare_head(request.extra)
        self._c_memory = c_memory = ffi.gc(ffi.new("struct cm_memory *"), lib.cm_memory_close)
        code = -lib.cm_memory_open(c_memory, size)
        if code:
            why = "it is above the limit on file size (ulimit -f)" if code == errno.EFBIG else os.strerror(code)
            text = f"cannot map {size >> 20} MiB for the recording (most of it stays unused): {why}"
            raise SamplerError(code, text)
        self.fd, self.done_fd = c_memory.file.fd, c_memory.done.fd
        self.head = head = c_memory.head
        self._bytes = ffi.buffer(head, size)
        ffi.memmove(head, draft, ffi.sizeof("struct cm_head"))
        options, timeout_s = request.options, request.options["timeout_s"]
        interval_s = options["interval_s"]
        head.interval_ns = round((SHORTEST_INTERVAL_S if interval_s is None else interval_s) * 1e9)
        head.cpu_budget_ppm = round(options["cpu_budget"] * 1e6) if interval_s is None else 0
        head.pss_budget_ppm = round(options["pss_budget"] * 1e6)
        head.timeout_ns = 0 if timeout_s is None else max(1, round(timeout_s * 1e9))
        head.timeout_grace_ns = round((options["timeout_grace_s"] or 0) * 1e9)
        head.cpu_limit_ns = round((options["cpu_limit_s"] or 0) * 1e9)
        head.processes_limit = int(options["processes_limit"] or 0)
        head.memory_limit_bytes = int(options["memory_limit_bytes"] or 0)
        head.cgroup_limit_bytes = int(options["cgroup_limit_bytes"] or 0)
        head.leftover = _leftover()[options["leftover"]]

    def target_setup(self) -> Any:
        """Return the place of ``struct cm_target_setup``, all zero, and let the sampler read it."""
        ffi, _ = native()
        head = self.head
        head.has_target_setup = 1
        place = ffi.cast("char *", head) + head.target_setup_offset
        ffi.buffer(place, ffi.sizeof("struct cm_target_setup"))[:] = bytes(ffi.sizeof("struct cm_target_setup"))
        return ffi.cast("struct cm_target_setup *", place)

    def copy(self, offset: int, size: int) -> bytes:
        """Copy a part, cut off at the end of the memory: a hostile target can have written any offset into the head."""
        piece: bytes = self._bytes[offset : offset + size]
        return piece

    def process_name(self, row: int) -> str:
        """Return the name in a row of the process table; "" if there is no such row."""
        size, at = _row_layout()
        name = self.copy(self.head.processes_offset + row * size + at, 16) if row >= 0 else b""
        return os.fsdecode(name.partition(b"\0")[0])

    def allow_reuse(self) -> None:
        """Let another measurement reuse this memory when this object is gone. The sampler must have ended."""
        head = self.head
        self._c_memory.is_reusable = head.ticks <= 1000 and head.processes <= 1000 and head.text_bytes <= 1 << 20
