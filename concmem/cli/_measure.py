"""Measure one command for ``concmem run``: the figures, the output files, and the exit status."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from concmem._files.proc import check_proc
from concmem.cli._streams import FAILED, report_error, sentence
from concmem.cli._waiting import Signals, exit_code, wait_for
from concmem.running import start

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from concmem.model import Measurement
    from concmem.options import Options

__all__ = ["measure_command"]

_STANDARD_OUTPUT = Path("-")


def measure_command(
    command: tuple[str, ...],
    quiet: bool,
    explain: bool = False,
    json_path: Path | None = None,
    timeline_path: Path | None = None,
    plot_path: Path | None = None,
    **options: Unpack[Options],
) -> int:
    """Measure a command, print its figures, write the files, and return the exit status."""
    check_proc()
    if plot_path is not None:
        from concmem.export.outputs import check_needs

        check_needs("chart", plot_path.suffix.lower())
    signals = Signals()
    with signals.handled():
        running = start(list(command), **options)
        signals.attach(running)
        ended = wait_for(running, signals)
        # The handlers are still installed: a third Ctrl-C must not lose the figures.
        if not quiet:
            _show(running.wait(), explain)
        outputs = (("timeline", timeline_path), ("chart", plot_path), ("measurement", json_path))
        written = all([_write(running.wait(), of, path) for of, path in outputs if path is not None])
    return exit_code(ended.ending, signals) if written else FAILED


def _show(measurement: Measurement, explain: bool) -> None:
    from concmem.cli._output import report

    # The files must be written even if the terminal is gone. Rich accesses the terminal, too.
    with contextlib.suppress(OSError):
        sys.stderr.write(report(measurement, sys.stderr, explain=explain))
        sys.stderr.flush()


def _write(measurement: Measurement, of: str, path: Path) -> bool:
    """Write one requested file, and print an error. Return whether it was written."""
    from concmem.export.outputs import save

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
    from concmem._files.atomic import write_whole
    from concmem.export.outputs import content

    text = content("measurement", ".json", measurement)
    if path == _STANDARD_OUTPUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(text)
        sys.stdout.flush()
    else:
        write_whole(path, text)
