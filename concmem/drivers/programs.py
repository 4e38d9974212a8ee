"""
Programs to measure, and the toolchains that make and run them.

Everything about a language stands in the ``language.toml`` beside its programs (``docs/add-a-language.md``); this
module is the one reader of those files.

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

import attrs

from concmem._escaping import escape_fields
from concmem._paths import PROGRAMS
from concmem.drivers import build as _build
from concmem.drivers import detect as _detect
from concmem.drivers import install as _install
from concmem.drivers import manifest as _manifest
from concmem.drivers.build import BuildError
from concmem.drivers.long_command import Watch, unwatched
from concmem.drivers.manifest import Kind, ManifestError
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


@attrs.frozen(field_transformer=escape_fields)
class Toolchain:
    """
    What makes and runs a program, as found on this machine.

    Attributes:
        language: Of the program.
        name: Which of the language's toolchains this is.
        version: Of the compiler or of the runtime, whichever the language's manifest holds to be telling.
        path: Where it was found.
        label: What a row says of it, the libraries that count included: "rustc 1.95.0, tokio 1.38.1".
        stand_in: It runs the programs, but is not what people mean by the language; `toolchains.install` goes on
            looking for that.
        values: What was found of each of its parts, by the manifest's names.
    """

    language: str
    name: str
    version: str
    path: str
    label: str
    stand_in: bool = False
    values: Mapping[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen(field_transformer=escape_fields)
class Missing:
    """
    Why a program cannot be made or run here.

    Attributes:
        language: Of the program.
        reason: One sentence.
        install: The exact command that gets what is missing, or "" where none is known.
    """

    language: str
    reason: str
    install: str


@attrs.frozen(field_transformer=escape_fields)
class Program:
    """
    One program: it starts N tasks, and says so.

    Attributes:
        name: What the command line and the files of a study call it.
        language: What it is written in.
        title: What a chart calls it.
        kind: What one of its tasks is.
        variant: ``article`` for the ten of the article, ``idiomatic`` for those that a language's users would write
            instead, else what sets it apart from both.
        begins_together: None of its tasks begins before all are created, so that N are alive at once however long
            creating them takes.
        folder: Of its language.
        mappings: How many memory mappings one of its tasks takes; 0 where tasks share them.
        workloads: What its tasks can do: ``sleep``, and what further workloads there is a source for.
        least: The least version of a toolchain that can make and run it; "0" where any will do.
        remarks: What a reader of its rows must know, each a few words.
    """

    name: str
    language: str
    title: str
    kind: Kind
    variant: str
    begins_together: bool
    folder: Path = attrs.field(repr=False)
    workloads: tuple[str, ...] = ("sleep",)
    mappings: int = attrs.field(default=0, repr=False)
    least: str = attrs.field(default="0", repr=False)
    remarks: tuple[str, ...] = attrs.field(default=(), repr=False)


@attrs.frozen
class Prepared:
    """
    A program that is ready to run.

    Attributes:
        program: Which.
        toolchain: What made it and runs it.
        workload: What its tasks do.
        env: The whole environment of a run; nothing of the caller's is in it.
    """

    program: Program
    toolchain: Toolchain
    workload: str
    env: dict[str, str]
    _run: tuple[str, ...] = attrs.field(repr=False)

    def command(self, tasks: int, duration_s: float) -> tuple[str, ...]:
        """
        The argument vector of a run: an absolute path first, no shell and no build tool in it.

        Args:
            tasks: How many tasks to start, at least 1.
            duration_s: How long each sleeps; with ``spawn`` how long the program stays when all have ended, with
                ``channel`` how long the message goes round.
        """
        flags, argv = self.flags(tasks), list[str]()
        for word in self._run:
            argv += flags if word == "{flags}" else (word,)
        return (*argv, str(tasks), f"{duration_s:.6f}".rstrip("0").rstrip("."))

    def flags(self, tasks: int) -> tuple[str, ...]:
        """The arguments of the runtime without which it could not do this many tasks; part of the row."""
        rules = [rule.argv for rule in _entry(self.program).flags if tasks > rule.tasks_above]
        return rules[-1] if rules else ()


def load_programs(extra_dirs: Sequence[Path] = ()) -> dict[str, Program]:
    """
    All programs by name: concmem's own first, in the order of the article, then those of other folders.

    Args:
        extra_dirs: Folders that hold a folder a language, each with a ``language.toml``.

    Raises:
        ManifestError: One cannot be read, or names a program that is already there, or a folder holds no language.
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
    The programs that are meant, in the order of ``found``.

    Args:
        found: All that there are, as `load_programs` gives them.
        names: Their names; ``all`` stands for every one. Where there are none: the ten of the article and all of other
            folders than concmem's own, or all of the variants, where those are given.
        variants: Only programs of these.

    Raises:
        InvalidRequest: There is no such program or variant, or none that is both.
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
        raise InvalidRequest(f"none of {', '.join(names)} is of the variant {' or '.join(variants)}")
    return chosen


