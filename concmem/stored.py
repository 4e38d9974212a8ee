"""Measurements as plain JSON types and as files, through cattrs."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from concmem._escaping import escape_text
from concmem._files.bounded import read_json_file
from concmem.errors import InvalidRequest, RecordingError
from concmem.model import SCHEMA, Figure, Measurement
from concmem.sampler_report import Survivor
from concmem.timeline import Timeline

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter

__all__ = ["converter", "load", "make_stored_converter", "measurement_from_dict", "measurement_to_dict", "save"]

_MOST_SURVIVORS = 1 << 16
"""The sampler knows no more processes at once."""


def make_stored_converter() -> JsonConverter:
    """Make what turns concmem's attrs classes into plain JSON types and back; a timeline is left out."""
    from cattrs.gen import make_dict_unstructure_fn, override
    from cattrs.preconf.json import make_converter

    from concmem._files.strict import make_strict, structure_class

    made = make_converter()
    make_strict(made)
    made.register_structure_hook_factory(attrs.has, lambda kind: structure_class(made, kind))
    words = made.get_structure_hook(tuple[str, ...])
    for kind in (str | tuple[str, ...], tuple[str, ...] | str):
        made.register_structure_hook(
            kind, lambda v, _: made.structure(v, str) if isinstance(v, str) else words(v, tuple[str, ...])
        )
    made.register_unstructure_hook(
        Measurement, make_dict_unstructure_fn(Measurement, made, timeline=override(omit=True))
    )
    survivors = made.get_structure_hook(tuple[Survivor, ...])
    made.register_structure_hook_func(
        lambda kind: kind == tuple[Survivor, ...],
        lambda v, kind: _counted(v) if type(v) is int else survivors(v, kind),
    )
    figure = structure_class(made, Figure)
    made.register_structure_hook(Figure, lambda v, kind: _sensible(figure(v, kind)))
    measurement = structure_class(made, Measurement, timeline=override(omit=True))
    made.register_structure_hook(Measurement, lambda v, kind: _possible(measurement(v, kind)))
    return made


converter = lru_cache(maxsize=1)(make_stored_converter)


def _counted(survivors: int) -> tuple[Survivor, ...]:
    """Up to schema 2 they were only counted."""
    if not 0 <= survivors <= _MOST_SURVIVORS:
        raise ValueError(f"survivors must be from 0 to {_MOST_SURVIVORS}, not {survivors}")
    return (Survivor(0, "", "unknown"),) * survivors


def _sensible(figure: Figure) -> Figure:
    if (figure.bytes is None) != (figure.status == "unavailable"):
        raise ValueError(f"a figure of {figure.bytes} bytes is not {figure.status}")
    if figure.error_bytes < 0 or figure.over_bytes < 0:
        raise ValueError("an error is below 0")
    return attrs.evolve(
        figure,
        source=escape_text(figure.source),
        note=escape_text(figure.note),
        high_source=escape_text(figure.high_source),
    )


def _possible(measurement: Measurement) -> Measurement:
    if not measurement.command:
        raise ValueError("the command is empty")
    for name, figure in measurement.figures.items():
        if figure.bytes is not None and figure.bytes < 0:
            raise ValueError(f"{name} is below 0")
    return measurement


def measurement_to_dict(measurement: Measurement) -> dict[str, Any]:
    """Everything but the timeline."""
    stored: dict[str, Any] = converter().unstructure(measurement)
    return stored


def measurement_from_dict(stored: dict[str, Any], timeline: Timeline | None = None) -> Measurement:
    """
    A measurement from what `measurement_to_dict` gave.

    Raises:
        RecordingError: It is not one, or of a later schema.
    """
    schema = stored.get("schema") if isinstance(stored, dict) else None
    if type(schema) is not int:
        raise RecordingError("this is no measurement of concmem: it has no schema number")
    if schema > SCHEMA:
        raise RecordingError(f"this measurement has schema {schema}; this concmem reads up to {SCHEMA}: update it")
    try:
        return converter().structure(stored, Measurement)
    except Exception as error:
        from cattrs import transform_error

        from concmem._files.strict import describe

        wrong = "; ".join(each.removesuffix(" @ $") for each in transform_error(error, format_exception=describe))
    # Not from within: some ways to pickle an error take along what it came from, and cattrs' errors do not come back.
    raise RecordingError(f"this is no measurement of concmem: {wrong}")


def _beside(path: Path) -> Path:
    """Where the timeline of a measurement lies: ``a.json`` and ``a.npz``, ``run-0.1`` and ``run-0.1.npz``."""
    return path.with_name(path.name.removesuffix(".json") + ".npz")


def save(measurement: Measurement, path: Path) -> None:
    """``path`` (JSON) and the timeline beside it; the timeline first, so that a JSON file is never without it."""
    from concmem._files.atomic import replacing

    if path.suffix == ".npz":
        raise InvalidRequest(f"{path}: that name is the timeline's; give one that ends in .json")
    measurement.timeline.save(_beside(path))
    with replacing(path) as file:
        file.write(json.dumps(measurement_to_dict(measurement), indent=1).encode() + b"\n")


def load(path: str | Path) -> Measurement:
    """
    The measurement that `Measurement.save` wrote, with its timeline where that lies beside it.

    Raises:
        RecordingError: It is not one, or damaged, or of a later schema.
        OSError: The file cannot be opened.
    """
    path = Path(path)
    try:
        measurement = measurement_from_dict(read_json_file(path))
    except ValueError as error:
        if isinstance(error, RecordingError):
            raise RecordingError(f"{path}: {error}") from None
        raise RecordingError(f"{path} is no measurement of concmem: {error}") from None
    beside = _beside(path)
    return attrs.evolve(measurement, timeline=Timeline.load(beside)) if beside.exists() else measurement
