"""The rule for names that become parts of paths. It holds for manifests and for stored files."""

from __future__ import annotations

import re
from typing import Any

import attrs

__all__ = ["NAME_RULE", "check_name", "is_name"]

_NAME = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_MOST = 100
NAME_RULE = f"made of lower-case letters, digits, dots, plus signs and hyphens, with at most {_MOST} characters"


def is_name(name: str) -> bool:
    """Return whether a name is allowed. It cannot contain a folder, be hidden, or contain invisible characters."""
    return len(name) <= _MOST and _NAME.fullmatch(name) is not None


def check_name(_instance: object, field: attrs.Attribute[Any], name: str) -> None:
    """Raise a ValueError for a name that is not allowed. It is a validator for attrs."""
    if not is_name(name):
        raise ValueError(f"{field.name}: {name[:_MOST]!r} is not {NAME_RULE}")
