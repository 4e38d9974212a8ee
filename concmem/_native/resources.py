"""
What measurements hold of the kernel, in objects whose finaliser is C.

Exceptions of signal handlers (Ctrl-C) come between any two byte codes, in ``finally`` and ``__exit__`` as well. So what
must not be lost is opened, kept and closed by C: Python has the number of a descriptor only to hand it on.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

from concmem._native.shared_memory import native

__all__ = ["OpenFile", "Resources", "checked"]


def checked(code: int, path: str | os.PathLike[str] | None = None) -> None:
    """Raise the OSError for what a function of the extension returns below zero."""
    if code < 0:
        raise OSError(-code, os.strerror(-code), path)


class OpenFile:
    """An open file that is closed with the object, as a context manager or by `close`."""

    def __init__(self) -> None:
        ffi, lib = native()
        self._file = ffi.gc(ffi.new("struct cm_file *"), lib.cm_close)

    @classmethod
    def of(cls, path: str | os.PathLike[str], flags: int) -> OpenFile:
        """
        Open a path.

        Raises:
            OSError: As `os.open`.
        """
        opened = cls()
        checked(native()[1].cm_open(opened._file, os.fsencode(path), flags), path)
        return opened

    @classmethod
    def of_process(cls, pid: int) -> OpenFile:
        """
        Open a pidfd.

        Raises:
            OSError: As `os.pidfd_open`.
        """
        opened = cls()
        checked(native()[1].cm_open_process_fd(opened._file, pid))
        return opened

    @classmethod
    def pipe(cls) -> tuple[OpenFile, OpenFile]:
        """
        Open a pipe: the end to read, which does not block, and the end to write.

        Raises:
            OSError: As `os.pipe`.
        """
        reader, writer = cls(), cls()
        checked(native()[1].cm_open_pipe(reader._file, writer._file))
        return reader, writer

    def fileno(self) -> int:
        """Return the descriptor."""
        return int(self._file.fd)

    def close(self) -> None:
        """Close it, once."""
        native()[1].cm_close(self._file)

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Resources:
    """
    The sampler, the descriptors and the folders of one measurement: ended and closed with the object at the latest.

    Attributes:
        held: ``struct cm_resources *``.
    """

    def __init__(self) -> None:
        ffi, lib = native()
        self.held: Any = ffi.gc(ffi.new("struct cm_resources *", {"owner_pid": os.getpid()}), lib.cm_release)

    def is_ours(self) -> bool:
        """Whether this process made it, and not one that this process was forked from."""
        return bool(self.held.owner_pid == os.getpid())

    @property
    def pidfd(self) -> int:
        """The sampler's, or -1."""
        return int(self.held.sampler.fd) if self.held.sampler.is_open else -1

    def open_null(self, stream: int, flags: int) -> int:
        """Open /dev/null for a standard file of the target."""
        ffi, lib = native()
        given = ffi.addressof(self.held, "given", stream)
        checked(lib.cm_open(given, os.fsencode(os.devnull), flags))
        return int(given.fd)

    def open_pipe(self, stream: int) -> tuple[int, int]:
        """Open a pipe for a standard file of the target: the end to read, which does not block, and the target's."""
        ffi, lib = native()
        reader, given = ffi.addressof(self.held, "readers", stream), ffi.addressof(self.held, "given", stream)
        checked(lib.cm_open_pipe(reader, given))
        return int(reader.fd), int(given.fd)

    def close_given(self) -> None:
        """Close the target's ends here, so that readers see when it closes them."""
        native()[1].cm_close_given(self.held)

    def stop(self) -> None:
        """Have the sampler kill the tree, if it still lives."""
        native()[1].cm_stop(self.held)

    def has_ended(self) -> bool:
        """Whether the sampler has ended."""
        return bool(native()[1].cm_has_ended(self.held))

    def end(self) -> bool:
        """Kill the tree, reap the sampler and close its pidfd; False where the kernel does not let it end."""
        return bool(native()[1].cm_end(self.held) == 0)

    def release(self) -> None:
        """The same, then close and remove everything else."""
        native()[1].cm_release(self.held)
