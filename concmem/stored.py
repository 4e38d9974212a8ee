"""Convert measurements to plain JSON types and files, and back, with cattrs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from concmem._escaping import escape_text
from concmem.errors import InvalidRequest, RecordingError
from concmem.model import SCHEMA, Figure, Measurement
from concmem.sampler_report import Survivor
from concmem.timeline import Timeline

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter

__all__ = [
    "converter",
    "load",
    "make_stored_converter",
    "measurement_from_dict",
    "measurement_json",
    "measurement_to_dict",
    "save",
]

_MOST_SURVIVORS = 1 << 16
"""The capacity of the sampler's process table."""


def make_stored_converter() -> JsonConverter:
    """Make a converter between concmem's attrs classes and plain JSON types. It leaves out timelines."""
    from cattrs.gen import make_dict_unstructure_fn, override
    from cattrs.preconf.json import make_converter

    from concmem._files.strict import make_strict, structure_class

    json_converter = make_converter()
    make_strict(json_converter)
    json_converter.register_structure_hook_factory(attrs.has, lambda kind: structure_class(json_converter, kind))
    words = json_converter.get_structure_hook(tuple[str, ...])
    for kind in (str | tuple[str, ...], tuple[str, ...] | str):
        json_converter.register_structure_hook(
            kind, lambda v, _: json_converter.structure(v, str) if isinstance(v, str) else words(v, tuple[str, ...])
        )
    json_converter.register_unstructure_hook(
        Measurement, make_dict_unstructure_fn(Measurement, json_converter, timeline=override(omit=True))
    )
    survivors = json_converter.get_structure_hook(tuple[Survivor, ...])
    json_converter.register_structure_hook_func(
        lambda kind: kind == tuple[Survivor, ...],
        lambda v, kind: _survivors_from_count(v) if type(v) is int else survivors(v, kind),
    )
    figure = structure_class(json_converter, Figure)
    json_converter.register_structure_hook(Figure, lambda v, kind: _checked_figure(figure(v, kind)))
    measurement = structure_class(json_converter, Measurement, timeline=override(omit=True))
    json_converter.register_structure_hook(Measurement, lambda v, kind: _checked_measurement(measurement(v, kind)))
    return json_converter


converter = lru_cache(maxsize=1)(make_stored_converter)


def _survivors_from_count(survivors: int) -> tuple[Survivor, ...]:
    """Up to schema 2 only the number of survivors was stored."""
    if not 0 <= survivors <= _MOST_SURVIVORS:
        raise ValueError(f"survivors must be from 0 to {_MOST_SURVIVORS}, not {survivors}")
    return (Survivor(0, "", "unknown"),) * survivors


def _checked_figure(figure: Figure) -> Figure:
    if (figure.bytes is None) != (figure.status == "unavailable"):
        raise ValueError(f"a figure of {figure.bytes} bytes cannot have the status {figure.status}")
    if figure.error_bytes < 0 or figure.over_bytes < 0:
        raise ValueError("error_bytes and over_bytes must not be negative")
    return attrs.evolve(
        figure,
        source=escape_text(figure.source),
        note=escape_text(figure.note),
        high_source=escape_text(figure.high_source),
    )


def _checked_measurement(measurement: Measurement) -> Measurement:
    if not measurement.command:
        raise ValueError("the command is empty")
    for name, figure in measurement.figures.items():
        if figure.bytes is not None and figure.bytes < 0:
            raise ValueError(f"{name} is below 0")
    return measurement


def measurement_to_dict(measurement: Measurement) -> dict[str, Any]:
    """Return everything except the timeline as plain JSON types."""
    stored: dict[str, Any] = converter().unstructure(measurement)
    return stored


def measurement_json(measurement: Measurement) -> str:
    """Return everything except the timeline as JSON."""
    import json

    return json.dumps(measurement_to_dict(measurement), indent=1, allow_nan=False) + "\n"


def measurement_from_dict(stored: dict[str, Any], timeline: Timeline | None = None) -> Measurement:
    """
    Return the measurement that `measurement_to_dict` stored.

    Raises:
        RecordingError: It is not a measurement, or its schema is newer than this concmem.
    """
    schema = stored.get("schema") if isinstance(stored, dict) else None
    if type(schema) is not int:
        raise RecordingError("this is not a measurement of concmem: it has no schema number")
    if schema > SCHEMA:
        raise RecordingError(f"this measurement has schema {schema}, and this concmem reads up to {SCHEMA}: update it")
    try:
        return converter().structure(stored, Measurement)
    except Exception as error:
        from cattrs import transform_error

        from concmem._files.strict import describe

        wrong = "; ".join(each.removesuffix(" @ $") for each in transform_error(error, format_exception=describe))
    # Outside of the except block, so that it has no __context__: some ways to pickle an error include the context, and
    # cattrs' errors cannot be unpickled.
    raise RecordingError(f"this is not a measurement of concmem: {wrong}")


def _beside(path: Path) -> Path:
    """Return the path of the timeline: ``a.npz`` for ``a.json``, ``run-0.1.npz`` for ``run-0.1``."""
    return path.with_name(path.name.removesuffix(".json") + ".npz")


def save(measurement: Measurement, path: Path) -> None:
    """Write ``path`` (JSON) and the timeline beside it: the timeline first, so that a JSON file always has it."""
    from concmem._files.atomic import replacing

    if path.suffix == ".npz":
        raise InvalidRequest(f"{path}: .npz is the ending of the timeline's file; use a name that ends in .json")
    measurement.timeline.save(_beside(path))
    with replacing(path) as file:
        file.write(measurement_json(measurement).encode())


def load(path: str | Path) -> Measurement:
    """
    Read the measurement that `Measurement.save` wrote, with its timeline if that file is beside it.

    Raises:
        RecordingError: It is not a measurement, or is damaged, or its schema is newer than this concmem.
        OSError: The file cannot be opened.
    """
    from concmem._files.bounded import read_json_file

    path = Path(path)
    try:
        measurement = measurement_from_dict(read_json_file(path))
    except ValueError as error:
        if isinstance(error, RecordingError):
            raise RecordingError(f"{path}: {error}") from None
        raise RecordingError(f"{path} is not a measurement of concmem: {error}") from None
    beside = _beside(path)
    return attrs.evolve(measurement, timeline=Timeline.load(beside)) if beside.exists() else measurement
