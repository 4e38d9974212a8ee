"""A baseline: the figures of earlier runs of named commands, in one JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs

from concmem._escaping import escape_fields
from concmem._files.atomic import write_whole
from concmem._files.bounded import read_json_file
from concmem._files.stored_form import from_plain, to_json
from concmem.comparison.intervals import Sample
from concmem.comparison.result import CommandResult, FigureName
from concmem.errors import ConcmemError, RecordingError
from concmem.host import Host

__all__ = ["BASELINE_SCHEMA", "Baseline", "BaselineMissing", "StoredFigures", "read_baseline", "write_baseline"]

BASELINE_SCHEMA = 1
"""The version of the file."""

_NS = 1_000_000_000
_OF_MACHINE = ("kernel", "machine", "cpu_model", "cpus", "page_bytes", "thp", "distribution")
"""The attributes of a machine that make it another one."""


class BaselineMissing(ConcmemError, FileNotFoundError):
    """The file of the baseline does not exist."""

    exit_code = 4

    def _sentence(self) -> str:
        return f"{self.filename}: there is no baseline yet; --update writes it"


@attrs.frozen(kw_only=True, field_transformer=escape_fields)
class StoredFigures:
    """
    The figures of one command.

    Attributes:
        command: The command as a shell reads it.
        figure: What was measured, see `concmem.comparison.result.FIGURES`.
        unit: The unit of the amounts.
        values: One for each run.
        lows: The smallest possible true amount of each run.
        highs: The largest one.
        recorded_at: The time, as ISO 8601 with a UTC offset.
        host: The machine.
    """

    command: str
    figure: FigureName
    unit: Literal["bytes", "ns"]
    values: tuple[int, ...]
    lows: tuple[int, ...]
    highs: tuple[int, ...]
    recorded_at: str
    host: Host

    @classmethod
    def of(cls, result: CommandResult, recorded_at: str, host: Host) -> StoredFigures:
        """Return the figures of the runs of a command that count."""
        sample, is_time = result.sample, result.figure == "wall"

        def whole(amounts: tuple[float, ...]) -> tuple[int, ...]:
            return tuple(round(amount * _NS) if is_time else round(amount) for amount in amounts)

        return cls(
            command=result.command,
            figure=result.figure,
            unit="ns" if is_time else "bytes",
            values=whole(sample.values),
            lows=whole(sample.lows),
            highs=whole(sample.highs),
            recorded_at=recorded_at,
            host=host,
        )

    @property
    def sample(self) -> Sample:
        """The figures in bytes or seconds."""
        unit = _NS if self.unit == "ns" else 1
        return Sample(*(tuple(each / unit for each in part) for part in (self.values, self.lows, self.highs)))

    def differences(self, host: Host) -> tuple[str, ...]:
        """Return how a machine differs from that of the baseline, such as ``kernel 6.1 instead of 6.8``."""
        pairs = [(name, getattr(self.host, name), getattr(host, name)) for name in _OF_MACHINE]
        return tuple(f"{name.replace('_', ' ')} {now} instead of {was}" for name, was, now in pairs if was != now)

    def _checked(self) -> StoredFigures:
        if not self.values or not len(self.values) == len(self.lows) == len(self.highs):
            raise ValueError("values, lows and highs must have one amount for each run")
        if not all(low <= value <= high for low, value, high in zip(self.lows, self.values, self.highs, strict=True)):
            raise ValueError("each of the values must lie between its low and its high")
        return self


@attrs.frozen(kw_only=True)
class Baseline:
    """
    The content of a file.

    Attributes:
        what: What the file is.
        schema: The version of its form.
        version: The version of concmem that wrote it.
        checks: The figures of each check, by its name.
    """

    what: Literal["concmem baseline"] = "concmem baseline"
    schema: int = BASELINE_SCHEMA
    version: str
    checks: dict[str, StoredFigures]


def read_baseline(path: Path) -> Baseline:
    """
    Read a baseline.

    Raises:
        BaselineMissing: There is no such file.
        RecordingError: It is not a baseline, is damaged, or was written by a newer concmem.
    """
    try:
        return from_plain(read_json_file(path), Baseline, BASELINE_SCHEMA, "baseline")
    except FileNotFoundError as error:
        raise BaselineMissing(error.errno, error.strerror, str(path)) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RecordingError(f"{path}: {why}") from error


def write_baseline(path: Path, baseline: Baseline) -> None:
    """
    Write a baseline completely or not at all.

    Raises:
        OSError: It cannot be written.
    """
    write_whole(path, to_json(baseline).encode())
