"""
The format of ``language.toml``: its keys, and one sentence for each mistake.

``docs/add-a-language.md`` describes it for users.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Literal

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn

from concmem._escaping import escape_text
from concmem._files.names import NAME_RULE, is_name
from concmem._files.strict import describe, strict_converter
from concmem.errors import ConcmemError
from concmem.units import parse_bytes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "ALWAYS",
    "Alternative",
    "Entry",
    "Kind",
    "Language",
    "ManifestError",
    "Tool",
    "Way",
    "fill",
    "read",
    "version_key",
]

Kind = Literal["thread", "green thread", "virtual thread", "event loop", "process"]
Workload = Literal["spawn", "channel"]  # in addition to sleep, which every program has

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
ALWAYS = frozenset({"packages", "cache", "this_python"})
"""Placeholders that do not depend on a toolchain."""
_MOST_BYTES = 1 << 20
_OF_PROGRAM = ALWAYS | {"dir", "source", "source_folder", "stem", "program"}


class ManifestError(ConcmemError, ValueError):
    """A ``language.toml`` is invalid. The message names the file and the key."""

    exit_code = 2


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
    return _PLACEHOLDER.sub(lambda m: re.escape(values[m[1]]) if pattern else values[m[1]], text)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"the file is larger than {_MOST_BYTES >> 20} MiB")
    return content.decode("utf-8").replace("\r\n", "\n")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # for example, the name is too long
        return False


@cache
def read(path: Path) -> Language:
    """
    Return the language that a ``language.toml`` describes.

    Raises:
        ManifestError: The file cannot be read or is invalid.
    """
    try:
        stored = tomllib.loads(_text(path))
        language = _CONVERTER.structure(stored, Language)
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error
    except ValueError as error:  # Not UTF-8, or not TOML.
        raise ManifestError(f"{path}: {error}") from error
    except Exception as error:
        what, _, key = cattrs.transform_error(error, path="", format_exception=describe)[0].rpartition(" @ ")
        wrong = f"{key.lstrip('.')}: {what}" if key else what
    else:
        wrong = ""
    if wrong:
        raise ManifestError(f"{path}: {wrong}")
    language = attrs.evolve(language, folder=path.parent.resolve())
    for complaint in _complaints(language):
        raise ManifestError(f"{path}: {complaint}")
    return language


def _complaints(language: Language) -> Iterator[str]:
    """Yield each mistake beyond types, with its key."""
    for key in ("toolchain", "program"):
        if not getattr(language, key):
            yield f"{key}: there must be at least one [[{key}]]"
    shown = {"name": language.name, "hand": language.hand}
    shown |= {
        f"toolchain[{i}].{key}": getattr(a, key) for i, a in enumerate(language.toolchain) for key in ("name", "label")
    }
    shown |= {
        f"program[{i}].{key}": getattr(p, key) for i, p in enumerate(language.program) for key in ("title", "variant")
    }
    for key, text in shown.items():
        if escape_text(text) != text:
            yield f"{key}: {text!r} contains an invisible character"
    for i, alternative in enumerate(language.toolchain):
        yield from _alternative_complaints(f"toolchain[{i}]", alternative, bool(any(p.flags for p in language.program)))
    for i, entry in enumerate(language.program):
        at = f"program[{i}]"
        if not is_name(entry.name):
            yield f"{at}.name: {entry.name!r} is not {NAME_RULE}"
        files = {"file": entry.file}
        files |= {f"workloads.{workload}": file for workload, file in entry.workloads.items()}
        files |= {f"pins[{j}].file": pin.file for j, pin in enumerate(entry.pins)}
        for key, name in files.items():
            if not _is_file(language.folder / name):
                yield f"{at}.{key}: no file {name!r} in {language.folder}"
        for j, pin in enumerate(entry.pins):
            yield from _pattern_complaints(f"{at}.pins[{j}].pattern", pin.pattern, groups=1)
        above = [rule.tasks_above for rule in entry.flags]
        if above != sorted(above):
            yield f"{at}.flags: tasks_above must increase from rule to rule"
    for i, way in enumerate(language.install):
        for key in ("download", "disk", "apt_download", "apt_disk"):
            try:
                parse_bytes(getattr(way, key) or "0")
            except ValueError as error:
                yield f"install[{i}].{key}: {error}"
    names = [entry.name_of(workload) for entry in language.program for workload in entry.sources]
    for name in names:
        if names.count(name) > 1:
            yield f"program: more than one program is named {name!r}"


def _alternative_complaints(at: str, alternative: Alternative, flags: bool) -> Iterator[str]:
    known = set(ALWAYS)
    if not alternative.tool:
        yield f"{at}.tool: there must be at least one [[toolchain.tool]]"
    if not alternative.run:
        yield f"{at}.run: must not be empty"
    for i, tool in enumerate(alternative.tool):
        here = f"{at}.tool[{i}]"
        yield from _unknown(f"{here}.look", tool.look, known)
        known |= {tool.name, f"{tool.name}_folder"}
        yield from _unknown(f"{here}.ask", tool.ask, known)
        yield from _unknown(f"{here}.answer", [tool.answer], known)
        yield from _pattern_complaints(f"{here}.answer", _PLACEHOLDER.sub("x", tool.answer))
        if bool(tool.ask) != bool(tool.answer):
            yield f"{here}: ask and answer must be given together"
        known |= set(re.compile(_PLACEHOLDER.sub("x", tool.answer)).groupindex)
    if "version" not in known:
        yield f"{at}.tool: one answer must have a group (?P<version>...)"
    yield from _unknown(f"{at}.label", [alternative.label], known)
    yield from _unknown(f"{at}.path", [alternative.path], known)
    run = known | _OF_PROGRAM
    build = run | {"shared"}
    for i, step in enumerate(alternative.build):
        yield from _unknown(f"{at}.build[{i}]", step, build)
    yield from _unknown(f"{at}.run", [word for word in alternative.run if word != "{flags}"], run)
    yield from _unknown(f"{at}.env", alternative.env.values(), run)
    yield from _unknown(f"{at}.build_env", alternative.build_env.values(), build)
    if flags and "{flags}" not in alternative.run:
        yield f"{at}.run: must contain '{{flags}}', because a program has flags"


def _unknown(at: str, texts: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for name in _PLACEHOLDER.findall(text):
            if name not in known:
                yield f"{at}: unknown placeholder '{{{name}}}'; known here: {', '.join(sorted(known))}"


def _pattern_complaints(at: str, pattern: str, groups: int = 0) -> Iterator[str]:
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        yield f"{at}: {error}"
    else:
        if compiled.groups < groups:
            yield f"{at}: the pattern has no group (...)"


def _converter() -> cattrs.Converter:
    made = strict_converter()
    # The folder is that of the file, not a key in it.
    structure = make_dict_structure_fn(
        Language, made, _cattrs_forbid_extra_keys=True, folder=cattrs.override(omit=True)
    )
    made.register_structure_hook(Language, structure)
    return made


_CONVERTER = _converter()
