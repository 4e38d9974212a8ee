"""``concmem run``: measure one command, and exit with its status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from concmem.cli._measure import measure_command
from concmem.cli._options import file, measurement_options
from concmem.export.outputs import endings
from concmem.options import Options

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["run"]


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
      124  --timeout or --cpu-limit ended CMD
      125  concmem itself failed, or could not write an output file
      125  CMD ended with 0, but its figures or JSON could not be printed
      126  CMD could not be executed
      127  CMD was not found
      137  a limit on memory or processes ended CMD (128 + SIGKILL)

    The first Ctrl-C goes to CMD. A second Ctrl-C, SIGTERM or SIGHUP kills CMD and its descendants. Of the other signals
    that end a process, those sent to concmem alone are passed on to CMD, except SIGKILL, SIGPIPE, SIGXFSZ and faults
    (SIGSEGV, SIGABRT, ...). After any of these signals the figures are printed. One that comes while nothing reads the
    output ends concmem.
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not wrapped
    return measure_command(command, quiet, explain, json_path, timeline_path, plot_path, **options)
