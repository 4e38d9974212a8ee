"""The mistakes that a ``language.toml`` can have beyond wrong types, each as one sentence with its key."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from concmem._escaping import escape_text
from concmem._files.names import NAME_RULE, is_name
from concmem.drivers.language import ALWAYS, PLACEHOLDER, Alternative, Language
from concmem.units import parse_bytes

__all__ = ["find_mistakes"]

_OF_PROGRAM = ALWAYS | {"dir", "source", "source_folder", "stem", "program"}


def find_mistakes(language: Language) -> Iterator[str]:
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
        yield from _alternative_mistakes(f"toolchain[{i}]", alternative, bool(any(p.flags for p in language.program)))
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
            yield from _pattern_mistakes(f"{at}.pins[{j}].pattern", pin.pattern, groups=1)
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


def _alternative_mistakes(at: str, alternative: Alternative, flags: bool) -> Iterator[str]:
    known = set(ALWAYS)
    if not alternative.tool:
        yield f"{at}.tool: there must be at least one [[toolchain.tool]]"
    if not alternative.run:
        yield f"{at}.run: must not be empty"
    for i, tool in enumerate(alternative.tool):
        here = f"{at}.tool[{i}]"
        yield from _unknown_placeholders(f"{here}.look", tool.look, known)
        known |= {tool.name, f"{tool.name}_folder"}
        yield from _unknown_placeholders(f"{here}.ask", tool.ask, known)
        yield from _unknown_placeholders(f"{here}.answer", [tool.answer], known)
        yield from _pattern_mistakes(f"{here}.answer", PLACEHOLDER.sub("x", tool.answer))
        if bool(tool.ask) != bool(tool.answer):
            yield f"{here}: ask and answer must be given together"
        known |= set(re.compile(PLACEHOLDER.sub("x", tool.answer)).groupindex)
    if "version" not in known:
        yield f"{at}.tool: one answer must have a group (?P<version>...)"
    yield from _unknown_placeholders(f"{at}.label", [alternative.label], known)
    yield from _unknown_placeholders(f"{at}.path", [alternative.path], known)
    run = known | _OF_PROGRAM
    build = run | {"shared"}
    for i, step in enumerate(alternative.build):
        yield from _unknown_placeholders(f"{at}.build[{i}]", step, build)
    yield from _unknown_placeholders(f"{at}.run", [word for word in alternative.run if word != "{flags}"], run)
    yield from _unknown_placeholders(f"{at}.env", alternative.env.values(), run)
    yield from _unknown_placeholders(f"{at}.build_env", alternative.build_env.values(), build)
    if flags and "{flags}" not in alternative.run:
        yield f"{at}.run: must contain '{{flags}}', because a program has flags"


def _unknown_placeholders(at: str, texts: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for name in PLACEHOLDER.findall(text):
            if name not in known:
                yield f"{at}: unknown placeholder '{{{name}}}'; known here: {', '.join(sorted(known))}"


def _pattern_mistakes(at: str, pattern: str, groups: int = 0) -> Iterator[str]:
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        yield f"{at}: {error}"
    else:
        if compiled.groups < groups:
            yield f"{at}: the pattern has no group (...)"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # for example, the name is too long
        return False
