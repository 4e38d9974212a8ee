"""The ways to get a toolchain: which are open on this system, as which command, and going one of them."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from concmem._cache import publish
from concmem._detect import packages_dir
from concmem._manifest import Language, Way
from concmem.errors import ConcmemError

__all__ = [
    "InstallError",
    "Say",
    "apt_has_lists",
    "apt_missing",
    "command",
    "forget",
    "go",
    "is_open",
    "own_command",
    "update",
]

Say = Callable[[str], None]

_APT = ("apt-get", "install", "-y", "--no-install-recommends")


class InstallError(ConcmemError, RuntimeError):
    """A toolchain could not be installed; the message ends with the last lines of the installer."""


def is_open(way: Way) -> bool:
    """Whether a way leads anywhere here: apt knows, or may know, all that it needs of apt; npm is there if needed."""
    return all(_apt_package(choice) for choice in way.apt) and (not way.npm or shutil.which("npm") is not None)


def apt_missing(way: Way) -> tuple[str, ...]:
    """The Debian packages of a way that are not installed."""
    names = [_apt_package(choice) for choice in way.apt]
    return tuple(name for name in names if not _apt_installed(name))


def command(language: Language) -> str:
    """The command that gets a toolchain of a language by the first way that is open here, or what else to do."""
    ours = f"{own_command()} toolchains install {shlex.quote(language.folder.name)}"
    for way in filter(is_open, language.install):
        absent = apt_missing(way)
        if not absent or os.geteuid() == 0:
            return ours
        root = shlex.join(["sudo", *_APT, *absent]) if apt_has_lists() else "sudo apt-get update"
        return f"{root} && {ours}" if way.pip or way.npm or not apt_has_lists() else root
    return language.hand


def own_command() -> str:
    """What to type for concmem: its name where PATH leads to this one, else where it is."""
    beside = Path(sys.executable).with_name("concmem")
    found = shutil.which("concmem")
    if not beside.exists() or (found is not None and Path(found).resolve() == beside.resolve()):
        return "concmem"
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))


def forget() -> None:
    """Ask apt anew."""
    _apt_package.cache_clear()


def update(say: Say) -> None:
    """Let apt fetch its lists of packages; what it cannot fetch shows when a package is wanted."""
    _run(["apt-get", "update"], say, check=False)
    forget()


def go(way: Way, language: Language, say: Say) -> None:
    """
    Install all that a way names, as root where it names Debian packages.

    Raises:
        InstallError: An installer refuses.
        CacheError: The cache directory cannot be used.
    """
    if absent := apt_missing(way):
        _run([*_APT, *absent], say, env={"DEBIAN_FRONTEND": "noninteractive"})
    if way.pip or way.npm:
        target = packages_dir(language)
        shutil.rmtree(target, ignore_errors=True)
        publish(target, lambda folder: _packages(way, folder, say))


def _packages(way: Way, folder: Path, say: Say) -> None:
    if way.pip:
        _pip(way, folder, say)
    if way.npm:
        # Scripts of packages would run as whoever installs, and none is needed to get a program that is in one.
        _run(["npm", "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", *way.npm], say)
    for name in way.executable:
        path = folder / name
        path.chmod(path.stat().st_mode | 0o111)


def _pip(way: Way, folder: Path, say: Say) -> None:
    options = ["--no-deps"] if way.no_deps else []
    argv = [*_installer(), "install", "--target", str(folder), *options, *way.pip]
    # A user's own "always --user" or "only in a virtual environment" contradicts --target. Whoever installs, packages
    # with machine code must be those for the interpreter that is {this_python}.
    env = {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_PYTHON": sys.executable, "UV_PYTHON": sys.executable}
    _run(argv, say, env=env)


def _installer() -> list[str]:
    """The interpreter's own pip, else any."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if uv := shutil.which("uv"):
        return [uv, "pip"]
    if pip := shutil.which("pip3") or shutil.which("pip"):
        return [pip, "--disable-pip-version-check"]
    raise InstallError(f"{sys.executable} has no pip, and PATH has neither pip3 nor uv; install one of them")


def _run(argv: list[str], say: Say, env: dict[str, str] | None = None, check: bool = True) -> None:
    say(shlex.join(argv))
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"LC_ALL": "C.UTF-8"} | (env or {}),
        )
    except OSError as error:
        raise InstallError(f"{argv[0]}: {error.strerror}") from error
    if check and done.returncode != 0:
        said = done.stdout.decode(errors="replace").strip().splitlines()
        lines = [line for line in said if not line.startswith("WARNING: Retrying")][-4:]
        raise InstallError(f"{shlex.join(argv)} failed: {' | '.join(lines) or f'exit code {done.returncode}'}")


@cache
def _apt_package(choice: str) -> str:
    """Of ``"one | other"`` the first that apt can install, or "". With no lists to ask, the last, most common one."""
    names = [name.strip() for name in choice.split("|")]
    if shutil.which("apt-get") is None or shutil.which("apt-cache") is None:
        return ""
    if not apt_has_lists():
        return names[-1]
    for name in names:
        done = subprocess.run(
            ["apt-cache", "policy", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=os.environ | {"LC_ALL": "C"},
        )
        if re.search(rb"Candidate: (?!\(none\))", done.stdout):
            return name
    return ""


def apt_has_lists() -> bool:
    """A fresh container has none until ``apt-get update``."""
    return any(Path("/var/lib/apt/lists").glob("*_Packages*"))


def _apt_installed(name: str) -> bool:
    done = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Status}", name], stdin=subprocess.DEVNULL, capture_output=True
    )
    return done.stdout.endswith(b" installed")
