"""Make attrs classes from TOML and JSON of any origin: types and ranges are checked, and values are never converted."""

from __future__ import annotations

import math
import reprlib
from functools import lru_cache
from types import GenericAlias
from typing import Any, Literal, get_args, get_origin, get_type_hints

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_mapping_structure_fn, override

__all__ = ["describe", "make_strict", "strict_converter", "structure_class"]

_TYPE_NAMES: dict[type, str] = {
    str: "string",
    int: "whole number",
    float: "number",
    bool: "truth value (true, false)",
}
_MOST_NUMBER = 1 << 63
_MOST_SECONDS = 1e12
_MOST_TEXT = 1 << 20
_MOST_SHORT_TEXT = 1000
_SIGNED = frozenset({"seed", "bytes"})
"""Fields that can be negative: the seed, and a figure of a difference."""
_SHORT = frozenset(
    {
        *("title", "language", "kind", "variant", "toolchain", "toolchain_name", "version", "started_at", "workload"),
        *("kernel", "machine", "cpu_model", "thp"),
    }
)
"""Fields with names, which become labels of charts and words of messages. Keys of tables are short as well."""


def _shown(value: object) -> str:
    return reprlib.repr(value)


def describe(error: BaseException, _kind: Any) -> str:
    """Return what is wrong with one key, for `cattrs.transform_error`."""
    if isinstance(error, KeyError):
        return "it is missing"
    if isinstance(error, cattrs.errors.ForbiddenExtraKeysError):
        return f"unknown key {', '.join(repr(name) for name in sorted(error.extra_fields))}"
    return str(error)


def _primitive(value: Any, kind: type) -> Any:
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < _MOST_NUMBER else math.inf
    if type(value) is not kind:
        raise ValueError(f"{_shown(value)} is not a {_TYPE_NAMES[kind]}")
    if wrong := _out_of_range(value):
        raise ValueError(wrong)
    return value


def _out_of_range(value: Any) -> str:
    if isinstance(value, str):
        if "\0" in value:
            return f"{_shown(value)} contains a NUL character"
        return f"it is longer than {_MOST_TEXT} characters" if len(value) > _MOST_TEXT else ""
    if isinstance(value, float):
        return "" if abs(value) <= _MOST_SECONDS else f"{_shown(value)} is out of range"
    return "it is a number of more than 64 bits" if abs(value) >= _MOST_NUMBER else ""


def _short(text: str) -> str:
    if len(text) > _MOST_SHORT_TEXT:
        raise ValueError(f"{_shown(text)} is longer than {_MOST_SHORT_TEXT} characters")
    return text


def _choice(value: Any, kind: Any) -> Any:
    if not isinstance(value, str) or value not in get_args(kind):
        raise ValueError(f"must be one of {', '.join(repr(word) for word in get_args(kind))}, not {_shown(value)}")
    return value


def make_strict(converter: cattrs.Converter) -> cattrs.Converter:
    """Make a converter check types and never convert: ``"5"`` is not a number, a string not a list of letters."""

    def array(value: Any, kind: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError(f"{_shown(value)} is not a list")
        kinds = get_args(kind)
        if len(kinds) != 2 or kinds[1] is not Ellipsis:
            if len(value) != len(kinds):
                raise ValueError(f"{_shown(value)} must have {len(kinds)} items")
            return tuple(converter.structure(item, each) for item, each in zip(value, kinds, strict=True))
        items: Any = GenericAlias(list, kinds[:1])
        return tuple(converter.structure(value, items))

    @lru_cache(maxsize=64)
    def of_mapping(kind: Any) -> Any:
        return make_mapping_structure_fn(kind, converter)

    def mapping(value: Any, kind: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"{_shown(value)} is not a table")
        for key in value:
            _short(key)
        return of_mapping(kind)(value, kind)

    def has_origin(origin: Any) -> Any:
        return lambda kind: get_origin(kind) is origin

    for kind in _TYPE_NAMES:
        converter.register_structure_hook(kind, _primitive)
    converter.register_structure_hook_func(has_origin(Literal), _choice)
    converter.register_structure_hook_func(has_origin(tuple), array)
    converter.register_structure_hook_func(has_origin(dict), mapping)
    return converter


def structure_class(converter: cattrs.Converter, kind: Any, **overrides: Any) -> Any:
    """
    Return the hook for an attrs class. It requires a table, and refuses negative numbers except in `_SIGNED`, and long
    texts in `_SHORT`.
    """

    def short(value: Any, of: Any) -> Any:
        return _short(converter.structure(value, of))

    def at_least_0(value: Any, of: Any) -> Any:
        number = converter.structure(value, of)
        if number is not None and number < 0:
            raise ValueError(f"{number} is below 0")
        return number

    hints = get_type_hints(kind)
    for field in attrs.fields(kind):
        if field.name not in _SIGNED and hints[field.name] in (int, float, int | None, float | None):
            overrides.setdefault(field.name, override(struct_hook=at_least_0))
        if field.name in _SHORT and hints[field.name] is str:
            overrides.setdefault(field.name, override(struct_hook=short))
    structure = make_dict_structure_fn(kind, converter, **overrides)

    def of_table(value: Any, of: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"{_shown(value)} is not a table")
        return structure(value, of)

    return of_table


def strict_converter() -> cattrs.Converter:
    """Return a converter for TOML files. It refuses unknown keys."""
    return make_strict(cattrs.Converter(forbid_extra_keys=True))
