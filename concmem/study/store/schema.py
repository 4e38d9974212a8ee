"""The stored form of a study's files: attrs classes to JSON and back, and one sentence for anything else."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import cattrs

from concmem._files.bounded import read_json_file
from concmem._files.names import check_name
from concmem._files.strict import describe, structure_class
from concmem.errors import RecordingError
from concmem.model import Measurement
from concmem.stored import make_stored_converter
from concmem.study.plan import Plan
from concmem.study.store.records import Run, Study

__all__ = ["SCHEMA", "read_json", "run_content", "structure", "study_content"]

SCHEMA = 1
"""
The number of the stored form, in every file that is written.

1: the first.
"""


@lru_cache(maxsize=1)
def _converter() -> cattrs.Converter:
    made = make_stored_converter()
    made.register_unstructure_hook(Measurement, lambda m: m.to_dict())
    made.register_structure_hook(Measurement, lambda d, _: Measurement.from_dict(d))
    plan = structure_class(made, Plan)
    made.register_structure_hook(Plan, lambda d, kind: _with_names(plan(d, kind)))
    return made


def _with_names(plan: Plan) -> Plan:
    for name in plan.programs:
        check_name(None, attrs.fields(Plan).programs, name)
    return plan


def read_json(path: Path, what: str) -> dict[str, Any]:
    """What a file says that it is, and of no later schema."""
    try:
        content = read_json_file(path)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise RecordingError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("what") != what:
        raise RecordingError(f"{path}: not a {what}")
    schema = content.get("schema")
    if type(schema) is not int:
        raise RecordingError(f"{path}: it has no schema number")
    if schema > SCHEMA:
        raise RecordingError(f"{path}: of schema {schema}; this concmem reads up to {SCHEMA}")
    return content


def run_content(run: Run) -> dict[str, Any]:
    """What is stored of a run, as plain JSON types."""
    return {"what": "concmem run", "schema": SCHEMA, **_converter().unstructure(run)}


def study_content(study: Study) -> dict[str, Any]:
    """What is stored of a study apart from its runs, as plain JSON types."""
    stored = _converter().unstructure(attrs.evolve(study, runs=()))
    del stored["path"], stored["runs"]
    return {"what": "concmem study", "schema": SCHEMA, **stored}


def structure(path: Path, content: dict[str, Any], kind: type[Any]) -> Any:
    """An instance of `kind`; what a later version has added is left out."""
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
    """The first error of a group of groups."""
    inner = getattr(error, "exceptions", ())
    return _first(inner[0]) if inner else error
