"""Write an output that a command was asked for, to a file or to standard output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from concmem.cli._streams import report_error, sentence

__all__ = ["write_output"]

_STANDARD_OUTPUT = Path("-")


def write_output(of: str, ending: str, value: Any, path: Path) -> bool:
    """
    Write a file completely or not at all, and print an error. Return whether it was written.

    Args:
        of: What is written, see `concmem.export.outputs`.
        ending: The format.
        value: The measurement, the timeline or the comparison.
        path: The file, with any ending; ``-`` is standard output.
    """
    from concmem._files.atomic import write_whole
    from concmem.export.outputs import content

    try:
        written = content(of, ending, value)
        if path == _STANDARD_OUTPUT:
            sys.stdout.flush()
            sys.stdout.buffer.write(written)
            sys.stdout.flush()
        else:
            write_whole(path, written)
    except OSError as error:
        if path == _STANDARD_OUTPUT and isinstance(error, BrokenPipeError):
            return True  # closed pipe: it changes the exit status only if the command ended with 0
        error.filename = "standard output" if path == _STANDARD_OUTPUT else str(path)
        report_error(error, sentence(error))
        return False
    return True
