"""Looking for the toolchains of a language, as its manifest says."""

from __future__ import annotations

import errno
import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import attrs

from concmem.drivers.cache import cache_dir, check_executable
from concmem.drivers.manifest import Alternative, Language, Tool, fill, version_key

__all__ = ["Found", "look", "packages_dir"]

_ASK_TIMEOUT_S = 60
_NOT_ITS_FAULT = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""That nothing can be started now says nothing of the toolchain, and must not make another one stand in for it."""


@attrs.frozen
class Found:
    """One toolchain that is there and answers."""

    name: str
    version: str
    path: str
    label: str
    values: dict[str, str]
    stand_in: bool


def packages_dir(language: Language) -> Path:
    """Where packages from PyPI and npm are installed for a language, and for nothing else."""
    return check_executable(cache_dir() / "packages" / language.folder.name)


@cache
def look(language: Language) -> tuple[tuple[Found, ...], tuple[str, ...]]:
    """
    The toolchains of a language that are there, the one to take first; and of each that is not, why.

    Those older than a toolchain's least version are among the latter.
    """
    found: list[Found] = []
    absent: list[str] = []
    for alternative in language.toolchain:
        start = {
            "packages": str(packages_dir(language)),
            "cache": str(cache_dir()),
            "this_python": sys.executable or "python3",
        }
        complete, why = _candidates(alternative, start)
        good = [each for each in complete if version_key(each.version) >= version_key(alternative.least)]
        if alternative.choose == "newest":
            good.sort(key=lambda each: version_key(each.version), reverse=True)
        found += good
        if complete and not good:
            old = ", ".join(each.version for each in complete)
            why = f"{alternative.least} or later is needed, found {old}"
        if not good:
            absent.append(f"{alternative.name}: {why}")
    return tuple(found), tuple(absent)


def _candidates(alternative: Alternative, values: dict[str, str]) -> tuple[list[Found], str]:
    """Every place of the first tool, each completed by the tools after it; and why the last incomplete one is so."""
    found: list[Found] = []
    why = ""
    first, *others = alternative.tool
    for path in _places(first, values):
        here = {**values}
        complaint = _take(first, path, here)
        for tool in others:
            if complaint:
                break
            places = _places(tool, here)
            complaint = _take(tool, places[0], here) if places else f"no {tool.name}"
        if complaint:
            why = f"{complaint} (beside {path})" if complaint.startswith("no ") else complaint
            continue
        each = Found(
            name=alternative.name,
            version=here["version"],
            path=fill(alternative.path, here) or path,
            label=fill(alternative.label, here),
            values=here,
            stand_in=alternative.stand_in,
        )
        if each.path not in [other.path for other in found]:
            found.append(each)
    return found, why or f"no {first.name}"


def _places(tool: Tool, values: dict[str, str]) -> list[str]:
    """Where a tool is, in the order of its manifest: a bare name is looked for in PATH, all else is a path."""
    places: list[str] = []
    for pattern in tool.look:
        text = fill(pattern, values)
        if "/" not in text:
            places += filter(None, [shutil.which(text)])
            continue
        expanded = os.path.expandvars(Path(text).expanduser())
        if "$" not in expanded:
            # The newest of several folders of one kind comes first.
            places += sorted(glob.glob(expanded), key=version_key, reverse=True)
    return list(dict.fromkeys(str(Path(place).absolute()) for place in places if Path(place).is_file()))


def _take(tool: Tool, path: str, values: dict[str, str]) -> str:
    """Ask a tool its question and note what it is; or say in a few words why it will not do."""
    values[tool.name], values[f"{tool.name}_folder"] = path, str(Path(path).parent)
    if not tool.ask:
        return ""
    argv = [fill(word, values) for word in tool.ask]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"LC_ALL": "C.UTF-8"},
            timeout=_ASK_TIMEOUT_S,
        )
    except OSError as error:
        if error.errno in _NOT_ITS_FAULT:
            raise
        return f"{argv[0]} cannot be run ({error.strerror})"
    except subprocess.TimeoutExpired:
        return f"{argv[0]} did not answer within {_ASK_TIMEOUT_S} s"
    if done.returncode != 0:
        return f"{shlex.join(argv)} ended with exit code {done.returncode}"
    match = re.search(fill(tool.answer, values, pattern=True), done.stdout.decode(errors="replace"))
    if match is None:
        return f"{shlex.join(argv)} gave an answer that is not understood"
    values |= {name: value.strip() for name, value in match.groupdict().items() if value is not None}
    return ""
