"""Measure one command for ``concmem run``: the figures, the output files, and the exit status."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from concmem._files.proc import check_proc
from concmem.cli._streams import FAILED
from concmem.cli._waiting import Ended, Signals, exit_code, wait_for
from concmem.running import start

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Unpack

    from concmem.model import Measurement
    from concmem.options import Options

__all__ = ["measure_command"]


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
    is_written, ended_by = True, 0
    with signals.handled():
        running = start(list(command), **options)
        signals.attach(running)
        ended = wait_for(running, signals)
        # The handlers are still installed: a third Ctrl-C must not lose the figures.
        outputs = (("timeline", timeline_path), ("chart", plot_path), ("measurement", json_path))
        writes: list[Callable[[Measurement], bool]] = [] if quiet else [partial(_show, explain=explain)]
        writes += [partial(_write, of=of, path=path) for of, path in outputs if path is not None]
        for write in writes:
            try:
                is_written &= write(running.wait())
            except Ended as end:  # that reader does not read; there can be other outputs
                ended_by = end.number
    if ended_by:
        return 128 + ended_by
    return exit_code(ended.ending, signals) if is_written else FAILED


def _show(measurement: Measurement, explain: bool) -> bool:
    from concmem.cli._output import report

    # The files must be written even if the terminal is gone. Rich accesses the terminal, too.
    with contextlib.suppress(OSError):
        sys.stderr.write(report(measurement, sys.stderr, explain=explain))
        sys.stderr.flush()
    return True


def _write(measurement: Measurement, of: str, path: Path) -> bool:
    """Write one requested file. A measurement is written as JSON, whatever the ending."""
    from concmem.cli._write import write_output

    if of == "measurement":
        return write_output(of, ".json", measurement, path)
    return write_output(of, path.suffix.lower(), measurement.timeline if of == "timeline" else measurement, path)
