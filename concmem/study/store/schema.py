"""The stored form of a study's files: convert attrs classes to JSON and back; report any other content in one line."""

from __future__ import annotations

import reprlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import cattrs

from concmem._files.bounded import read_json_file
from concmem._files.names import check_name
from concmem._files.stored_form import make_stored_converter
from concmem._files.strict import describe, structure_class
from concmem.errors import RecordingError
from concmem.model import Measurement
from concmem.study.plan import Plan
from concmem.study.store.records import Run, Study

__all__ = ["SCHEMA", "read_json", "run_content", "structure", "study_content"]

SCHEMA = 1
"""
The version of the stored form, written into every file.

1: the first version.
"""


@lru_cache(maxsize=1)
def _converter() -> cattrs.Converter:
    converter = make_stored_converter()
    converter.register_unstructure_hook(Measurement, lambda m: m.to_dict())
    converter.register_structure_hook(Measurement, lambda d, _: Measurement.from_dict(d))
    structure_plan = structure_class(converter, Plan)
    converter.register_structure_hook(Plan, lambda d, kind: _check_names(structure_plan(d, kind)))
    return converter


def _check_names(plan: Plan) -> Plan:
    if not plan.programs:
        raise ValueError("programs: it is empty")
    for name in plan.programs:
        check_name(None, attrs.fields(Plan).programs, name)
    return plan


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON file; raise RecordingError unless it is a `what` of a schema that this version knows."""
    try:
        content = read_json_file(path)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RecordingError(f"{path}: {error}") from error
    if not isinstance(content, dict) or content.get("what") != what:
        raise RecordingError(f"{path}: not a {what}")
    schema = content.get("schema")
    if type(schema) is not int:
        raise RecordingError(f"{path}: it has no schema number")
    if schema > SCHEMA:
        raise RecordingError(
            f"{path}: it has schema {reprlib.repr(schema)}; this version of concmem reads up to {SCHEMA}"
        )
    return content


def run_content(run: Run) -> dict[str, Any]:
    """Return the stored form of a run, in plain JSON types."""
    return {"what": "concmem run", "schema": SCHEMA, **_converter().unstructure(run)}


def study_content(study: Study) -> dict[str, Any]:
    """Return the stored form of a study without its runs, in plain JSON types."""
    stored = _converter().unstructure(attrs.evolve(study, runs=()))
    del stored["path"], stored["runs"]
    return {"what": "concmem study", "schema": SCHEMA, **stored}


def structure(path: Path, content: dict[str, Any], kind: type[Any]) -> Any:
    """Return an instance of `kind`; ignore keys that a later version has added."""
    known = {field.name for field in attrs.fields(kind)}
    try:
        return _converter().structure({name: value for name, value in content.items() if name in known}, kind)
    except (cattrs.BaseValidationError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, cattrs.BaseValidationError) and (own := error.subgroup(RecordingError)) is not None:
            wrong = str(_first(own))
        elif isinstance(error, cattrs.BaseValidationError):
            wrong = f"damaged: {cattrs.transform_error(error, format_exception=describe)[0].removesuffix(' @ $')}"
        else:
            wrong = f"damaged: {error}"
    raise RecordingError(f"{path}: {wrong}")


def _first(error: BaseException) -> BaseException:
    """Return the first error of nested exception groups."""
    inner = getattr(error, "exceptions", ())
    return _first(inner[0]) if inner else error
