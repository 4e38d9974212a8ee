"""``concmem run``: measure one command, and end as it does."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from concmem.cli._streams import say
from concmem.errors import InvalidRequest
from concmem.units import parse_bytes, parse_seconds

if TYPE_CHECKING:
    from concmem.measure import Running
    from concmem.model import Measurement

__all__ = ["run"]

_LOOK_S = 0.25
"""How often we look whether the root has ended."""

_LIVES_ON_S = 2.0
"""How long after the root's end the rest of its tree may live before the user is told that we wait for it."""


def _amount(parse: Callable[[str], float]) -> Callable[..., float | None]:
    """An option's value as one of `concmem.units` reads it."""

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
        try:
            return None if value is None else parse(value)
        except InvalidRequest as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return convert


def _file(*endings: str, dash: bool = False) -> Callable[..., Path | None]:
    """A file to be written at the end: that it can be is looked at before anything runs."""

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
        if value is None or (dash and value == "-"):
            return None if value is None else Path(value)
        path, wrong = Path(value), ""
        if endings and path.suffix.lower() not in endings:
            wrong = f"the name must end in {' or '.join(endings)}"
        elif path.is_dir():
            wrong = "is a folder"
        elif not path.parent.is_dir():
            wrong = f"there is no folder {path.parent}"
        elif not os.access(path if path.exists() else path.parent, os.W_OK):
            wrong = "cannot be written"
        if wrong:
            raise click.BadParameter(f"{value}: {wrong}", ctx, param)
        return path

    return convert


class _Signals:
    """
    What concmem does on the signals that people end a command with, while one runs.

    The first Ctrl-C is the target's own affair: it is in the terminal's foreground group and has got it too. The
    second, or one while only left-over processes live, ends the tree; SIGTERM and SIGHUP do so at once. What was
    ignored when concmem was started (``nohup``, ``&`` in a script) stays ignored.
    """

    def __init__(self) -> None:
        self.running: Running | None = None
        self.stopped_by: int | None = None
        self._interrupts = 0

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self._on)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) != signal.SIG_IGN
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def attach(self, running: Running) -> None:
        self.running = running
        if self.stopped_by is not None:
            running.stop()

    def _on(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts < 2 and not (self.running is not None and self.running.root_ended):
                return
        self.stopped_by = number
        if self.running is not None:
            self.running.stop()


def _over(running: Running, timeout_s: float) -> bool:
    poller = select.poll()
    poller.register(running.fileno(), select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))


def _left_over() -> str:
    """The processes of the tree that still live, as "1234 (sleep), 1240 (sh)"; "" where none was found."""
    import psutil

    names = []
    for sampler in psutil.Process().children():
        for process in sampler.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                names.append(f"{process.pid} ({process.name()})")
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _wait(running: Running) -> Measurement:
    """Wait for the whole tree, and tell the user once when it outlives its root."""
    told = False
    while not _over(running, _LOOK_S):
        if told or not running.root_ended or _over(running, _LIVES_ON_S):
            continue
        told = True
        if names := _left_over():
            say(f"the command has ended but left running: {names}; Ctrl-C ends what is left")
    return running.wait()


def _exit_code(measurement: Measurement, signals: _Signals) -> int:
    if measurement.exit.reason == "timeout":
        return 124
    if measurement.exit.reason == "interrupted" and signals.stopped_by is not None:
        return 128 + signals.stopped_by
    return measurement.exit.status


@click.command(
    context_settings={"allow_interspersed_args": False},
    short_help="Measure one command: figures, timeline, chart.",
)
@click.option(
    "--interval",
    "interval_s",
    metavar="TIME",
    callback=_amount(parse_seconds),
    default="1ms",
    show_default=True,
    help="Time between two readings: 500us, 1ms, 0.1s.",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="TIME",
    callback=_amount(parse_seconds),
    help="End the command, and all that it started, after this time: 500ms, 60s, 2m, 1h.",
)
@click.option(
    "--memory-limit",
    "memory_limit_bytes",
    metavar="BYTES",
    callback=_amount(parse_bytes),
    help="End it when it is seen to need more than this: 512M, 2G.",
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
    callback=_file(dash=True),
    help="Write all figures as JSON; - is standard output.",
)
@click.option(
    "--timeline",
    "timeline_path",
    metavar="FILE",
    callback=_file(".csv", ".npz"),
    help="Write the timeline: .csv or .npz.",
)
@click.option(
    "--plot",
    "plot_path",
    metavar="FILE",
    callback=_file(".svg", ".png", ".html"),
    help="Draw the timeline: .svg, .png or .html.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print no figures.")
@click.argument("command", metavar="[--] CMD...", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    interval_s: float,
    timeout_s: float | None,
    memory_limit_bytes: int | None,
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
      125  concmem itself failed
      126  CMD could not be executed
      127  CMD was not found
      137  --memory-limit ended it, as the kernel does for want of memory

    The first Ctrl-C is CMD's to handle, the second ends everything that it started; the figures are printed all the
    same.
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not wrapped
    import concmem

    if plot_path is not None:
        from concmem.report import timeline_plot

        timeline_plot.need_extra()
    signals = _Signals()
    with signals.handled():
        running = concmem.start(
            list(command),
            interval_s=interval_s,
            timeout_s=timeout_s,
            memory_limit_bytes=memory_limit_bytes,
            windows=windows,
            cgroup=cgroup,
            taskstats=taskstats,
            exact=exact,
            cwd=cwd,
        )
        signals.attach(running)
        measurement = _wait(running)
        # Still inside: nobody's third Ctrl-C shall cost the figures.
        if not quiet:
            _show(measurement, explain)
        _write(measurement, json_path, timeline_path, plot_path)
    return _exit_code(measurement, signals)


def _show(measurement: Measurement, explain: bool) -> None:
    from concmem.cli._output import report

    # A terminal that has gone must not change how the command is seen to end. Rich touches it too.
    with contextlib.suppress(OSError):
        sys.stderr.write(report(measurement, sys.stderr, explain=explain))
        sys.stderr.flush()


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Errors name the file that was asked for; a reader who has gone before the end is none."""
    try:
        yield
    except BrokenPipeError:
        pass
    except OSError as error:
        error.filename = "standard output" if path == Path("-") else str(path)
        raise


def _write(
    measurement: Measurement, json_path: Path | None, timeline_path: Path | None, plot_path: Path | None
) -> None:
    if timeline_path is not None:
        from concmem.timeline_csv import save_csv

        with _writing(timeline_path):
            if timeline_path.suffix.lower() == ".csv":
                save_csv(measurement.timeline, timeline_path)
            else:
                measurement.timeline.save(timeline_path)
    if plot_path is not None:
        from concmem.report import timeline_plot

        with _writing(plot_path):
            timeline_plot.save(measurement, plot_path)
    if json_path is not None:
        import json

        text = json.dumps(measurement.to_dict(), indent=1, allow_nan=False) + "\n"
        with _writing(json_path):
            if json_path == Path("-"):
                click.echo(text, nl=False)
            else:
                json_path.write_text(text, encoding="utf-8")
