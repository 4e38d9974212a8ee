"""
Kernel resources of a measurement, in objects with a finaliser in C.

A signal handler (Ctrl-C) can raise an exception between any two byte codes, also in ``finally`` and ``__exit__``. So C
code opens, owns and closes every resource that must not leak. Python only passes on the numbers of descriptors.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from concmem._native.shared_memory import native

__all__ = ["GroupFolder", "OpenFile", "Resources", "checked"]


def checked(code: int, path: str | os.PathLike[str] | None = None) -> None:
    """Raise an OSError if `code`, the result of a function of the extension, is a negative errno."""
    if code < 0:
        raise OSError(-code, os.strerror(-code), path)


class OpenFile:
    """An open file. It is closed by `close`, at the end of a ``with`` block, or with the object."""

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
        Open a pipe; return the read end, which does not block, and the write end.

        Raises:
            OSError: As `os.pipe`.
        """
        reader, writer = cls(), cls()
        checked(native()[1].cm_open_pipe(reader._file, writer._file))
        return reader, writer

    def fileno(self) -> int:
        """Return the descriptor."""
        return int(self._file.fd)

    @property
    def is_open(self) -> bool:
        """Whether it has been opened, and not been closed."""
        return bool(self._file.is_open)

    def write(self, data: memoryview) -> int:
        """
        Write to a pipe, without SIGPIPE if its other end is closed. Return how many bytes were written.

        Raises:
            OSError: As `os.write`.
        """
        ffi, lib = native()
        content = ffi.from_buffer(data)
        while (written := int(lib.cm_write(self._file.fd, content, len(data)))) == -errno.EINTR:
            continue  # the signal's handler has run
        checked(written)
        return written

    def close(self) -> None:
        """Close it, once."""
        native()[1].cm_close(self._file)

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class GroupFolder:
    """
    The folder of a control group, and the detached mount through which it may be reached.

    It is a part of `Resources`. C removes the folder with them, unless `forget` was called before.
    """

    def __init__(self, c_struct: Any) -> None:
        self._c_struct = c_struct

    def fileno(self) -> int:
        """Return the descriptor of the folder."""
        return int(self._c_struct.folder.fd)

    def name(self, path: Path) -> None:
        """Set the path that C removes."""
        checked(native()[1].cm_name_group(self._c_struct, os.fsencode(path)))

    def open(self, path: Path) -> None:
        """
        Open the folder.

        Raises:
            OSError: As `os.open`.
        """
        ffi, lib = native()
        folder = ffi.addressof(self._c_struct, "folder")
        checked(lib.cm_open(folder, os.fsencode(path), os.O_RDONLY | os.O_DIRECTORY))

    def open_detached_mount(self) -> Path:
        """
        Mount version 2 detached, in no folder and no mount table, and return its path. It ends with its descriptor.

        Raises:
            OSError: The process is not root in the user namespace that owns its mount namespace, or this is not
                Linux 5.2.
        """
        ffi, lib = native()
        mount = ffi.addressof(self._c_struct, "mount")
        checked(lib.cm_open_cgroup_mount(mount))
        return Path(f"/proc/self/fd/{mount.fd}")

    def forget(self) -> None:
        """Close what is open, and leave the folder in place."""
        native()[1].cm_forget_group(self._c_struct)


class Resources:
    """
    The sampler, the descriptors and the folders of one measurement. All are released with the object at the latest.

    Attributes:
        c_struct: ``struct cm_resources *``.
    """

    def __init__(self) -> None:
        ffi, lib = native()
        self.c_struct: Any = ffi.gc(ffi.new("struct cm_resources *", {"owner_pid": os.getpid()}), lib.cm_release)

    def is_ours(self) -> bool:
        """Return whether this process created it, not one that this process was forked from."""
        return bool(self.c_struct.owner_pid == os.getpid())

    def group_folder(self, number: int) -> GroupFolder:
        """Return the place for the control group with this number, from 0."""
        return GroupFolder(native()[0].addressof(self.c_struct, "groups", number))

    @property
    def pidfd(self) -> int:
        """The pidfd of the sampler, or -1."""
        return int(self.c_struct.sampler.fd) if self.c_struct.sampler.is_open else -1

    def open_null(self, stream: int, flags: int) -> int:
        """Open /dev/null for a standard file of the target."""
        ffi, lib = native()
        target_end = ffi.addressof(self.c_struct, "target_streams", stream)
        checked(lib.cm_open(target_end, os.fsencode(os.devnull), flags))
        return int(target_end.fd)

    def open_pipe(self, stream: int, host_end: OpenFile) -> int:
        """Open a pipe for a standard file of the target, and this process's end of it; return the target's end."""
        ffi, lib = native()
        target_end = ffi.addressof(self.c_struct, "target_streams", stream)
        ends = (target_end, host_end._file) if stream == 0 else (host_end._file, target_end)
        checked(lib.cm_open_pipe(*ends))
        os.set_blocking(int(target_end.fd), True)
        os.set_blocking(host_end.fileno(), False)
        return int(target_end.fd)

    def close_target_streams(self) -> None:
        """Close the target's ends in this process, so that the read ends see when the target closes them."""
        native()[1].cm_close_target_streams(self.c_struct)

    def root_fd(self, head: Any) -> int:
        """
        Return a descriptor that becomes readable when the root has ended.

        Raises:
            OSError: As `os.pidfd_open`.
        """
        fd = int(native()[1].cm_root_fd(self.c_struct, head))
        checked(fd)
        return fd

    def signal_root(self, head: Any, number: int) -> None:
        """
        Send a signal to the root, unless it has ended.

        Raises:
            OSError: As `signal.pidfd_send_signal`.
        """
        code = native()[1].cm_signal_root(self.c_struct, head, number)
        if code != -errno.ESRCH:
            checked(code)

    def stop(self) -> None:
        """Let the sampler kill the tree, if it still runs."""
        native()[1].cm_stop(self.c_struct)

    def has_ended(self) -> bool:
        """Return whether the sampler has ended."""
        return bool(native()[1].cm_has_ended(self.c_struct))

    def end(self) -> bool:
        """Kill the tree, reap the sampler and close its pidfd; return False if the sampler does not end."""
        return bool(native()[1].cm_end(self.c_struct) == 0)

    def release(self) -> None:
        """Do the same, then close and remove everything else."""
        native()[1].cm_release(self.c_struct)
