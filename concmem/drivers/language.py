"""The content of a ``language.toml``: a language, its toolchains, its programs, and the placeholders in its texts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import attrs

__all__ = [
    "ALWAYS",
    "PLACEHOLDER",
    "Alternative",
    "Entry",
    "Kind",
    "Language",
    "Tool",
    "Way",
    "fill",
    "version_key",
]

Kind = Literal["thread", "green thread", "virtual thread", "event loop", "process"]
Workload = Literal["spawn", "channel"]  # in addition to sleep, which every program has

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
ALWAYS = frozenset({"packages", "cache", "this_python"})
"""Placeholders that do not depend on a toolchain."""


@attrs.frozen
class Tool:
    """One program or file of a toolchain: where to find it, and the command that shows that it works."""

    name: str
    look: tuple[str, ...]
    ask: tuple[str, ...] = ()
    answer: str = ""


@attrs.frozen
class Alternative:
    """One toolchain that can build and run the programs of a language."""

    name: str
    label: str
    run: tuple[str, ...]
    tool: tuple[Tool, ...]
    build: tuple[tuple[str, ...], ...] = ()
    least: str = "0"
    choose: Literal["first", "newest"] = "first"
    path: str = ""
    stand_in: bool = False
    env: dict[str, str] = attrs.Factory(dict)
    build_env: dict[str, str] = attrs.Factory(dict)


@attrs.frozen
class Way:
    """
    One way to install a toolchain. All packages that it names are needed.

    `download` and `disk` are the sizes of the `pip` and `npm` packages. `apt_download` and `apt_disk` estimate those of
    the Debian packages on a bare system; they are used while apt has no package lists.
    """

    pip: tuple[str, ...] = ()
    no_deps: bool = False
    executable: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    download: str = ""
    disk: str = ""
    apt_download: str = ""
    apt_disk: str = ""


@attrs.frozen
class FlagRule:
    """Arguments that the runtime needs for more than ``tasks_above`` tasks."""

    tasks_above: int
    argv: tuple[str, ...]


@attrs.frozen
class Pin:
    """A library whose version is shown in the row, and the file and pattern to read the version with."""

    name: str
    file: str
    pattern: str


@attrs.frozen
class Entry:
    """One program."""

    name: str
    title: str
    kind: Kind
    file: str
    workloads: dict[Workload, str] = attrs.Factory(dict)
    variant: str = "article"
    least: str = "0"
    begins_together: bool = False
    mappings: int = 0
    flags: tuple[FlagRule, ...] = ()
    pins: tuple[Pin, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def sources(self) -> dict[str, str]:
        """Return the file of each workload, ``sleep`` first."""
        return dict([("sleep", self.file), *self.workloads.items()])

    def name_of(self, workload: str) -> str:
        """Return the name of the built program of a workload."""
        return self.name if workload == "sleep" else f"{self.name}-{workload}"


@attrs.frozen(eq=False)
class Language:
    """One ``language.toml``. It is read once, so equality is identity."""

    name: str
    toolchain: tuple[Alternative, ...]
    program: tuple[Entry, ...]
    order: int = 1000
    install: tuple[Way, ...] = ()
    hand: str = ""
    folder: Path = Path()


def version_key(version: str) -> tuple[int, ...]:
    """Return a sort key of a version: ``"1.10.2"`` -> ``(1, 10, 2)``."""
    return tuple(int(part[:18]) for part in re.findall(r"[0-9]+", version))


def fill(text: str, values: dict[str, str], *, pattern: bool = False) -> str:
    """Return ``text`` with its placeholders replaced; with ``pattern`` their values are escaped for a regex."""
    return PLACEHOLDER.sub(lambda m: re.escape(values[m[1]]) if pattern else values[m[1]], text)
