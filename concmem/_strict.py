"""Attrs classes from TOML that people wrote: by type, never by conversion, and what is wrong in plain words."""

from __future__ import annotations

from types import GenericAlias
from typing import Any, Literal, get_args, get_origin

import cattrs

__all__ = ["describe", "strict_converter"]

_WORDS: dict[type, str] = {str: "string", int: "whole number", bool: "truth value (true, false)"}


def describe(error: BaseException, _kind: Any) -> str:
    """What is wrong with one key, for `cattrs.transform_error`."""
    if isinstance(error, KeyError):
        return "it is missing"
    if isinstance(error, cattrs.errors.ForbiddenExtraKeysError):
        return f"there is no key {', '.join(repr(name) for name in sorted(error.extra_fields))}"
    return str(error)


def strict_converter() -> cattrs.Converter:
    """Structures by type and never converts: ``"5"`` is no number, and a string no list of its letters."""
    converter = cattrs.Converter(forbid_extra_keys=True)

    def primitive(value: Any, kind: type) -> Any:
        if type(value) is not kind:
            raise ValueError(f"{value!r} is not a {_WORDS[kind]}")
        return value

    def choice(value: Any, kind: Any) -> Any:
        if value not in get_args(kind):
            raise ValueError(f"{value!r} is none of {', '.join(repr(word) for word in get_args(kind))}")
        return value

    def array(value: Any, kind: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError(f"{value!r} is not a list")
        items: Any = GenericAlias(list, get_args(kind)[:1])
        return tuple(converter.structure(value, items))

    def is_choice(kind: Any) -> bool:
        return get_origin(kind) is Literal

    def is_array(kind: Any) -> bool:
        return get_origin(kind) is tuple

    for kind in _WORDS:
        converter.register_structure_hook(kind, primitive)
    converter.register_structure_hook_func(is_choice, choice)
    converter.register_structure_hook_func(is_array, array)
    return converter
