"""Find the toolchains of a language, as its manifest describes."""

from __future__ import annotations

import errno
import glob
import os
import re
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

import attrs

from concmem.drivers.cache import cache_dir, check_executable
from concmem.drivers.language import Alternative, Language, Tool, fill, version_key
from concmem.drivers.outside_programs import ToolTimeout, run_tool

__all__ = ["Found", "find_toolchains", "packages_dir"]

_ASK_TIMEOUT_S = 60
_NOT_ITS_FAULT = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
"""Errors of the machine, not of the toolchain. They must not select another toolchain."""


@attrs.frozen
class Found:
    """One toolchain that was found and works."""

    name: str
    version: str
    path: str
    label: str
    values: dict[str, str]
    stand_in: bool


def packages_dir(language: Language) -> Path:
    """Return the folder of the packages from PyPI and npm for one language."""
    return check_executable(cache_dir() / "packages" / language.folder.name)


@cache
def find_toolchains(language: Language) -> tuple[tuple[Found, ...], tuple[str, ...]]:
    """
    Return the toolchains of a language that were found, best first, and the reason for each that was not.

    A toolchain older than its least version counts as not found.
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
            why = f"needs version {alternative.least} or later, found {old}"
        if not good:
            absent.append(f"{alternative.name}: {why}")
    return tuple(found), tuple(absent)


def _candidates(alternative: Alternative, values: dict[str, str]) -> tuple[list[Found], str]:
    """Return each path of the first tool, with the other tools; and what the last incomplete one lacks."""
    found: list[Found] = []
    why = ""
    first, *others = alternative.tool
    for path in _paths(first, values):
        here = {**values}
        complaint = _query(first, path, here)
        for tool in others:
            if complaint:
                break
            paths = _paths(tool, here)
            complaint = _query(tool, paths[0], here) if paths else f"{tool.name} not found (for {path})"
        if complaint:
            why = complaint
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
    return found, why or f"{first.name} not found"


def _paths(tool: Tool, values: dict[str, str]) -> list[str]:
    """Return the paths of a tool, in the order of its manifest. A bare name is searched for in PATH."""
    paths: list[str] = []
    for pattern in tool.look:
        text = fill(pattern, values)
        if "/" not in text:
            paths += filter(None, [shutil.which(text)])
            continue
        expanded = os.path.expandvars(Path(text).expanduser())
        if "$" not in expanded:
            # Of several folders that match, the newest version comes first.
            paths += sorted(glob.glob(expanded), key=version_key, reverse=True)
    return list(dict.fromkeys(str(Path(path).absolute()) for path in paths if Path(path).is_file()))


def _query(tool: Tool, path: str, values: dict[str, str]) -> str:
    """Run the query command of a tool and add its answer to `values`. Return what is wrong, or ""."""
    values[tool.name], values[f"{tool.name}_folder"] = path, str(Path(path).parent)
    if not tool.ask:
        return ""
    argv = [fill(word, values) for word in tool.ask]
    try:
        done = run_tool(argv, timeout_s=_ASK_TIMEOUT_S)
    except OSError as error:
        if error.errno in _NOT_ITS_FAULT:
            raise
        return f"{argv[0]} cannot be run ({error.strerror})"
    except ToolTimeout:
        return f"{argv[0]} did not end within {_ASK_TIMEOUT_S} s"
    if done.code != 0:
        return f"{shlex.join(argv)} ended with exit code {done.code}"
    match = re.search(fill(tool.answer, values, pattern=True), done.text)
    if match is None:
        return f"the output of {shlex.join(argv)} does not match the pattern in language.toml"
    values |= {name: value.strip() for name, value in match.groupdict().items() if value is not None}
    return ""
