"""Debian packages: list, measure and install them."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from concmem.drivers.cache import cache_dir
from concmem.drivers.outside_programs import ToolResult, Watch, run_tool, unwatched

__all__ = ["as_root", "choose", "fetch_lists", "forget", "has_apt", "has_lists", "install", "installed", "sizes"]

_INSTALL = ("install", "-y", "--no-install-recommends")
_LOCK_S = 900
# With this option apt waits for dpkg's lock, but not for its other locks. A daily job of the system may hold any.
_WAIT_FOR_DPKG = f"-oDPkg::Lock::Timeout={_LOCK_S}"
_LOCKS = ("/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock")
_SHOW = ("-oAPT::Status-Fd=9", "-oDpkg::Use-Pty=0")
# apt closes that descriptor in its children. With descriptor 1, package scripts would have no standard output.
_WITH_STATUS = ("sh", "-c", 'exec "$0" "$@" 9>&1')
_LISTS = "/var/lib/apt/lists"
_LISTS_AGE_S = 86_400


def has_apt() -> bool:
    """Return whether this system has apt."""
    return shutil.which("apt-get") is not None and shutil.which("apt-cache") is not None


def has_lists() -> bool:
    """Return whether apt has package lists. A fresh container has none until ``apt-get update``."""
    return _lists_in(Path(_LISTS)) or _lists_in(_own() / "lists")


def installed(name: str) -> bool:
    """Return whether a package is installed."""
    done = run_tool(["dpkg-query", "--show", "--showformat=${Status}", name], with_errors=False)
    return done.output.endswith(b" installed")


@cache
def choose(choice: str) -> str:
    """Return the first package of ``"one | other"`` that apt can install, or "". Without lists, return the last one."""
    names = [name.strip() for name in choice.split("|")]
    if not has_apt():
        return ""
    if not has_lists():
        return names[-1]
    for name in names:
        if re.search(r"Candidate: (?!\(none\))", run_tool(["apt-cache", *_options(), "policy", name]).text):
            return name
    return ""


def forget() -> None:
    """Clear the cached answers of apt."""
    choose.cache_clear()
    sizes.cache_clear()


@cache
def sizes(wanted: tuple[str, ...]) -> tuple[int, int]:
    """Return how many bytes apt would download for packages and their dependencies, and how many they take on disk."""
    if not wanted or not has_lists():
        return 0, 0
    output = run_tool(["apt-get", *_options(), "-oDebug::NoLocking=1", "--assume-no", *_INSTALL[0::2], *wanted]).text
    download = re.search(r"^Need to get ([\d.,]+ [kMG]?B)[/ ]", output, re.M)
    disk = re.search(r"([\d.,]+ [kMG]?B) of additional disk space|^ +Space needed: ([\d.,]+ [kMG]?B)", output, re.M)
    return _bytes(download[1] if download else "0 B"), _bytes((disk[1] or disk[2]) if disk else "0 B")


def fetch_lists(say: Callable[[str], None], watch: Watch = unwatched) -> None:
    """
    Fetch the package lists: as root the system's, else separate ones if the system has none. Errors show later.

    Raises:
        OSError: apt-get cannot be started.
    """
    if os.geteuid() == 0:
        argv = ["apt-get", "update"]
        _wait_for_locks(say)
    elif _lists_in(Path(_LISTS)) or _fresh(_own() / "lists"):
        return
    else:
        for name in ("lists/partial", "cache/archives/partial"):
            (_own() / name).mkdir(parents=True, exist_ok=True)
        argv = ["apt-get", *_own_options(), "update"]
    say(shlex.join(argv))
    run_tool(argv, watch)
    forget()


def install(names: Sequence[str], say: Callable[[str], None], watch: Watch = unwatched) -> tuple[ToolResult, str]:
    """
    Install packages as root. Wait up to 15 minutes for other programs that hold apt's locks.

    Returns:
        How apt-get ended, and the command.

    Raises:
        OSError: apt-get cannot be started.
    """
    shown = shlex.join(["apt-get", *_INSTALL, *names])
    say(shown)
    _wait_for_locks(say)
    argv = [*_WITH_STATUS, "apt-get", _WAIT_FOR_DPKG, *_SHOW, *_INSTALL, *names]
    return run_tool(argv, watch, env={"DEBIAN_FRONTEND": "noninteractive"}), shown


def as_root(names: Iterable[str]) -> str:
    """Return the command that installs packages; it uses sudo, or su without sudo, unless this user is root."""
    command = f"apt-get update && {shlex.join(['apt-get', *_INSTALL, *names])}"
    if os.geteuid() == 0:
        return command
    return shlex.join([*(("sudo", "sh") if shutil.which("sudo") else ("su",)), "-c", command])


def _wait_for_locks(say: Callable[[str], None]) -> None:
    deadline_s = time.monotonic() + _LOCK_S
    reported = 0
    for path in _LOCKS:
        while (holder := _holder(path)) and time.monotonic() < deadline_s:
            if holder != reported:
                say(f"waiting for another apt: process {holder} holds {path}")
                reported = holder
            time.sleep(1)


def _holder(path: str) -> int:
    """Return the PID of the process that holds the lock of a file, 0 if there is none or it is unknown."""
    question = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        with open(path, "rb+") as file:
            kind, _, _, _, pid = struct.unpack("hhqqi", fcntl.fcntl(file, fcntl.F_GETLK, question)[: len(question)])
    except OSError:
        return 0
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def _own() -> Path:
    """Return the folder of the package lists that an ordinary user fetches if the system has none."""
    return cache_dir() / "apt"


def _own_options() -> list[str]:
    folder = _own()
    small = ["-oAcquire::GzipIndexes=true", "-oAcquire::Languages=none"]
    return [f"-oDir::State::Lists={folder}/lists", f"-oDir::Cache={folder}/cache", "-oDebug::NoLocking=1", *small]


def _options() -> list[str]:
    return _own_options() if not _lists_in(Path(_LISTS)) and _lists_in(_own() / "lists") else []


def _lists_in(folder: Path) -> bool:
    return any(folder.glob("*_Packages*"))


def _fresh(folder: Path) -> bool:
    return any(time.time() - path.stat().st_mtime < _LISTS_AGE_S for path in folder.glob("*_InRelease"))


def _bytes(text: str) -> int:
    number, unit = text.replace(",", "").split()
    return round(float(number) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit])
