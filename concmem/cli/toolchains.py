"""``concmem toolchains``: what can be run here, what is missing, and getting it."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from concmem.cli._console import PipeConsole
from concmem.cli._streams import say

__all__ = ["toolchains"]

_PIPED_WIDTH = 200
"""Nobody's window is known: wide enough that a command stays on one line."""

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
    if ctx.invoked_subcommand is None:
        _print(programs_dirs)


@toolchains.command()
@click.argument("languages", metavar="[LANGUAGE]...", nargs=-1)
@_programs_dir
@click.pass_obj
def install(above: tuple[Path, ...], languages: tuple[str, ...], programs_dirs: tuple[Path, ...]) -> None:
    """
    Get the toolchains that are missing, or those of some languages only.

    Packages from PyPI go into folders of concmem's cache directory; Debian packages are installed by apt-get, as root
    only. Ends with 0 where every program that was asked for can be run afterwards, else with 1 and a line for each.
    """
    from concmem.toolchains import install as get

    missing = get(languages, click.echo, (*above, *programs_dirs))
    for name, what in missing.items():
        say(f"{name}: {what.reason}" + (f" ({what.install})" if what.install else ""))
    sys.exit(1 if missing else 0)


def _print(programs_dirs: tuple[Path, ...]) -> None:
    from concmem.drivers import Missing
    from concmem.toolchains import survey

    rows: dict[tuple[str, ...], list[str]] = {}
    for name, found in survey(programs_dirs).items():
        if isinstance(found, Missing):
            what = f"{found.reason}\n{found.install}" if found.install else found.reason
            row = (found.language, "missing", "", what)
        else:
            row = (found.language, found.name, found.version, found.path)
        rows.setdefault(row, []).append(name)

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("language", "programs", "toolchain", "version"):
        table.add_column(column)
    table.add_column("where found, or what is missing and how to get it", overflow="fold")
    for (language, toolchain, version, what), names in rows.items():
        style = "red" if toolchain == "missing" else ""
        table.add_row(language, Text("\n".join(names)), Text(toolchain, style), version, Text(what))
    console = PipeConsole(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    console.print(table, highlight=False)
