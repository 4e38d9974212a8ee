"""``concmem run``: measure one command, and exit with its status."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from concmem._files.atomic import write_whole
from concmem.cli._options import file, measurement_options
from concmem.cli._streams import FAILED, report_error, sentence
from concmem.cli._waiting import Signals, exit_code, wait_for
from concmem.export.outputs import check_needs, content, endings, save
from concmem.options import Options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from concmem.model import Measurement

__all__ = ["run"]

_STANDARD_OUTPUT = Path("-")


@click.command(
    context_settings={"allow_interspersed_args": False},
    short_help="Measure one command: figures, timeline, chart.",
)
@measurement_options
@click.option("--explain", is_flag=True, help="Show how both ends of the range were found.")
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    callback=file(dash=True),
    help="Write all figures to FILE as JSON; - is standard output.",
)
@click.option(
    "--timeline",
    "timeline_path",
    metavar="FILE",
    callback=file("timeline"),
    help=f"Write memory over time to FILE ({', '.join(endings('timeline'))}).",
)
@click.option(
    "--plot",
    "plot_path",
    metavar="FILE",
    callback=file("chart"),
    help=f"Draw memory over time into FILE ({', '.join(endings('chart'))}).",
)
@click.option("--quiet", "-q", is_flag=True, help="Print no figures.")
@click.argument("command", metavar="[--] CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    command: tuple[str, ...],
    explain: bool,
    json_path: Path | None,
    timeline_path: Path | None,
    plot_path: Path | None,
    quiet: bool,
    **options: Unpack[Options],
) -> int:
    """
    Run CMD, and print how much memory it and everything that it started needed.

    The figures go to standard error; CMD keeps standard input and output. CMD is executed without a shell; use
    "sh -c '...'" for pipes and wildcards.

    \b
    Exit status: that of CMD, or 128 + n if signal n ended it, or
      2    an option was wrong; nothing was run
      124  --timeout ended CMD
      125  concmem itself failed, or could not write an output file; or CMD
           ended with 0, and its figures or JSON could not be written
      126  CMD could not be executed
      127  CMD was not found
      137  --memory-limit ended CMD (128 + SIGKILL)

    The first Ctrl-C goes to CMD. A second Ctrl-C, SIGTERM or SIGHUP kills CMD and its descendants. Other signals that
    are sent to concmem alone are passed on to CMD, except SIGKILL, SIGSTOP and faults (SIGSEGV, SIGABRT, ...). The
    figures are printed in each case.
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not wrapped
    import concmem
    from concmem.host import check_proc

    check_proc()
    if plot_path is not None:
        check_needs("chart", plot_path.suffix.lower())
    signals = Signals()
    with signals.handled():
        running = concmem.start(list(command), **options)
        signals.attach(running)
        measurement = wait_for(running, signals)
        # The handlers are still installed: a third Ctrl-C must not lose the figures.
        if not quiet:
            _show(measurement, explain)
        outputs = (("timeline", timeline_path), ("chart", plot_path), ("measurement", json_path))
        written = all([_write(measurement, of, path) for of, path in outputs if path is not None])
    return exit_code(measurement, signals) if written else FAILED


def _show(measurement: Measurement, explain: bool) -> None:
    from concmem.cli._output import report

    # The files must be written even if the terminal is gone. Rich accesses the terminal, too.
    with contextlib.suppress(OSError):
        sys.stderr.write(report(measurement, sys.stderr, explain=explain))
        sys.stderr.flush()


def _write(measurement: Measurement, of: str, path: Path) -> bool:
    """Write one requested file, and print an error. Return whether it was written."""
    try:
        if of == "measurement":
            _write_json(measurement, path)
        else:
            save(of, measurement.timeline if of == "timeline" else measurement, path)
    except OSError as error:
        if path == _STANDARD_OUTPUT and isinstance(error, BrokenPipeError):
            return True  # closed pipe: it changes the exit status only if CMD ended with 0
        error.filename = "standard output" if path == _STANDARD_OUTPUT else str(path)
        report_error(error, sentence(error))
        return False
    return True


def _write_json(measurement: Measurement, path: Path) -> None:
    """Write JSON to a file with any ending, or to standard output."""
    text = content("measurement", ".json", measurement)
    if path == _STANDARD_OUTPUT:
        click.echo(text, nl=False)
    else:
        write_whole(path, text)
