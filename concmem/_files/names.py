"""Names that become parts of paths: the same rule where they are written down and where a stored file has them."""

from __future__ import annotations

import re
from typing import Any

import attrs

__all__ = ["NAME_RULE", "check_name", "is_name"]

_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_MOST = 100
NAME_RULE = f"made of small letters, digits, dots, plus signs and hyphens, of at most {_MOST} characters"


def is_name(name: str) -> bool:
    """Whether a program can have it, and a file its name: no folder, nothing hidden, no character that is not seen."""
    return len(name) <= _MOST and _NAME.fullmatch(name) is not None


def check_name(_instance: object, field: attrs.Attribute[Any], name: str) -> None:
    """Refuse any other name: a validator for attrs."""
    if not is_name(name):
        raise ValueError(f"{field.name}: {name[:_MOST]!r} is not {NAME_RULE}")
