"""A program, its toolchain or why there is none, and the program ready to run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from concmem._escaping import escape_fields
from concmem.drivers import manifest as _manifest
from concmem.drivers.language import Entry, Kind, Language

__all__ = ["Missing", "Prepared", "Program", "Toolchain", "entry_of", "language_of"]


@attrs.frozen(field_transformer=escape_fields)
class Toolchain:
    """
    A toolchain on this machine that builds and runs a program.

    Attributes:
        language: The language of the program.
        name: The name of this toolchain in the language's manifest.
        version: The version of the compiler or the runtime, as the manifest defines.
        path: The path of its main tool.
        label: The text that rows show, with libraries that matter: "rustc 1.95.0, tokio 1.38.1".
        stand_in: It runs the programs, but is not what people mean by the language. `toolchains.install` still tries to
            install another one.
        values: The paths and versions of its parts, by their names in the manifest.
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
    Why a program cannot be built or run here.

    Attributes:
        language: The language of the program.
        reason: One sentence.
        install: The command that installs what is missing, or "" if none is known.
    """

    language: str
    reason: str
    install: str


@attrs.frozen(field_transformer=escape_fields)
class Program:
    """
    One program that starts N tasks.

    Attributes:
        name: Its name on the command line and in the files of a study.
        language: The language that it is written in.
        title: Its name in charts.
        kind: What one of its tasks is.
        variant: ``article`` for the ten of the article, ``idiomatic`` for those that a language's users would write
            instead, else a word for what sets it apart from both.
        begins_together: No task begins before all are created, so that N are alive at once however long creating takes.
        folder: The folder of its language.
        mappings: The number of memory mappings of one task; 0 if tasks have none of their own.
        workloads: ``sleep``, and the further workloads that it has a source for.
        least: The least version of a toolchain that can build and run it; "0" for any.
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
        program: The program.
        toolchain: The toolchain that built it and runs it.
        workload: What its tasks do.
        env: The whole environment of a run, without the caller's variables.
    """

    program: Program
    toolchain: Toolchain
    workload: str
    env: dict[str, str]
    _run: tuple[str, ...] = attrs.field(repr=False)

    def command(self, tasks: int, duration_s: float) -> tuple[str, ...]:
        """
        Return the argument vector of a run. It begins with an absolute path; no shell, no build tool.

        Args:
            tasks: The number of tasks to start, at least 1.
            duration_s: How long each sleeps; with ``spawn`` how long the program idles when all have ended, with
                ``channel`` how long the message is passed on.
        """
        flags, argv = self.flags(tasks), list[str]()
        for word in self._run:
            argv += flags if word == "{flags}" else (word,)
        return (*argv, str(tasks), f"{duration_s:.6f}".rstrip("0").rstrip("."))

    def flags(self, tasks: int) -> tuple[str, ...]:
        """Return the arguments that the runtime needs for so many tasks; the row shows them."""
        rules = [rule.argv for rule in entry_of(self.program).flags if tasks > rule.tasks_above]
        return rules[-1] if rules else ()


def language_of(program: Program) -> Language:
    """Return the language of a program, as its manifest describes it."""
    return _manifest.read(program.folder / "language.toml")


def entry_of(program: Program) -> Entry:
    """Return the entry of a program in the manifest of its language."""
    return next(entry for entry in language_of(program).program if entry.name == program.name)
