"""The cache directory: programs and toolchains that were made once, each whole or not there."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from concmem.errors import ConcmemError

__all__ = ["CacheError", "cache_dir", "cache_note", "check_executable", "publish"]

_MOST_LINKS = 40


class CacheError(ConcmemError, OSError):
    """The cache directory cannot be made or is not ours."""


def cache_dir() -> Path:
    """
    The cache directory, made if it is not there.

    ``$CONCMEM_CACHE``, else ``$XDG_CACHE_HOME/concmem``, else ``~/.cache/concmem``; for a user without a home, a
    folder of the user's own among the temporary files. What is in it is executed: where another user could change
    that, root (under ``sudo`` with an ordinary user's HOME, say) has the one in its own home instead.

    Raises:
        CacheError: It cannot be made, or another user owns it, or root was told to use one that another user can
            change.
    """
    path, shared = _named_path()
    if _foreign_part(path) and not os.environ.get("CONCMEM_CACHE"):
        path = _own_path()
    _check_foreign(path)
    try:
        path.mkdir(mode=0o700 if shared else 0o755 if os.geteuid() == 0 else 0o777, parents=True, exist_ok=True)
        owner = path.lstat().st_uid
    except OSError as error:
        raise CacheError(
            f"the cache directory {path} cannot be made ({error.strerror}); set CONCMEM_CACHE to a folder that can"
        ) from error
    _check_foreign(path)
    # What is in there is executed: among the temporary files anyone could have made it first.
    if shared and owner != os.getuid():
        raise CacheError(f"the cache directory {path} belongs to user {owner}; set CONCMEM_CACHE to another folder")
    return path


def cache_note() -> str:
    """Why root has another cache directory than the environment names, in one sentence; "" where it has that one."""
    named, _ = _named_path()
    why = _foreign_part(named)
    if not why or os.environ.get("CONCMEM_CACHE"):
        return ""
    return f"root uses the cache directory {_own_path()} instead of {named}: {why}"


def check_executable(path: Path) -> Path:
    """
    The path itself, where it may be executed from: root does not execute what another user can change.

    Raises:
        CacheError: Another user owns it, or a folder above it, or can write there.
    """
    if why := _foreign_part(path):
        raise CacheError(f"root does not execute what is in {path}: {why}; remove it, or make it root's")
    return path


def _named_path() -> tuple[Path, bool]:
    """The cache directory that the environment names, and whether it lies among temporary files."""
    if named := os.environ.get("CONCMEM_CACHE"):
        return Path(named).absolute(), False
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).absolute() / "concmem", False
    try:
        return Path.home() / ".cache" / "concmem", False
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"concmem-{os.getuid()}", True


def _own_path() -> Path:
    """In the home that the user database has for root, whatever HOME says."""
    return Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".cache" / "concmem"


def _check_foreign(path: Path) -> None:
    if why := _foreign_part(path):
        raise CacheError(
            f"root does not execute files from the cache directory {path}: {why}; "
            "set CONCMEM_CACHE to a folder that only root can write"
        )


def _foreign_part(path: Path) -> str:
    """
    Which part of a path another user than root can change, as ``"/home/ann belongs to user 1000"``; "" for none.

    Asked by root alone: ordinary users decide for themselves whose files they execute. A folder that all can write
    is no danger above the last part where it is sticky, as /tmp is: what is in it stays its owner's.
    """
    if os.geteuid() != 0:
        return ""
    trusted = _root_users()
    here, rest, links = Path("/"), list(path.absolute().parts[1:]), 0
    while rest:
        part = rest.pop(0)
        here = here.parent if part == ".." else here / part
        try:
            found = here.lstat()
        except OSError:
            return ""  # it is not there yet: it will be made in a folder that has passed
        if found.st_uid not in trusted:
            return f"{here} belongs to user {found.st_uid}"
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _MOST_LINKS:
                return f"{here} is a link that leads nowhere"
            target = Path(os.readlink(here))
            rest = [*(target.parts[1:] if target.is_absolute() else target.parts), *rest]
            here = Path("/") if target.is_absolute() else here.parent
            continue
        by_others = found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid != 0)
        if by_others and not (found.st_mode & stat.S_ISVTX and rest):
            return f"{here} can be written by other users"
    return ""


def _root_users() -> set[int]:
    """Root, and in a user namespace that does not have all users also the number that the real root is shown as."""
    try:
        if Path("/proc/self/uid_map").read_text().split()[:2] == ["0", "0"]:
            return {0}
        return {0, int(Path("/proc/sys/kernel/overflowuid").read_text())}
    except (OSError, ValueError):
        return {0}


def publish(target: Path, make: Callable[[Path], None]) -> Path:
    """
    Fill a folder once: `make` fills one beside it, which is then renamed to ``target``.

    Any number of processes may do this at once: one fills it, and the others wait for that one.

    Args:
        target: The folder.
        make: Fills the empty folder that it is given; nothing is kept where it raises.
    """
    if target.is_dir():
        return check_executable(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target):
            if target.is_dir():
                return check_executable(target)
            _fill(target, make)
    except OSError as error:
        if isinstance(error, ConcmemError):
            raise
        raise CacheError(f"{error.filename or target}: {error.strerror}") from error
    return target


def _fill(target: Path, make: Callable[[Path], None]) -> None:
    scratch: Path | None = None
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        scratch.chmod(0o755)
        make(scratch)
        try:
            scratch.rename(target)
        except OSError:
            # Where the file system has no locks, another process may have been faster.
            if not target.is_dir():
                raise
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock of a folder to be filled, where the file system has locks; it is free when its holder is killed."""
    path = target.parents[1] / "locks" / target.name
    path.parent.mkdir(exist_ok=True)
    with open(path, "a") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
