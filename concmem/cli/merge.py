"""``concmem merge``: join several studies into one."""

from __future__ import annotations

from pathlib import Path

import click

from concmem._escaping import shell_word
from concmem.cli._streams import show

__all__ = ["merge"]


@click.command()
@click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out", metavar="DIR", required=True, type=click.Path(path_type=Path), help="Write the new study to DIR."
)
def merge(directories: tuple[Path, ...], out: Path) -> None:
    """
    Join the studies in several DIRs into a new one, with all their programs, sizes and runs.

    Otherwise their plans must be the same, and so must the kind of machine and each program's toolchain. A run that is
    in several of the studies counts once.
    """
    from concmem import study

    joined = study.merge(directories, out)
    programs, runs = len(joined.plan.programs), len(joined.runs)
    show(
        f"{runs} run{'' if runs == 1 else 's'} of {programs} program{'' if programs == 1 else 's'} in {out}. "
        f"To write its report: concmem report {shell_word(str(out))}"
    )
