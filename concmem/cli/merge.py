"""``concmem merge``: one study out of several that were made apart."""

from __future__ import annotations

from pathlib import Path

import click

from concmem._escaping import shell_word
from concmem.cli._streams import show

__all__ = ["merge"]


@click.command()
@click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Where the new study goes.")
def merge(directories: tuple[Path, ...], out: Path) -> None:
    """
    Join the studies in several DIRs into a new one: all their programs, sizes and runs.

    They must have the same plan but for these, be of one kind of machine, and have run each program by the same
    toolchain. A run that several of them hold counts once.
    """
    from concmem import study

    joined = study.merge(directories, out)
    programs, runs = len(joined.plan.programs), len(joined.runs)
    show(
        f"{runs} run{'' if runs == 1 else 's'} of {programs} program{'' if programs == 1 else 's'} in {out}. "
        f"Its figures and tables: concmem report {shell_word(str(out))}"
    )
