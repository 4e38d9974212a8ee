"""``concmem run``: measure one command, and exit with its status."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from concmem._files.atomic import write_whole
from concmem.cli._options import amount, file
from concmem.cli._streams import FAILED, report_error, sentence
from concmem.cli._waiting import Signals, exit_code, wait_for
from concmem.options import Leftover
from concmem.units import parse_bytes, parse_seconds

if TYPE_CHECKING:
    from concmem.model import Measurement

__all__ = ["run"]

_STANDARD_OUTPUT = Path("-")
_Write = Callable[["Measurement", Path], None]


@click.command(
    context_settings={"allow_interspersed_args": False},
    short_help="Measure one command: figures, timeline, chart.",
)
@click.option(
    "--interval",
    "interval_s",
    metavar="TIME",
    callback=amount(parse_seconds),
    default="1ms",
    show_default=True,
    help="Set the time between two readings, such as 500us, 1ms, 0.1s.",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="TIME",
    callback=amount(parse_seconds),
    help="Kill CMD and its descendants after this time, such as 500ms, 60s, 2m. [default: none]",
)
@click.option(
    "--memory-limit",
    "memory_limit_bytes",
    metavar="BYTES",
    callback=amount(parse_bytes),
    help="Kill CMD and its descendants above this memory, such as 512M, 2G. [default: none]",
)
@click.option(
    "--leftover",
    type=click.Choice(get_args(Leftover)),
    default="wait",
    show_default=True,
    help="Wait for, leave or kill the processes that outlive CMD.",
)
@click.option("--windows", is_flag=True, help="Record the exact maximum of each window; resets CMD's own ru_maxrss.")
@click.option("--exact", is_flag=True, help="Record the exact sum of RSS by eBPF (root); slows all page faults.")
@click.option(
    "--cgroup/--no-cgroup", default=True, show_default=True, help="Run CMD in its own control group, if permitted."
)
@click.option(
    "--taskstats/--no-taskstats",
    default=True,
    show_default=True,
    help="Read the kernel's exit record of each process, if permitted.",
)
@click.option("--explain", is_flag=True, help="Show how both ends of the range were found.")
@click.option("--cwd", metavar="DIR", help="Run CMD in this folder. [default: the current one]")
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
    callback=file(".csv", ".npz"),
    help="Write memory over time to FILE (.csv, .npz).",
)
@click.option(
    "--plot",
    "plot_path",
    metavar="FILE",
    callback=file(".svg", ".png", ".html"),
    help="Draw memory over time into FILE (.svg, .png, .html).",
)
@click.option("--quiet", "-q", is_flag=True, help="Print no figures.")
@click.argument("command", metavar="[--] CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    interval_s: float,
    timeout_s: float | None,
    memory_limit_bytes: int | None,
    leftover: Leftover,
    windows: bool,
    exact: bool,
    cgroup: bool,
    taskstats: bool,
    explain: bool,
    cwd: str | None,
    json_path: Path | None,
    timeline_path: Path | None,
    plot_path: Path | None,
    quiet: bool,
    command: tuple[str, ...],
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
        from concmem.report.charts import measurement as timeline_plot

        timeline_plot.need_extra()
    signals = Signals()
    with signals.handled():
        running = concmem.start(
            list(command),
            interval_s=interval_s,
            timeout_s=timeout_s,
            memory_limit_bytes=memory_limit_bytes,
            leftover=leftover,
            windows=windows,
            cgroup=cgroup,
            taskstats=taskstats,
            exact=exact,
            cwd=cwd,
        )
        signals.attach(running)
        measurement = wait_for(running, signals)
        # The handlers are still installed: a third Ctrl-C must not lose the figures.
        if not quiet:
            _show(measurement, explain)
        outputs = ((_write_timeline, timeline_path), (_write_plot, plot_path), (_write_json, json_path))
        written = _write(measurement, outputs)
    return exit_code(measurement, signals) if written else FAILED


def _show(measurement: Measurement, explain: bool) -> None:
    from concmem.cli._output import report

    # The files must be written even if the terminal is gone. Rich accesses the terminal, too.
    with contextlib.suppress(OSError):
        sys.stderr.write(report(measurement, sys.stderr, explain=explain))
        sys.stderr.flush()


def _write_timeline(measurement: Measurement, path: Path) -> None:
    from concmem.export.csv import save_csv

    if path.suffix.lower() == ".csv":
        save_csv(measurement.timeline, path)
    else:
        measurement.timeline.save(path)


def _write_plot(measurement: Measurement, path: Path) -> None:
    from concmem.report.charts import measurement as timeline_plot

    timeline_plot.save(measurement, path)


def _write_json(measurement: Measurement, path: Path) -> None:
    import json

    text = json.dumps(measurement.to_dict(), indent=1, allow_nan=False) + "\n"
    if path == _STANDARD_OUTPUT:
        click.echo(text, nl=False)
    else:
        write_whole(path, text.encode())


def _write(measurement: Measurement, outputs: Iterable[tuple[_Write, Path | None]]) -> bool:
    """Write each requested file and print each error. Return whether all files were written."""
    written = True
    for write, path in outputs:
        if path is None:
            continue
        try:
            write(measurement, path)
        except OSError as error:
            if path == _STANDARD_OUTPUT and isinstance(error, BrokenPipeError):
                continue  # closed pipe: it changes the exit status only if CMD ended with 0
            error.filename = "standard output" if path == _STANDARD_OUTPUT else str(path)
            report_error(error, sentence(error))
            written = False
    return written
