"""``concmem toolchains``: what can be run here, what is missing, and getting it."""

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
"""A width at which nothing is broken or cut."""

_programs_dir = click.option(
    "--programs-dir",
    "programs_dirs",
    metavar="DIR",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, resolve_path=True, path_type=Path),
    help="A folder with further languages and programs; may be given several times.",
)


@click.group(invoke_without_command=True)
@_programs_dir
@click.pass_context
def toolchains(ctx: click.Context, programs_dirs: tuple[Path, ...]) -> None:
    """Show the toolchain of every language: which version, where; or what is missing and the command that gets it."""
    ctx.obj = programs_dirs
    say_cache()
    if ctx.invoked_subcommand is None:
        _print(programs_dirs)


@toolchains.command()
@click.argument("languages", metavar="[LANGUAGE]...", nargs=-1)
@click.option("--ask", is_flag=True, help="Ask before anything is installed, where there is a terminal.")
@_programs_dir
@click.pass_obj
def install(above: tuple[Path, ...], languages: tuple[str, ...], ask: bool, programs_dirs: tuple[Path, ...]) -> None:
    """
    Get the toolchains that are missing: those of the article's ten programs, of some languages only, or of "all".

    Says first what will be installed, how much that is and how long it takes. Packages from PyPI and npm go into
    folders of concmem's cache directory; Debian packages are installed by apt-get, as root only. Ends with 0 where
    every program that was asked for can be run afterwards, else with 1, with what is missing and one command that gets
    it.
    """
    from concmem.cli._getting import get
    from concmem.drivers.toolchains import asked

    sys.exit(1 if get(asked(languages, (*above, *programs_dirs)), ask=ask) else 0)


def _print(programs_dirs: tuple[Path, ...]) -> None:
    from concmem.drivers.programs import Missing
    from concmem.drivers.toolchains import survey

    rows: dict[tuple[str, str, str], list[str]] = {}
    places: dict[tuple[str, str], None] = {}
    lacking: dict[Missing, list[str]] = {}
    for name, found in survey(programs_dirs).items():
        if isinstance(found, Missing):
            row = (found.language, "missing", "")
            lacking.setdefault(found, []).append(name)
        else:
            row = (found.language, found.name, found.version)
            places[found.language, found.path] = None
        rows.setdefault(row, []).append(name)

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("language", "programs", "toolchain", "version"):
        table.add_column(column, no_wrap=True)
    for (language, toolchain, version), names in rows.items():
        table.add_row(language, "\n".join(names), Text(toolchain, "red" if toolchain == "missing" else ""), version)
    console = PipeConsole()
    width = console.width if console.is_terminal else _ENDLESS
    console.width = _ENDLESS
    console.print(table)

    # What may be copied stands on a line of its own, which only the terminal may break.
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
            console.print(f"to get it:\n{what.install}", soft_wrap=True)
