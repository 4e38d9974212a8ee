"""The toolchains of all programs: which are there, and getting those that are not."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from concmem import _install, _manifest, drivers
from concmem._install import InstallError, Say
from concmem.drivers import Missing, Program, Toolchain
from concmem.errors import InvalidRequest

__all__ = ["InstallError", "install", "survey"]


def survey(extra_dirs: Sequence[Path] = ()) -> dict[str, Toolchain | Missing]:
    """
    Of each program its toolchain, or why it cannot be run here and what would help.

    Args:
        extra_dirs: Folders of programs besides concmem's own, as for `drivers.load_programs`.

    Raises:
        ManifestError: A ``language.toml`` cannot be meant.
    """
    return {name: drivers.detect(program) for name, program in drivers.load_programs(extra_dirs).items()}


def install(languages: Sequence[str] = (), say: Say = print, extra_dirs: Sequence[Path] = ()) -> dict[str, Missing]:
    """
    Get what is missing: packages from PyPI and npm into folders of the cache directory, Debian packages as root.

    Of a language's ways the first that is open is gone, the next where that does not help. What needs root is told in
    one line and left out where the user is not root.

    Args:
        languages: Their names, or those of their folders or programs, or ``all``. Where none is given: what the ten
            programs of the article need, and those of other folders than concmem's own.
        say: Is given each command before it runs, and each complaint, as a line of text.
        extra_dirs: Folders of programs besides concmem's own.

    Returns:
        Of the programs that were asked for those that still cannot be run, by name. Empty is success.

    Raises:
        InvalidRequest: There is no such language.
        ManifestError: A ``language.toml`` cannot be meant.
    """
    programs = drivers.load_programs(extra_dirs)
    asked = _asked(languages, programs)
    drivers.forget()
    steps = _Steps(say)
    folders = dict.fromkeys(program.folder for program in asked.values())
    for folder in folders:
        steps.get(_manifest.read(folder / "language.toml"), [p for p in asked.values() if p.folder == folder])
    if steps.left_out:
        packages = " ".join(dict.fromkeys(steps.left_out))
        if _install.apt_has_lists():
            say(f"needs root: sudo apt-get update && sudo apt-get install -y --no-install-recommends {packages}")
        else:  # which of the packages this system has is not known
            again = f"{_install.own_command()} {shlex.join(['toolchains', 'install', *languages])}"
            say(f"needs root: sudo apt-get update; then {again} says which packages are missing")
    now = {name: drivers.detect(program) for name, program in asked.items()}
    return {name: found for name, found in now.items() if isinstance(found, Missing)}


class _Steps:
    """One installation: the lists of apt are fetched once, what needs root is collected."""

    def __init__(self, say: Say) -> None:
        self.left_out: list[str] = []
        self._say = say
        self._updated = os.geteuid() != 0

    def get(self, language: _manifest.Language, programs: Sequence[Program]) -> None:
        if _satisfied(programs):
            return
        left_out: tuple[str, ...] = ()
        for way in language.install:
            if way.apt and not self._updated and _install.apt_missing(way):
                _install.update(self._say)
                self._updated = True
            if not _install.is_open(way):
                continue
            absent = _install.apt_missing(way)
            if absent and os.geteuid() != 0:
                left_out = left_out or absent
                continue
            try:
                _install.go(way, language, self._say)
            except InstallError as error:
                self._say(f"{language.name}: {error}")
                continue
            drivers.forget()
            if _satisfied(programs):
                return
        self.left_out += left_out


def _satisfied(programs: Sequence[Program]) -> bool:
    found = [drivers.detect(program) for program in programs]
    return all(isinstance(each, Toolchain) and not each.stand_in for each in found)


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
