"""``concmem report``: write the tables and charts of a stored study, or compare two studies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concmem._escaping import shell_word
from concmem._files.atomic import write_whole
from concmem.cli._console import PipeConsole
from concmem.cli._options import file
from concmem.cli._streams import say, show
from concmem.export.outputs import endings

if TYPE_CHECKING:
    from concmem.study.results.results import Results

__all__ = ["report", "written"]

_FORMATS = tuple(ending[1:] for ending in endings("study"))


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("other", metavar="[B]", required=False, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(_FORMATS), help="Print only this format; write no other file.")
@click.option(
    "--out", metavar="FILE", callback=file(), help="Write it to FILE instead; --format defaults to the ending of FILE."
)
def report(directory: Path, other: Path | None, form: str | None, out: Path | None) -> None:
    """
    Write the report of the study in DIR: charts, table, and which of the article's claims hold. Or compare it with the
    study in B, cell by cell.

    Writes these files into DIR: index.html (the page, with everything), figure-1.svg and .png, ... (one chart for each
    number of tasks), table.md and .csv, claims.md and .json. A comparison is only printed.
    """
    form = _form(form, out)
    if form is not None:
        _give(_made(directory, other, form), form, out)
    elif other is not None:
        from concmem.report import compare, print_comparison
        from concmem.study import load_study

        print_comparison(compare(load_study(directory), load_study(other)), PipeConsole())
    else:
        _write(directory)


def _form(form: str | None, out: Path | None) -> str | None:
    """Return the format: that of the option, else that of the file's ending."""
    if out is None:
        return form
    ending = out.suffix[1:].lower()
    if form is None and ending not in _FORMATS:
        needed = f"the name must end in .{', .'.join(_FORMATS)}, or --format must be given"
        raise click.UsageError(f"{out}: {needed}")
    if form is not None and ending in _FORMATS and ending != form:
        raise click.UsageError(f"the ending of {out} contradicts --format {form}")
    return form or ending


def _made(directory: Path, other: Path | None, form: str) -> bytes:
    from concmem import report
    from concmem.study import load_study

    study = load_study(directory)
    if other is None:
        return report.study_bytes(study, form)
    if form not in report.COMPARISON_FORMATS:
        raise click.UsageError(f"a comparison has no format {form}; it has {', '.join(report.COMPARISON_FORMATS)}")
    return report.comparison_bytes(report.compare(study, load_study(other)), form)


def _give(content: bytes, form: str, out: Path | None) -> None:
    if out is not None:
        write_whole(out, content)
    elif form == "parquet" and sys.stdout.isatty():
        raise click.UsageError("Parquet is not text: use --out FILE, or write to a pipe")
    else:
        click.echo(content, nl=False)


def _write(directory: Path) -> None:
    from concmem.report import print_claims, print_table
    from concmem.study import load_study
    from concmem.study.results.results import Results

    results = Results(load_study(directory))
    paths, whole = written(results)
    print_table(results, PipeConsole())
    show()
    print_claims(results, PipeConsole())
    show()
    show(f"Written: {', '.join(path.name for path in paths)} in {directory}")
    raise SystemExit(0 if whole else 1)


def written(results: Results) -> tuple[list[Path], bool]:
    """Write the report. Return its files, and whether it has charts and page, which need the report extra."""
    from concmem.report import ReportExtraMissing
    from concmem.report._write import write_results

    try:
        return write_results(results), True
    except ReportExtraMissing as error:
        paths = write_results(results, figures=False)
        say(f"{error}, then: concmem report {shell_word(str(results.study.path))}")
        return paths, False
