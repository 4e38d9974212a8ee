"""Debian's packages: which are installed, which can be, how large they are, and installing them."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from concmem.drivers.cache import cache_dir
from concmem.drivers.long_command import Watch, run_long, unwatched

__all__ = ["as_root", "choose", "fetch_lists", "forget", "has_lists", "install", "installed", "sizes", "there"]

_INSTALL = ("install", "-y", "--no-install-recommends")
_LOCK_S = 900
# apt waits for dpkg's lock if told so, and for no other; a daily job of the system may hold any of them.
_WAIT_FOR_DPKG = f"-oDPkg::Lock::Timeout={_LOCK_S}"
_LOCKS = ("/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock")
_SHOW = ("-oAPT::Status-Fd=9", "-oDpkg::Use-Pty=0")
# apt closes that descriptor to what it starts: scripts of packages would have no standard output if it were 1.
_WITH_STATUS = ("sh", "-c", 'exec "$0" "$@" 9>&1')
_LISTS = "/var/lib/apt/lists"
_LISTS_AGE_S = 86_400


def there() -> bool:
    """Return whether this system has apt."""
    return shutil.which("apt-get") is not None and shutil.which("apt-cache") is not None


def has_lists() -> bool:
    """Return whether apt knows any package: a fresh container has no lists until ``apt-get update``."""
    return _lists_in(Path(_LISTS)) or _lists_in(_own() / "lists")


def installed(name: str) -> bool:
    """Return whether a package is installed."""
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Status}", name], stdin=subprocess.DEVNULL, capture_output=True
    )
    return done.stdout.endswith(b" installed")


@cache
def choose(choice: str) -> str:
    """Return of ``"one | other"`` the first that apt can install, or ""; without lists the last, most common one."""
    names = [name.strip() for name in choice.split("|")]
    if not there():
        return ""
    if not has_lists():
        return names[-1]
    for name in names:
        if re.search(r"Candidate: (?!\(none\))", _ask(["apt-cache", *_options(), "policy", name])):
            return name
    return ""


def forget() -> None:
    """Ask apt anew."""
    choose.cache_clear()
    sizes.cache_clear()


@cache
def sizes(wanted: tuple[str, ...]) -> tuple[int, int]:
    """Return how many bytes apt would download, and how many these packages and what they need take on disk."""
    if not wanted or not has_lists():
        return 0, 0
    said = _ask(["apt-get", *_options(), "-oDebug::NoLocking=1", "--assume-no", *_INSTALL[0::2], *wanted])
    download = re.search(r"^Need to get ([\d.,]+ [kMG]?B)[/ ]", said, re.M)
    disk = re.search(r"([\d.,]+ [kMG]?B) of additional disk space|^ +Space needed: ([\d.,]+ [kMG]?B)", said, re.M)
    return _bytes(download[1] if download else "0 B"), _bytes((disk[1] or disk[2]) if disk else "0 B")


def fetch_lists(say: Callable[[str], None], watch: Watch = unwatched) -> None:
    """
    Fetch the lists of packages: as root the system's, else own ones if the system has none; what fails shows later.

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
    run_long(argv, watch)
    forget()


def install(names: Sequence[str], say: Callable[[str], None], watch: Watch = unwatched) -> tuple[int, list[str], str]:
    """
    Install packages as root; wait for other programs that hold apt's locks, for up to 15 minutes.

    Returns:
        apt-get's exit code, the lines that it wrote, and the command.

    Raises:
        OSError: apt-get cannot be started.
    """
    shown = shlex.join(["apt-get", *_INSTALL, *names])
    say(shown)
    _wait_for_locks(say)
    argv = [*_WITH_STATUS, "apt-get", _WAIT_FOR_DPKG, *_SHOW, *_INSTALL, *names]
    return (*run_long(argv, watch, env={"DEBIAN_FRONTEND": "noninteractive"}), shown)


def as_root(names: Iterable[str]) -> str:
    """Return the one command that installs packages: by sudo where this user is not root, by su without sudo."""
    command = f"apt-get update && {shlex.join(['apt-get', *_INSTALL, *names])}"
    if os.geteuid() == 0:
        return command
    return shlex.join([*(("sudo", "sh") if shutil.which("sudo") else ("su",)), "-c", command])


def _wait_for_locks(say: Callable[[str], None]) -> None:
    deadline_s = time.monotonic() + _LOCK_S
    told = 0
    for path in _LOCKS:
        while (holder := _holder(path)) and time.monotonic() < deadline_s:
            if holder != told:
                say(f"waiting: process {holder} holds {path}, another apt is at work")
                told = holder
            time.sleep(1)


def _holder(path: str) -> int:
    """Return the PID of the process that has locked a file, 0 where none has or it cannot be asked."""
    question = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    try:
        with open(path, "rb+") as file:
            kind, _, _, _, pid = struct.unpack("hhqqi", fcntl.fcntl(file, fcntl.F_GETLK, question)[: len(question)])
    except OSError:
        return 0
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def _own() -> Path:
    """Return the folder of the lists that an ordinary user fetches where the system has none."""
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


def _ask(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, env={**os.environ, "LC_ALL": "C"})
    return done.stdout.decode(errors="replace")


def _bytes(text: str) -> int:
    number, unit = text.replace(",", "").split()
    return round(float(number) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[unit])
