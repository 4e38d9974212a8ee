"""The cache directory: programs and toolchains that were made once, each whole or not there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from concmem.errors import ConcmemError

__all__ = ["CacheError", "cache_dir", "publish"]


class CacheError(ConcmemError, OSError):
    """The cache directory cannot be made or is not ours."""


def cache_dir() -> Path:
    """
    The cache directory, made if it is not there.

    ``$CONCMEM_CACHE``, else ``$XDG_CACHE_HOME/concmem``, else ``~/.cache/concmem``; for a user without a home, a
    folder of the user's own among the temporary files.

    Raises:
        CacheError: It cannot be made, or another user owns it.
    """
    if named := os.environ.get("CONCMEM_CACHE"):
        path, shared = Path(named).absolute(), False
    elif base := os.environ.get("XDG_CACHE_HOME"):
        path, shared = Path(base).absolute() / "concmem", False
    else:
        try:
            path, shared = Path.home() / ".cache" / "concmem", False
        except RuntimeError:
            path, shared = Path(tempfile.gettempdir()) / f"concmem-{os.getuid()}", True
    try:
        path.mkdir(mode=0o700 if shared else 0o777, parents=True, exist_ok=True)
        owner = path.lstat().st_uid
    except OSError as error:
        raise CacheError(
            f"the cache directory {path} cannot be made ({error.strerror}); set CONCMEM_CACHE to a folder that can"
        ) from error
    # What is in there is executed: among the temporary files anyone could have made it first.
    if shared and owner != os.getuid():
        raise CacheError(f"the cache directory {path} belongs to user {owner}; set CONCMEM_CACHE to another folder")
    return path


def publish(target: Path, make: Callable[[Path], None]) -> Path:
    """
    Fill a folder once: `make` fills one beside it, which is then renamed to ``target``.

    Any number of processes may do this at once; the first to end wins, and the others' work is thrown away.

    Args:
        target: The folder.
        make: Fills the empty folder that it is given; nothing is kept where it raises.
    """
    if target.is_dir():
        return target
    scratch: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        scratch.chmod(0o755)
        make(scratch)
        try:
            scratch.rename(target)
        except OSError:
            # Somebody else was faster, or there is a true error.
            if not target.is_dir():
                raise
    except OSError as error:
        if isinstance(error, ConcmemError):
            raise
        raise CacheError(f"{error.filename or target}: {error.strerror}") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return target