def detect(program: Program) -> Toolchain | Missing:
    """
    The toolchain for a program: the first of its language that can do all of the language's programs.

    So two programs of one language are compared on one toolchain. Where none can do all, the first that can do this
    one. What is found is kept for the life of the process; `forget` looks again.
    """
    language = _language(program)
    found, absent = _detect.look(language)
    most = max((entry.least for entry in language.program), key=_manifest.version_key)
    for least in (most, program.least):
        for candidate in found:
            if _manifest.version_key(candidate.version) >= _manifest.version_key(least):
                return _toolchain(program, language, candidate)
    if found:
        there = "; ".join(f"{candidate.label} at {candidate.path}" for candidate in found)
        reason = f"{program.title} needs version {program.least} or later, found {there}"
    else:
        reason = f"no toolchain for {language.name}: {'; '.join(absent)}"
    return Missing(language.name, reason, _install.command(language))


def forget() -> None:
    """Look for toolchains anew, when next asked: something has been installed."""
    _detect.look.cache_clear()
    _install.forget()


def prepare(program: Program, toolchain: Toolchain, workload: str = "sleep", watch: Watch = unwatched) -> Prepared:
    """
    Build a program for a workload, unless the cache has it.

    The cache is keyed by the language's sources and manifest and by the toolchain. Nothing is ever written beside the
    sources, and any number of processes may build at once.

    Args:
        program: Which.
        toolchain: What builds it, as `detect` found it.
        workload: What its tasks do.
        watch: Is given, about once a second, how long a compiler has been at work, and its last line.

    Raises:
        InvalidRequest: The program has no such workload.
        BuildError: The compiler refuses it, or does not end within 30 minutes.
        CacheError: The cache directory cannot be used.
    """
    if workload not in program.workloads:
        raise InvalidRequest(
            f"{program.name} has no workload {workload!r}; it has {', '.join(map(repr, program.workloads))}"
        )
    language, entry = _language(program), _entry(program)
    alternative = next(a for a in language.toolchain if a.name == toolchain.name)
    file, name = Path(entry.sources[workload]), entry.name_of(workload)
    values = {**toolchain.values, "program": name, "stem": file.stem}

    def places(folder: Path) -> dict[str, str]:
        source = folder / file
        return {**values, "dir": str(folder), "source": str(source), "source_folder": str(source.parent)}

    folder = language.folder
    if alternative.build:
        folder = _build.built(language, alternative, name, _tools(toolchain), places, watch)
    final = places(folder)
    env = {"LANG": "C.UTF-8"} | {name: _manifest.fill(text, final) for name, text in alternative.env.items()}
    run = tuple(word if word == "{flags}" else _manifest.fill(word, final) for word in alternative.run)
    return Prepared(program, toolchain, workload, env, run)


def is_built(program: Program, toolchain: Toolchain, workload: str = "sleep") -> bool:
    """Whether `prepare` has nothing to build for a program: the cache has it, or its sources are run as they are."""
    language, entry = _language(program), _entry(program)
    alternative = next(a for a in language.toolchain if a.name == toolchain.name)
    return not alternative.build or _build.place(language, entry.name_of(workload), _tools(toolchain)).is_dir()


def needs_build(program: Program) -> bool:
    """Whether the toolchain that a language names first builds its programs."""
    return bool(_language(program).toolchain[0].build)


def _tools(toolchain: Toolchain) -> list[tuple[str, str]]:
    """What a built program depends on besides its sources."""
    return sorted(item for item in toolchain.values.items() if item[0] not in _manifest.ALWAYS)


def _by_default(program: Program) -> bool:
    return program.variant == "article" or program.folder.parent != PROGRAMS.resolve()


def _language(program: Program) -> _manifest.Language:
    return _manifest.read(program.folder / "language.toml")


def _entry(program: Program) -> _manifest.Entry:
    return next(entry for entry in _language(program).program if entry.name == program.name)


def _toolchain(program: Program, language: _manifest.Language, found: _detect.Found) -> Toolchain:
    label = found.label
    for pin in _entry(program).pins:
        match = re.search(pin.pattern, (language.folder / pin.file).read_text(encoding="utf-8"))
        label += f", {pin.name} {match[1] if match else 'of unknown version'}"
    return Toolchain(language.name, found.name, found.version, found.path, label, found.stand_in, found.values)
