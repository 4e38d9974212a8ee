"""``concmem run``: measure one command, and end as it does."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from concmem._files.atomic import write_whole
from concmem.cli._options import amount, file
from concmem.cli._streams import FAILED, sentence, tell
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
    help="Time between two readings: 500us, 1ms, 0.1s.",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="TIME",
    callback=amount(parse_seconds),
    help="End the command, and all that it started, after this time: 500ms, 60s, 2m, 1h.",
)
@click.option(
    "--memory-limit",
    "memory_limit_bytes",
    metavar="BYTES",
    callback=amount(parse_bytes),
    help="End it when it is seen to need more than this: 512M, 2G.",
)
@click.option(
    "--leftover",
    type=click.Choice(get_args(Leftover)),
    default="wait",
    show_default=True,
    help="When CMD has ended and processes that it started have not: wait for them, leave them, or kill them.",
)
@click.option("--windows", is_flag=True, help="Exact maximum of every window; the command's own ru_maxrss is spoilt.")
@click.option("--exact", is_flag=True, help="Exact sum of RSS, by eBPF (root); page faults of the machine cost more.")
@click.option(
    "--cgroup/--no-cgroup", default=True, show_default=True, help="A control group of its own, where one can be had."
)
@click.option(
    "--taskstats/--no-taskstats",
    default=True,
    show_default=True,
    help="The kernel's record of every process that ends, where it may be had.",
)
@click.option("--explain", is_flag=True, help="Say of both ends of the headline where they come from.")
@click.option("--cwd", metavar="DIR", help="Run it in this folder.")
@click.option(
    "--json",
    "json_path",
    metavar="FILE",
    callback=file(dash=True),
    help="Write all figures as JSON; - is standard output.",
)
@click.option(
    "--timeline",
    "timeline_path",
    metavar="FILE",
    callback=file(".csv", ".npz"),
    help="Write the timeline: .csv or .npz.",
)
@click.option(
    "--plot",
    "plot_path",
    metavar="FILE",
    callback=file(".svg", ".png", ".html"),
    help="Draw the timeline: .svg, .png or .html.",
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
    Run CMD and say how much memory it, and everything that it started, needed.

    The figures go to standard error; CMD keeps standard input and output. CMD is executed as it is given: no shell
    reads it ("sh -c '...'" is one).

    \b
    Exit status: that of CMD, 128 + n when signal n ended it, and
      2    an option was wrong, nothing was run
      124  --timeout ended it
      125  concmem itself failed, or could not write a file that was asked for; CMD
           ended with 0, and its figures or JSON could not be written
      126  CMD could not be executed
      127  CMD was not found
      137  --memory-limit ended it, as the kernel does for want of memory

    The first Ctrl-C is CMD's to handle. The second one, SIGTERM and SIGHUP end everything that it started. Every other
    signal that is sent to concmem alone is passed on to CMD, except SIGKILL, SIGSTOP and those of faults (SIGSEGV,
    SIGABRT, ...). The figures are printed all the same.
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
        # Still inside: nobody's third Ctrl-C shall cost the figures.
        if not quiet:
            _show(measurement, explain)
        outputs = ((_write_timeline, timeline_path), (_write_plot, plot_path), (_write_json, json_path))
        written = _write(measurement, outputs)
    return exit_code(measurement, signals) if written else FAILED


def _show(measurement: Measurement, explain: bool) -> None:
    from concmem.cli._output import report

    # A terminal that has gone must not keep the files from being written. Rich touches it too.
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
    """Write each file that was asked for, and say which could not be written; return whether all could."""
    written = True
    for write, path in outputs:
        if path is None:
            continue
        try:
            write(measurement, path)
        except OSError as error:
            if path == _STANDARD_OUTPUT and isinstance(error, BrokenPipeError):
                continue  # its reader has gone: that changes only the exit status of a command that succeeded
            error.filename = "standard output" if path == _STANDARD_OUTPUT else str(path)
            tell(error, sentence(error))
            written = False
    return written
