"""
The stored form of a measurement: convert attrs classes to plain JSON types, and back, with cattrs.

It knows no class of concmem by name, so classes can import it. What it must know of a class stands in that class:

- a field with the metadata `NOT_STORED` is left out;
- the metadata `older(function)` of a field has a function that converts a value of an older schema;
- the method ``_checked`` returns the instance that was read, or raises a ValueError that says what is wrong with it.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from concmem.errors import RecordingError

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter

__all__ = [
    "NOT_STORED",
    "converter",
    "from_plain",
    "make_stored_converter",
    "older",
    "timeline_path",
    "to_json",
    "to_plain",
]

_T = TypeVar("_T")

_OMITTED, _OLDER = "concmem: not stored", "concmem: older schema"

NOT_STORED = {_OMITTED: True}
"""The metadata of a field that is not stored."""


def older(convert: Callable[[Any], Any]) -> dict[str, Callable[[Any], Any]]:
    """Return the metadata of a field that had another form in an older schema. `convert` returns today's form."""
    return {_OLDER: convert}


def make_stored_converter() -> JsonConverter:
    """Make a converter between concmem's attrs classes and plain JSON types."""
    from cattrs.gen import make_dict_unstructure_fn, override
    from cattrs.preconf.json import make_converter

    from concmem._files.strict import make_strict, structure_class

    made = make_converter()
    make_strict(made)

    def omitted(kind: Any) -> dict[str, Any]:
        fields = attrs.fields(kind) if attrs.has(kind) else ()
        return {field.name: override(omit=True) for field in fields if _OMITTED in field.metadata}

    def from_older(field: Any) -> Any:
        convert = field.metadata[_OLDER]
        return override(struct_hook=lambda value, kind: made.structure(convert(value), kind))

    def structure(kind: Any) -> Any:
        changed = {field.name: from_older(field) for field in attrs.fields(kind) if _OLDER in field.metadata}
        of_table = structure_class(made, kind, **omitted(kind), **changed)
        return (lambda value, of: of_table(value, of)._checked()) if hasattr(kind, "_checked") else of_table

    made.register_structure_hook_factory(attrs.has, structure)
    made.register_unstructure_hook_factory(
        lambda kind: bool(omitted(kind)), lambda kind: make_dict_unstructure_fn(kind, made, **omitted(kind))
    )
    _register_output(made)
    words = made.get_structure_hook(tuple[str, ...])
    for kind in (str | tuple[str, ...], tuple[str, ...] | str):
        made.register_structure_hook(
            kind, lambda v, _: made.structure(v, str) if isinstance(v, str) else words(v, tuple[str, ...])
        )
    return made


def _register_output(made: JsonConverter) -> None:
    """Convert output that is bytes, text or None: bytes to a string, as everywhere, and text to a table."""
    kind: Any = bytes | str | None

    def structure(value: Any, _: Any) -> Any:
        if isinstance(value, dict) and value.keys() == {"text"}:
            return made.structure(value["text"], str)
        return None if value is None else made.structure(value, bytes)

    made.register_structure_hook_func(lambda each: each == kind, structure)
    made.register_unstructure_hook(
        kind, lambda value: {"text": value} if isinstance(value, str) else made.unstructure(value, type(value))
    )


converter = lru_cache(maxsize=1)(make_stored_converter)


def to_plain(instance: object) -> dict[str, Any]:
    """Return an instance as plain JSON types."""
    stored: dict[str, Any] = converter().unstructure(instance)
    return stored


def to_json(instance: object) -> str:
    """Return an instance as JSON."""
    import json

    return json.dumps(to_plain(instance), indent=1, allow_nan=False) + "\n"


def from_plain(stored: Any, kind: type[_T], schema: int, what: str = "measurement") -> _T:
    """
    Return the measurement that `to_plain` returned.

    Args:
        stored: Plain JSON types.
        kind: The class.
        schema: The newest schema that can be read.
        what: What it is, for messages.

    Raises:
        RecordingError: It is not a measurement, or its schema is newer than `schema`.
    """
    its_schema = stored.get("schema") if isinstance(stored, dict) else None
    if type(its_schema) is not int:
        raise RecordingError(f"this is not a {what} of concmem: it has no schema number")
    if its_schema > schema:
        shown = reprlib.repr(its_schema)
        raise RecordingError(f"this {what} has schema {shown}, and this concmem reads up to {schema}: update concmem")
    try:
        return converter().structure(stored, kind)
    except Exception as error:
        from cattrs import transform_error

        from concmem._files.strict import describe

        wrong = "; ".join(each.removesuffix(" @ $") for each in transform_error(error, format_exception=describe))
    # Outside of the except block, so that it has no __context__: some ways to pickle an error include the context, and
    # cattrs' errors cannot be unpickled.
    raise RecordingError(f"this is not a {what} of concmem: {wrong}")


def timeline_path(path: Path) -> Path:
    """Return the path of the timeline beside it: ``a.npz`` for ``a.json``, ``run-0.1.npz`` for ``run-0.1``."""
    return path.with_name(path.name.removesuffix(".json") + ".npz")
