"""The cache directory, with programs and toolchains. Each entry is complete or absent."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from concmem.errors import ConcmemError

__all__ = ["CacheError", "cache_dir", "cache_note", "check_executable", "home_for_tools", "publish", "safe_umask"]

_MOST_LINKS = 40


class CacheError(ConcmemError, OSError):
    """The cache directory cannot be created, or another user can change it."""


def cache_dir() -> Path:
    """
    Return the cache directory. Create it if it does not exist.

    It is ``$CONCMEM_CACHE``, else ``$XDG_CACHE_HOME/concmem``, else ``~/.cache/concmem``; for a user without a home, a
    private folder among the temporary files. Files in it are executed. If another user could change them (for example
    under ``sudo`` with an ordinary user's HOME), root uses the cache directory in its own home.

    Raises:
        CacheError: It cannot be created, another user owns it, or this is root and another user can change the folder
            that ``$CONCMEM_CACHE`` names.
    """
    path, shared = _named_path()
    if _foreign_part(path) and not os.environ.get("CONCMEM_CACHE"):
        path = _own_path()
    _check_foreign(path)
    try:
        _make_folders(path, 0o700 if shared else 0o777)
        owner = path.lstat().st_uid
    except OSError as error:
        raise CacheError(
            f"cannot create the cache directory {path} ({error.strerror}); set CONCMEM_CACHE to another folder"
        ) from error
    _check_foreign(path)
    # Files in it are executed. Another user could have created the folder among the temporary files first.
    if shared and owner != os.getuid():
        raise CacheError(f"the cache directory {path} belongs to user {owner}; set CONCMEM_CACHE to another folder")
    return path


def cache_note() -> str:
    """Return why root does not use the cache directory that the environment names, or "" if it does."""
    named, _ = _named_path()
    why = _foreign_part(named)
    if not why or os.environ.get("CONCMEM_CACHE"):
        return ""
    return f"root uses the cache directory {_own_path()} instead of {named}: {why}"


def home_for_tools() -> dict[str, str]:
    """
    Return a HOME for compilers and package managers if that of the environment cannot be used.

    They fail without one. In another user's, root would execute what their own caches and settings there name.
    """
    home = os.environ.get("HOME")
    return {} if home and not _foreign_part(Path(home)) else {"HOME": str(cache_dir())}


def safe_umask() -> int:
    """Return the umask for processes that write into the cache: as it is, but for root no other user may write."""
    status = Path("/proc/self/status").read_text()
    own = next((int(line.split()[1], 8) for line in status.splitlines() if line.startswith("Umask:")), 0o022)
    return own | 0o022 if os.geteuid() == 0 else own


def _make_folders(path: Path, mode: int = 0o777) -> None:
    """Create a folder and those above it. `Path.mkdir` would create those with every right that the umask leaves."""
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode & 0o755 if os.geteuid() == 0 else mode)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def _take_from_others(folder: Path) -> None:
    """Remove the right of other users to write in a folder of root. This also masks the entries of access lists."""
    for path in (folder, *folder.rglob("*")) if os.geteuid() == 0 else ():
        mode = path.lstat().st_mode
        if mode & 0o022 and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~0o022)


def check_executable(path: Path) -> Path:
    """
    Return the path if files in it may be executed: root executes no file that another user can change.

    Raises:
        CacheError: Another user owns the path or a folder above it, or can write there.
    """
    if why := _foreign_part(path):
        raise CacheError(f"root does not execute files in {path}: {why}; remove it, or change its owner to root")
    return path


def _named_path() -> tuple[Path, bool]:
    """Return the cache directory that the environment names, and whether it is among the temporary files."""
    if named := os.environ.get("CONCMEM_CACHE"):
        return Path(named).absolute(), False
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).absolute() / "concmem", False
    try:
        return Path.home() / ".cache" / "concmem", False
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"concmem-{os.getuid()}", True


def _own_path() -> Path:
    """Return the cache directory in root's home folder. This is read from the user database; HOME is ignored."""
    return Path(pwd.getpwuid(os.geteuid()).pw_dir) / ".cache" / "concmem"


def _check_foreign(path: Path) -> None:
    if why := _foreign_part(path):
        raise CacheError(
            f"root does not execute files from the cache directory {path}: {why}; "
            "set CONCMEM_CACHE to a folder that only root can write"
        )


def _foreign_part(path: Path) -> str:
    """
    Return which part of a path another user can change, as ``"/home/ann belongs to user 1000"``, or "".

    Only for root; for other users the result is "". A parent folder that all can write is safe if it is sticky, like
    /tmp: only the owner of a file in it can replace the file.
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
            return ""  # does not exist yet; the folder above it has passed
        if found.st_uid not in trusted:
            return f"{here} belongs to user {found.st_uid}"
        if stat.S_ISLNK(found.st_mode):
            links += 1
            if links > _MOST_LINKS:
                return f"{here} is in a loop of symbolic links"
            target = Path(os.readlink(here))
            rest = [*(target.parts[1:] if target.is_absolute() else target.parts), *rest]
            here = Path("/") if target.is_absolute() else here.parent
            continue
        by_group = found.st_mode & stat.S_IWGRP and (found.st_gid != 0 or _has_access_list(here))
        by_others = found.st_mode & stat.S_IWOTH or by_group
        if by_others and not (found.st_mode & stat.S_ISVTX and rest):
            return f"{here} can be written by other users"
    return ""


def _has_access_list(path: Path) -> bool:
    """Return whether a file has a POSIX access list. The group's bits of its mode are then the mask of the list."""
    try:
        return "system.posix_acl_access" in os.listxattr(path, follow_symlinks=False)
    except OSError:
        return False


def _root_users() -> set[int]:
    """Return the UID of root. In a user namespace that does not map all users, add the UID shown for unmapped ones."""
    try:
        if Path("/proc/self/uid_map").read_text().split()[:2] == ["0", "0"]:
            return {0}
        return {0, int(Path("/proc/sys/kernel/overflowuid").read_text())}
    except (OSError, ValueError):
        return {0}


def publish(target: Path, make: Callable[[Path], None]) -> Path:
    """
    Create a folder once: `make` fills a temporary folder, which is then renamed to ``target``.

    Any number of processes may do this at once. One fills the folder, and the others wait for it.

    Args:
        target: The folder.
        make: Called with an empty folder to fill. If it raises, the folder is removed.
    """
    if check_executable(target).is_dir():
        return target
    try:
        _make_folders(target.parent)
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
        _take_from_others(scratch)
        try:
            scratch.rename(target)
        except OSError:
            # On a file system without locks another process may have been faster.
            if not target.is_dir():
                raise
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock of a folder, if the file system has locks. The kernel frees it when the process is killed."""
    path = target.parents[1] / "locks" / target.name
    _make_folders(path.parent)
    with open(path, "a") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
