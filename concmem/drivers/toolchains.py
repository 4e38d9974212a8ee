"""The toolchains of all programs: find them, and install missing ones."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import attrs

from concmem.drivers import apt as _apt
from concmem.drivers import install as _install
from concmem.drivers import manifest as _manifest
from concmem.drivers import programs as drivers
from concmem.drivers.install import InstallError, Say
from concmem.drivers.language import Language, Way
from concmem.drivers.outside_programs import Watch, unwatched
from concmem.drivers.programs import Missing, Program, Toolchain
from concmem.errors import InvalidRequest
from concmem.units import parse_bytes

__all__ = ["InstallError", "Plan", "asked", "command", "install", "install_for", "plan", "survey"]

_DOWNLOAD_PER_S = 5e6
_UNPACK_PER_S = 25e6


def survey(extra_dirs: Sequence[Path] = ()) -> dict[str, Toolchain | Missing]:
    """
    Return the toolchain of each program, or why it cannot be run here and how to install what is missing.

    Args:
        extra_dirs: Folders of programs besides concmem's own, as for `drivers.load_programs`.

    Raises:
        ManifestError: A ``language.toml`` is invalid.
    """
    return {name: drivers.detect(program) for name, program in drivers.load_programs(extra_dirs).items()}


@attrs.frozen
class Plan:
    """
    What `install` would do.

    Attributes:
        here: The packages to install, with their source, by the title of a language.
        programs: The names of the programs that these packages are for.
        needs_root: The packages that this user cannot install, likewise.
        command: One command that installs what needs root, and the rest.
        download_bytes: The estimated download for `here`.
        disk_bytes: The estimated disk space for `here`.
        seconds: The estimated time, at 5 MB downloaded and 25 MB unpacked a second.
        lists_fetched: Whether apt's package lists were fetched for the plan.
    """

    here: Mapping[str, str]
    programs: frozenset[str]
    needs_root: Mapping[str, str]
    command: str
    download_bytes: int
    disk_bytes: int
    seconds: float
    lists_fetched: bool = False


def plan(
    programs: Collection[Program], say: Say = print, watch: Watch = unwatched, *, fetch_lists: bool = True
) -> Plan:
    """
    Return what `install_for` would install for these programs. Nothing is installed.

    If apt has no package lists yet, as in a fresh container, they are fetched: as root the system's, else separate ones
    in the cache directory. With ``fetch_lists=False`` they are not, and the sizes of Debian packages are the estimates
    of the manifests.
    """
    absent = [
        (language, its_programs) for language, its_programs in _by_language(programs) if not _satisfied(its_programs)
    ]
    needs_apt = any(way.apt for language, _ in absent for way in language.install)
    fetched = fetch_lists and needs_apt and _apt.has_apt() and not _apt.has_lists()
    if fetched:
        _fetch(say, watch)
    here: dict[str, list[Way]] = {}  # languages may have the same title: Python with and without uvloop
    needs_root: dict[str, list[Way]] = {}
    able: set[str] = set()
    left_out: list[Language] = []
    packages: dict[str, None] = {}
    download_bytes = disk_bytes = 0
    for language, its_programs in absent:
        ways = [way for way in language.install if _install.is_open(way)]
        way = next((way for way in ways if os.geteuid() == 0 or not _install.apt_missing(way)), None)
        if way is None:
            if ways:
                needs_root.setdefault(language.name, []).append(ways[0])
                left_out.append(language)
            continue
        here.setdefault(language.name, []).append(way)
        able |= {program.name for program in its_programs}
        if way_packages := _install.apt_missing(way):
            packages |= dict.fromkeys(way_packages)
            if not _apt.has_lists():
                download_bytes += parse_bytes(way.apt_download or "0")
                disk_bytes += parse_bytes(way.apt_disk or "0")
        download_bytes += parse_bytes(way.download or "0")
        disk_bytes += parse_bytes(way.disk or "0")
    apt_sizes = _apt.sizes(tuple(packages))
    download_bytes, disk_bytes = download_bytes + apt_sizes[0], disk_bytes + apt_sizes[1]
    seconds = 5 * len(here) + download_bytes / _DOWNLOAD_PER_S + disk_bytes / _UNPACK_PER_S
    return Plan(
        here={title: _packages(ways) for title, ways in here.items()},
        programs=frozenset(able),
        needs_root={title: _packages(ways) for title, ways in needs_root.items()},
        command=_install.command_for(left_out),
        download_bytes=download_bytes,
        disk_bytes=disk_bytes,
        seconds=seconds,
        lists_fetched=fetched,
    )


def install(
    languages: Sequence[str] = (), say: Say = print, extra_dirs: Sequence[Path] = (), watch: Watch = unwatched
) -> dict[str, Missing]:
    """
    Install missing toolchains: packages from PyPI and npm into the cache directory, Debian packages as root.

    The ways of a language are tried in order, until one helps. Ways that need root are skipped if this user is not
    root.

    Args:
        languages: As for `asked`.
        say: Called with each command before it runs, and with each error, as a line of text.
        extra_dirs: Folders of programs besides concmem's own.
        watch: Called about once a second with the run time of a command and its last line of output.

    Returns:
        The selected programs that still cannot be run, by name. Empty means success; `command` returns one command
        that installs the rest.

    Raises:
        InvalidRequest: There is no such language.
        ManifestError: A ``language.toml`` is invalid.
    """
    return install_for(asked(languages, extra_dirs), say, watch)


def install_for(
    programs: Collection[Program], say: Say = print, watch: Watch = unwatched, *, lists_fetched: bool = False
) -> dict[str, Missing]:
    """As `install`, for these programs. With `lists_fetched`, apt's package lists are not fetched again."""
    drivers.forget()
    steps = _Steps(say, watch, lists_fetched)
    for language, its_programs in _by_language(programs):
        steps.get(language, its_programs)
    now = {program.name: drivers.detect(program) for program in programs}
    return {name: found for name, found in now.items() if isinstance(found, Missing)}


