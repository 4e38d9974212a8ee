"""Ways to install a toolchain: find a possible one, show its command, install by it."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from concmem.drivers import apt as _apt
from concmem.drivers.cache import home_for_tools, publish
from concmem.drivers.detection import packages_dir
from concmem.drivers.language import Language, Way
from concmem.drivers.outside_programs import ToolResult, Watch, run_tool
from concmem.errors import ConcmemError

__all__ = [
    "InstallError",
    "Say",
    "apt_missing",
    "command",
    "command_for",
    "forget",
    "install_by",
    "is_open",
    "own_command",
    "update",
]

Say = Callable[[str], None]


class InstallError(ConcmemError, RuntimeError):
    """A toolchain could not be installed. The message ends with the last lines of the installer's output."""


def is_open(way: Way) -> bool:
    """Return whether a way is possible here: apt has, or may have, its Debian packages; npm exists if needed."""
    return all(_apt.choose(choice) for choice in way.apt) and (not way.npm or shutil.which("npm") is not None)


def apt_missing(way: Way) -> tuple[str, ...]:
    """Return the Debian packages of a way that are not installed."""
    names = [_apt.choose(choice) for choice in way.apt]
    return tuple(name for name in names if not _apt.installed(name))


def command(language: Language) -> str:
    """Return the command that installs a toolchain by the first possible way, or the manifest's hint."""
    return command_for([language]) or language.hand


def command_for(languages: Iterable[Language]) -> str:
    """Return one command that installs the toolchains of all languages that have a possible way here, or ""."""
    packages: dict[str, None] = {}
    ours: list[str] = []
    for language in languages:
        way = next(filter(is_open, language.install), None)
        if way is None:
            continue
        absent = apt_missing(way) if os.geteuid() != 0 else ()
        packages |= dict.fromkeys(absent)
        if way.pip or way.npm or not absent:
            ours.append(language.folder.name)
    steps = [_apt.as_root(packages)] if packages else []
    if ours:
        steps.append(f"{own_command()} toolchains install {shlex.join(ours)}")
    return " && ".join(steps)


def own_command() -> str:
    """Return how to start this concmem: by its name if it is the one in PATH, else by its path."""
    beside = Path(sys.executable).with_name("concmem")
    found = shutil.which("concmem")
    if not beside.exists() or (found is not None and Path(found).resolve() == beside.resolve()):
        return "concmem"
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))


def forget() -> None:
    """Clear the cached answers of apt."""
    _apt.forget()


def update(say: Say, watch: Watch) -> None:
    """Fetch apt's package lists. A failure shows when a package is installed."""
    with _started("apt-get"):
        _apt.fetch_lists(say, watch)


def install_by(way: Way, language: Language, say: Say, watch: Watch) -> None:
    """
    Install all packages of a way; Debian packages need root.

    Raises:
        InstallError: An installer failed.
        CacheError: The cache directory cannot be used.
    """
    if absent := apt_missing(way):
        with _started("apt-get"):
            _check(*_apt.install(absent, say, watch))
    if way.pip or way.npm:
        target = packages_dir(language)
        shutil.rmtree(target, ignore_errors=True)
        publish(target, lambda folder: _packages(way, folder, say, watch))


def _packages(way: Way, folder: Path, say: Say, watch: Watch) -> None:
    if way.pip:
        _pip(way, folder, say, watch)
    if way.npm:
        # Package scripts would run as this user. No package here needs one.
        argv = ["npm", "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", "--no-fund", *way.npm]
        _run(argv, say, watch)
    for name in way.executable:
        path = folder / name
        path.chmod(path.stat().st_mode | 0o111)


def _pip(way: Way, folder: Path, say: Say, watch: Watch) -> None:
    options = ["--no-deps"] if way.no_deps else []
    argv = [*_installer(), "install", "--target", str(folder), *options, *way.pip]
    # The user settings PIP_USER and PIP_REQUIRE_VIRTUALENV contradict --target. Packages with machine code must be
    # for the interpreter {this_python}, with each of these installers.
    env = {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_PYTHON": sys.executable, "UV_PYTHON": sys.executable}
    _run(argv, say, watch, env=env)


def _installer() -> list[str]:
    """Return the command of the interpreter's own pip, else of any pip or uv."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    if uv := shutil.which("uv"):
        return [uv, "pip"]
    if pip := shutil.which("pip3") or shutil.which("pip"):
        return [pip, "--disable-pip-version-check"]
    raise InstallError(f"{sys.executable} has no pip, and PATH has neither pip3 nor uv; install one of them")


def _run(argv: list[str], say: Say, watch: Watch, env: dict[str, str] | None = None) -> None:
    say(shlex.join(argv))
    with _started(argv[0]):
        _check(run_tool(argv, watch, env={**home_for_tools(), **(env or {})}), shlex.join(argv))


@contextmanager
def _started(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InstallError(f"{name}: {error.strerror}") from error


def _check(done: ToolResult, shown: str) -> None:
    if done.code != 0:
        lines = [line.strip() for line in done.lines if not line.startswith("WARNING: Retrying")][-4:]
        raise InstallError(f"{shown} failed: {' | '.join(lines) or f'exit code {done.code}'}")
