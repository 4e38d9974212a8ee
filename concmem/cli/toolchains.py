"""``concmem toolchains``: list the toolchains, found and missing, and install missing ones."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from concmem.cli._console import PipeConsole
from concmem.cli._options import say_cache

__all__ = ["toolchains"]

_ENDLESS = 1 << 16
"""A width at which no line is wrapped or cut."""

_programs_dir = click.option(
    "--programs-dir",
    "programs_dirs",
    metavar="DIR",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="Add the languages and programs in this folder; may be repeated.",
)


@click.group(invoke_without_command=True)
@_programs_dir
@click.pass_context
def toolchains(ctx: click.Context, programs_dirs: tuple[Path, ...]) -> None:
    """List the toolchain of each language with version and path, or what is missing and how to install it."""
    ctx.obj = programs_dirs
    say_cache()
    if ctx.invoked_subcommand is None:
        _print(programs_dirs)


@toolchains.command()
@click.argument("languages", metavar="[LANGUAGE]...", nargs=-1)
@click.option("--ask", is_flag=True, help="Ask before installing, if there is a terminal.")
@_programs_dir
@click.pass_obj
def install(above: tuple[Path, ...], languages: tuple[str, ...], ask: bool, programs_dirs: tuple[Path, ...]) -> None:
    """
    Install missing toolchains: those of the article's ten programs, of each LANGUAGE, or of "all".

    First lists what will be installed, with its size and the time that takes. Packages from PyPI and npm are installed
    into concmem's cache folder, Debian packages by apt-get, as root only. The exit status is 0 if every selected
    program can then be run, else 1. In that case it prints what is missing, and one command that installs it.
    """
    from concmem.cli._install import install_missing
    from concmem.drivers.toolchains import asked

    sys.exit(1 if install_missing(asked(languages, (*above, *programs_dirs)), ask=ask) else 0)


def _print(programs_dirs: tuple[Path, ...]) -> None:
    from concmem.drivers.programs import Missing
    from concmem.drivers.toolchains import survey

    rows: dict[tuple[str, str | None, str], list[str]] = {}
    places: dict[tuple[str, str], None] = {}
    lacking: dict[Missing, list[str]] = {}
    for name, found in survey(programs_dirs).items():
        key: tuple[str, str | None, str]
        if isinstance(found, Missing):
            key = (found.language, None, "")
            lacking.setdefault(found, []).append(name)
        else:
            key = (found.language, found.name, found.version)
            places[found.language, found.path] = None
        rows.setdefault(key, []).append(name)

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("language", "programs", "toolchain", "version"):
        table.add_column(column, no_wrap=True)
    for (language, toolchain, version), names in rows.items():
        shown = Text("missing", "red") if toolchain is None else Text(toolchain)
        table.add_row(language, "\n".join(names), shown, version)
    console = PipeConsole()
    width = console.width if console.is_terminal else _ENDLESS
    console.width = _ENDLESS
    console.print(table)

    # Text to be copied has a line of its own, which only the terminal wraps.
    if places:
        console.print("\nfound at", style="bold")
    widest = max((len(language) for language, _ in places), default=0)
    for language, path in places:
        console.print(f"{language:{widest}}  {path}", soft_wrap=True)
    for what, names in lacking.items():
        console.print(f"\nmissing for {', '.join(names)}", style="bold red")
        for line in textwrap.wrap(what.reason, width, break_long_words=False, break_on_hyphens=False):
            console.print(line, soft_wrap=True)
        if what.install:
            console.print(f"to install it:\n{what.install}", soft_wrap=True)
