"""
Programs to measure, and the toolchains that build and run them.

Everything about a language is in the ``language.toml`` beside its programs (``docs/add-a-language.md``).

    program = load_programs()["go"]
    found = detect(program)
    if isinstance(found, Toolchain):
        ready = prepare(program, found)
        concmem.measure(ready.command(1000, 1.0), env=ready.env)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from concmem._files.paths import PROGRAMS
from concmem.drivers import build as _build
from concmem.drivers import detection as _detection
from concmem.drivers import install as _install
from concmem.drivers import manifest as _manifest
from concmem.drivers.build import BuildError
from concmem.drivers.language import ALWAYS, Kind, Language, fill, version_key
from concmem.drivers.manifest import ManifestError
from concmem.drivers.outside_programs import Watch, unwatched
from concmem.drivers.records import Missing, Prepared, Program, Toolchain, entry_of, language_of
from concmem.errors import InvalidRequest

__all__ = [
    "BuildError",
    "Kind",
    "ManifestError",
    "Missing",
    "Prepared",
    "Program",
    "Toolchain",
    "choose",
    "detect",
    "forget",
    "is_built",
    "load_programs",
    "needs_build",
    "prepare",
]


def load_programs(extra_dirs: Sequence[Path] = ()) -> dict[str, Program]:
    """
    Return all programs by name: concmem's own first, in the order of the article, then those of other folders.

    Args:
        extra_dirs: Folders with one folder per language, each with a ``language.toml``.

    Raises:
        ManifestError: A file is invalid, a program's name is not unique, or a folder has no language.
    """
    programs: dict[str, Program] = {}
    for top in (PROGRAMS, *extra_dirs):
        languages = [_manifest.read(path) for path in sorted(Path(top).glob("*/language.toml"))]
        if not languages:
            raise ManifestError(f"{top}: no folder in it has a language.toml")
        for language in sorted(languages, key=lambda language: language.order):
            for entry in language.program:
                if (other := programs.get(entry.name)) is not None:
                    where = language.folder / "language.toml"
                    raise ManifestError(f"{where}: program.name: {entry.name!r} is already in {other.folder}")
                programs[entry.name] = Program(
                    name=entry.name,
                    language=language.name,
                    title=entry.title,
                    kind=entry.kind,
                    variant=entry.variant,
                    begins_together=entry.begins_together,
                    mappings=entry.mappings or (2 if entry.kind == "thread" else 0),
                    folder=language.folder,
                    workloads=tuple(entry.sources),
                    least=entry.least,
                    remarks=entry.remarks,
                )
    return programs


def choose(found: Mapping[str, Program], names: Sequence[str] = (), variants: Sequence[str] = ()) -> dict[str, Program]:
    """
    Return the selected programs, in the order of ``found``.

    Args:
        found: All programs, as from `load_programs`.
        names: Their names; ``all`` stands for every program. Without names: all programs of the given variants, else
            the ten of the article and all of other folders than concmem's own.
        variants: Select only programs of these variants.

    Raises:
        InvalidRequest: There is no such program or variant, or no program with both.
    """
    there = tuple(dict.fromkeys(program.variant for program in found.values()))
    for what, wanted, known in (("program", names, (*found, "all")), ("variant", variants, there)):
        if unknown := [each for each in wanted if each not in known]:
            raise InvalidRequest(f"there is no {what} {', '.join(map(repr, unknown))}; there are: {', '.join(known)}")

    def meant(program: Program) -> bool:
        if names and "all" not in names and program.name not in names:
            return False
        return program.variant in variants if variants else bool(names) or _by_default(program)

    chosen = {name: program for name, program in found.items() if meant(program)}
    if not chosen:
        raise InvalidRequest(f"none of {', '.join(names)} has the variant {' or '.join(variants)}")
    return chosen


def detect(program: Program) -> Toolchain | Missing:
    """
    Return the toolchain for a program: the first of its language that can build and run all the language's programs.

    So all programs of a language are compared on one toolchain. If none can do all, return the first that can do this
    program. Results are cached in this process; `forget` clears them.
    """
    language = language_of(program)
    found, absent = _detection.find_toolchains(language)
    most = max((entry.least for entry in language.program), key=version_key)
    for least in (most, program.least):
        for candidate in found:
            if version_key(candidate.version) >= version_key(least):
                return _toolchain(program, language, candidate)
    if found:
        versions = "; ".join(f"{candidate.label} at {candidate.path}" for candidate in found)
        reason = f"{program.title} needs version {program.least} or later, found {versions}"
    else:
        reason = f"no toolchain for {language.name}: {'; '.join(absent)}"
    return Missing(language.name, reason, _install.command(language))


def forget() -> None:
    """Clear cached results, so that `detect` finds newly installed toolchains."""
    _detection.find_toolchains.cache_clear()
    _install.forget()


def prepare(program: Program, toolchain: Toolchain, workload: str = "sleep", watch: Watch = unwatched) -> Prepared:
    """
    Build a program for a workload, unless the cache has it.

    The cache key is made of the language's sources and manifest and of the toolchain. Nothing is written beside the
    sources. Any number of processes may build at once.

    Args:
        program: The program.
        toolchain: The toolchain, as from `detect`.
        workload: What its tasks do.
        watch: Called about once a second with the run time of the compiler and its last line of output.

    Raises:
        InvalidRequest: The program has no such workload.
        BuildError: The compiler fails, or does not end within 30 minutes.
        CacheError: The cache directory cannot be used.
    """
    if workload not in program.workloads:
        raise InvalidRequest(
            f"{program.name} has no workload {workload!r}; it has {', '.join(map(repr, program.workloads))}"
        )
    language, entry = language_of(program), entry_of(program)
    alternative = next(a for a in language.toolchain if a.name == toolchain.name)
    file, name = Path(entry.sources[workload]), entry.name_of(workload)
    values = {**toolchain.values, "program": name, "stem": file.stem}

    def places(folder: Path) -> dict[str, str]:
        source = folder / file
        return {**values, "dir": str(folder), "source": str(source), "source_folder": str(source.parent)}

    folder = language.folder
    if alternative.build:
        folder = _build.build_once(language, alternative, name, _tools(toolchain), places, watch)
    final = places(folder)
    env = {"LANG": "C.UTF-8"} | {name: fill(text, final) for name, text in alternative.env.items()}
    run = tuple(word if word == "{flags}" else fill(word, final) for word in alternative.run)
    return Prepared(program, toolchain, workload, env, run)


def is_built(program: Program, toolchain: Toolchain, workload: str = "sleep") -> bool:
    """Return whether `prepare` has nothing to build: the cache has the program, or its sources are run directly."""
    language, entry = language_of(program), entry_of(program)
    alternative = next(a for a in language.toolchain if a.name == toolchain.name)
    return not alternative.build or _build.cached_folder(language, entry.name_of(workload), _tools(toolchain)).is_dir()


def needs_build(program: Program) -> bool:
    """Return whether the first toolchain of a language builds its programs."""
    return bool(language_of(program).toolchain[0].build)


def _tools(toolchain: Toolchain) -> list[tuple[str, str]]:
    """Return what a built program depends on besides its sources."""
    return sorted(item for item in toolchain.values.items() if item[0] not in ALWAYS)


def _by_default(program: Program) -> bool:
    return program.variant == "article" or program.folder.parent != PROGRAMS.resolve()


def _toolchain(program: Program, language: Language, found: _detection.Found) -> Toolchain:
    label = found.label
    for pin in entry_of(program).pins:
        match = re.search(pin.pattern, (language.folder / pin.file).read_text(encoding="utf-8"))
        label += f", {pin.name} {match[1] if match else 'of unknown version'}"
    return Toolchain(language.name, found.name, found.version, found.path, label, found.stand_in, found.values)
