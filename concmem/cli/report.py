"""``concmem report``: the tables and figures of a stored study."""

from __future__ import annotations

from pathlib import Path

import click

from concmem.cli._console import PipeConsole

__all__ = ["report"]


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def report(directory: Path) -> None:
    """
    Draw the figures of the study in DIR and print its table.

    Writes figure-1.svg and .png, ... (one for every number of tasks), table.md and table.csv into DIR.
    """
    from concmem.report import print_table, write
    from concmem.study import load_study

    paths = write(directory)
    print_table(load_study(directory), PipeConsole())
    click.echo()
    click.echo(f"Written: {', '.join(path.name for path in paths)} in {click.format_filename(directory)}")
