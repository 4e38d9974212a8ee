"""Read a stored measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from concmem._files.stored_form import timeline_path
from concmem.errors import RecordingError
from concmem.model import Measurement
from concmem.timeline import Timeline

__all__ = ["load"]


def load(path: str | Path) -> Measurement[Any]:
    """
    Read the measurement that `Measurement.save` wrote, with its timeline if that file is beside it.

    Raises:
        RecordingError: It is not a measurement, or is damaged, or its schema is newer than this concmem.
        OSError: The file cannot be opened.
    """
    from concmem._files.bounded import read_json_file

    path = Path(path)
    try:
        measurement = Measurement.from_dict(read_json_file(path))
    except ValueError as error:
        if isinstance(error, RecordingError):
            raise RecordingError(f"{path}: {error}") from None
        raise RecordingError(f"{path} is not a measurement of concmem: {error}") from None
    beside = timeline_path(path)
    return attrs.evolve(measurement, timeline=Timeline.load(beside)) if beside.exists() else measurement
