"""``concmem show``: print, draw or convert what was stored."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import click

from concmem._escaping import escape_text
from concmem.cli._options import file
from concmem.cli._streams import FAILED
from concmem.cli._write import write_output
from concmem.errors import RecordingError
from concmem.export.outputs import check_needs, endings

__all__ = ["show"]

_CHARTS = endings("chart")
_CONVERTED = tuple(dict.fromkeys(ending for of in ("measurement", "timeline", "commands") for ending in endings(of)))


class _Stored(NamedTuple):
    """
    What a file has.

    Attributes:
        value: A measurement, a comparison or a baseline.
        chart: What its chart is called, see `concmem.export.outputs`; "" if it has none.
        outputs: What else can be written of it.
    """

    value: Any
    chart: str
    outputs: tuple[str, ...]


@click.command(short_help="Print, draw or convert stored measurements.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--explain", is_flag=True, help="Show how both ends of the range were found.")
@click.option(
    "--plot", metavar="FILE", callback=file("chart"), help=f"Draw it into FILE ({', '.join(_CHARTS)}); print nothing."
)
@click.option(
    "--export",
    metavar="FILE",
    callback=file(),
    help=f"Write it to FILE ({', '.join(_CONVERTED)}); print nothing.",
)
def show(files: tuple[Path, ...], explain: bool, plot: Path | None, export: Path | None) -> int:
    """
    Print the measurements of concmem run --json, the comparisons of concmem compare --export-json, and the baselines of
    concmem check.

    The timeline is read from the file beside a measurement: m.npz for m.json. So store both: concmem run --json m.json
    --timeline m.npz. Of a measurement, --export writes .json, or its timeline as .csv or .npz; of a comparison .json,
    .csv or .md. A study in a folder is shown by concmem report.
    """
    if (plot or export) and len(files) > 1:
        raise click.UsageError("--plot and --export take one file")
    if plot is not None:
        check_needs("chart", plot.suffix.lower())
    for path in files:
        stored = _read(path)
        if (plot or export) and not stored.chart:
            raise click.UsageError(f"{path} is a baseline, which can only be printed")
        written = [write_output(stored.chart, plot.suffix.lower(), stored.value, plot)] if plot is not None else []
        if export is not None:
            written.append(_export(stored, export))
        if not all(written):
            return FAILED
        if not written:
            _print(path, stored.value, explain, several=len(files) > 1)
    return 0


def _read(path: Path) -> _Stored:
    from concmem._files.bounded import read_json_file
    from concmem.comparison.baseline import read_baseline
    from concmem.comparison.stored import WHAT, load_comparison
    from concmem.stored import load

    if path.is_dir():
        raise click.UsageError(f"{path} is a folder: a study is shown by concmem report")
    try:
        content = read_json_file(path)
    except ValueError as error:
        raise RecordingError(f"{path}: {error}") from None
    about = content.get("concmem") if isinstance(content, dict) else None
    if isinstance(about, dict) and about.get("what") == WHAT:
        return _Stored(load_comparison(path), "commands chart", ("commands",))
    if isinstance(content, dict) and content.get("what") == "concmem baseline":
        return _Stored(read_baseline(path), "", ())
    return _Stored(load(path), "chart", ("measurement", "timeline"))


def _export(stored: _Stored, path: Path) -> bool:
    ending = path.suffix.lower()
    for of in stored.outputs:
        if ending in endings(of):
            return write_output(of, ending, stored.value.timeline if of == "timeline" else stored.value, path)
    allowed = [ending for of in stored.outputs for ending in endings(of)]
    raise click.UsageError(f"{path}: the name must end in {' or '.join(allowed)}")


def _print(path: Path, value: Any, explain: bool, *, several: bool) -> None:
    from concmem.cli._comparison import comparison_text
    from concmem.cli._output import report
    from concmem.comparison import Comparison
    from concmem.comparison.baseline import Baseline

    if isinstance(value, Baseline):
        from concmem.cli._checks import baseline_text

        text = baseline_text(value, sys.stdout)
    elif isinstance(value, Comparison):
        text = comparison_text(value, sys.stdout)
    else:
        text = report(value, sys.stdout, explain=explain)
    sys.stdout.write((f"== {escape_text(str(path))}\n" if several else "") + text)
    sys.stdout.flush()
