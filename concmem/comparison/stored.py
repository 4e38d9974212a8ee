"""Read a comparison that was written as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from concmem._files.bounded import read_json_file
from concmem._files.stored_form import from_plain
from concmem.comparison.result import Comparison
from concmem.errors import RecordingError

__all__ = ["COMMANDS_SCHEMA", "WHAT", "comparison_of", "load_comparison"]

COMMANDS_SCHEMA = 1
"""The version of the part under ``concmem``."""
WHAT = "concmem commands"
"""What the file says that it is."""

_OWN = ("reference", "figure", "seed", "interleaved", "host", "started_at", "version", "schema")
_OF_RESULT = ("command", "template", "stopped", "runs")


def load_comparison(path: str | Path) -> Comparison:
    """
    Read the comparison that ``concmem compare --export-json`` wrote.

    Raises:
        RecordingError: It is not a comparison, is damaged, or was written by a newer concmem.
        OSError: The file cannot be opened.
    """
    try:
        return comparison_of(read_json_file(Path(path)))
    except ValueError as error:
        raise RecordingError(f"{path}: {error}") from None


def comparison_of(stored: Any) -> Comparison:
    """
    Return the comparison of a file's content.

    Raises:
        RecordingError: It is not a comparison, or is damaged.
    """
    try:
        about = stored["concmem"]
        if about["what"] != WHAT:
            raise KeyError("what")
        plain = {name: about[name] for name in _OWN if name in about}
        plain["results"] = [
            {name: each["concmem"][name] for name in _OF_RESULT if name in each["concmem"]}
            | {"name": each["command"], "parameters": each["parameters"], "figure": about["figure"]}
            for each in stored["results"]
        ]
    except (KeyError, TypeError, AttributeError):
        raise RecordingError("this is not a comparison of concmem: parts of it are missing") from None
    return from_plain(plain, Comparison, COMMANDS_SCHEMA, "comparison")
