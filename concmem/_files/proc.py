"""Check that the files in /proc are complete and show the processes of this PID namespace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from concmem.errors import UnsupportedPlatform

__all__ = ["check_proc", "whole_proc"]


def check_proc(proc: str = "/proc") -> None:
    """
    Check that /proc shows this process and its children under the PIDs that they have in this PID namespace.

    The /proc of another PID namespace would give figures of other processes.

    Raises:
        UnsupportedPlatform: /proc is not mounted, belongs to another namespace, or hides processes of this user.
    """
    try:
        own = os.readlink(f"{proc}/self")
    except OSError:
        if not os.path.exists(f"{proc}/version"):
            raise UnsupportedPlatform(
                f"{proc} is not mounted, and concmem reads memory from it: run mount -t proc proc {proc}"
            ) from None
        own = ""
    if own != str(os.getpid()):
        there = f"has the PID {own}" if own else "does not exist"
        raise UnsupportedPlatform(
            f"{proc} shows the processes of another PID namespace, in which this process {there}: "
            f"mount the /proc of this namespace, as unshare --mount-proc does, or run mount -t proc proc {proc}"
        )
    if _namespace(f"{proc}/self/ns/pid_for_children") not in ("", _own_namespace(proc, os.getpid())):
        raise UnsupportedPlatform(
            f"children of this process start in another PID namespace, which {proc} does not show: "
            "start concmem inside that namespace, with its own /proc"
        )


@lru_cache(maxsize=1)
def _own_namespace(proc: str, _pid: int) -> str:
    if not os.path.exists(f"{proc}/self/statm"):
        raise UnsupportedPlatform(f"{proc} does not show this process: mount it without hidepid")
    return _namespace(f"{proc}/self/ns/pid")


def _namespace(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:  # an old kernel, or one without PID namespaces
        return ""


@contextmanager
def whole_proc() -> Iterator[None]:
    """
    Convert errors of reading machine-wide files in /proc.

    Raises:
        UnsupportedPlatform: A file cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise UnsupportedPlatform(
            f"{error.filename or '/proc'} cannot be read ({error.strerror}): mount /proc without subset=pid"
        ) from error