def command(programs: Collection[Program]) -> str:
    """Return one command that installs what these programs lack, or "" if no way is possible here."""
    absent = [language for language, its_programs in _by_language(programs) if not _runnable(its_programs)]
    return _install.command_for(absent)


class _Steps:
    """One installation. It fetches the package lists of apt at most once."""

    def __init__(self, say: Say, watch: Watch, updated: bool) -> None:
        self._say = say
        self._watch = watch
        self._updated = updated

    def get(self, language: Language, programs: Sequence[Program]) -> None:
        if _satisfied(programs):
            return
        for way in language.install:
            if way.apt and not self._updated and _apt.has_apt() and _install.apt_missing(way):
                _fetch(self._say, self._watch)
                self._updated = True
            if not _install.is_open(way) or (_install.apt_missing(way) and os.geteuid() != 0):
                continue
            try:
                _install.install_by(way, language, self._say, self._watch)
            except InstallError as error:
                self._say(f"{language.name}: {error}")
                continue
            drivers.forget()
            if _satisfied(programs):
                return


def _fetch(say: Say, watch: Watch) -> None:
    try:
        _install.update(say, watch)
    except InstallError as error:
        say(str(error))


def _packages(ways: Sequence[Way]) -> str:
    kinds = {
        "Debian": [name for way in ways for name in _install.apt_missing(way)],
        "PyPI": [name for way in ways for name in way.pip],
        "npm": [name for way in ways for name in way.npm],
    }
    return "; ".join(f"{kind}: {' '.join(dict.fromkeys(names))}" for kind, names in kinds.items() if names)


def _by_language(programs: Collection[Program]) -> list[tuple[Language, list[Program]]]:
    folders = dict.fromkeys(program.folder for program in programs)
    return [
        (_manifest.read(folder / "language.toml"), [program for program in programs if program.folder == folder])
        for folder in folders
    ]


def _runnable(programs: Sequence[Program]) -> bool:
    return not any(isinstance(drivers.detect(program), Missing) for program in programs)


def _satisfied(programs: Sequence[Program]) -> bool:
    found = [drivers.detect(program) for program in programs]
    return all(isinstance(each, Toolchain) and not each.stand_in for each in found)


def asked(languages: Sequence[str] = (), extra_dirs: Sequence[Path] = ()) -> tuple[Program, ...]:
    """
    Return the programs of languages.

    Args:
        languages: Names of languages, of their folders or of programs, or ``all``. If empty: the ten programs of the
            article, and those of other folders than concmem's own.
        extra_dirs: Folders of programs besides concmem's own, as for `drivers.load_programs`.

    Raises:
        InvalidRequest: There is no such language.
        ManifestError: A ``language.toml`` is invalid.
    """
    programs = drivers.load_programs(extra_dirs)
    return tuple(_asked(languages, programs).values())


def _asked(languages: Sequence[str], programs: dict[str, Program]) -> dict[str, Program]:
    if "all" in languages:
        return programs
    if not languages:
        return drivers.choose(programs)
    asked: dict[str, Program] = {}
    for wanted in languages:
        matches = {
            name: program
            for name, program in programs.items()
            if wanted.casefold() in (program.language.casefold(), program.folder.name.casefold())
        } or {name: program for name, program in programs.items() if name == wanted}
        if not matches:
            known = ", ".join(dict.fromkeys(program.folder.name for program in programs.values()))
            raise InvalidRequest(f"there is no language {wanted!r}; there are {known}")
        asked |= matches
    return asked
