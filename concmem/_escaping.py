"""
Text from outside as it may be shown: names of processes, arguments, paths, stored text, what a compiler wrote.

Linux allows every byte but NUL and ``/`` in a name. An ESC moves the cursor of a terminal, a newline adds a line that
concmem did not write, U+202E reverses the text after it, and a lone surrogate or U+FFFE ends XML and UTF-8 encoders.
Everything that concmem shows goes through `escape_text`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import attrs

__all__ = ["csv_cell", "escape_bytes", "escape_fields", "escape_text", "escape_values", "shell_word"]

_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""With these a cell begins that a spreadsheet runs as a formula; the last four are the wide forms of the first."""
_SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
"""Spaces that Python does not count as printable. concmem's own texts have no-break spaces."""


def _is_harmless(char: str) -> bool:
    return char.isprintable() or char in _SPACES


def escape_text(text: str, *, keep: str = "") -> str:
    r"""
    A text in which every character that cannot be seen is written as an escape: ``\n``, ``\x1b``, ``\u202e``.

    Those are controls, format and direction marks, line separators, surrogates and characters that Unicode has not
    assigned. A byte that was no UTF-8 (in Python: U+DC80 to U+DCFF) is shown as that byte, ``\xff``. A backslash stays
    as it is, so that escaping a text twice changes nothing.

    Args:
        text: Any text.
        keep: Characters to leave as they are: a newline between lines that concmem itself put together.
    """
    if text.isprintable():
        return text
    return "".join(c if c in keep or _is_harmless(c) else _escape(c) for c in text)


def _escape(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def escape_bytes(content: bytes, *, keep: str = "") -> str:
    """What a program wrote, as `escape_text` shows it."""
    return escape_text(content.decode("utf-8", "surrogateescape"), keep=keep)


def escape_values(value: Any) -> Any:
    """The same with every text in plain JSON types, keys included: a chart's specification, say."""
    if isinstance(value, str):
        return escape_text(value)
    if isinstance(value, Mapping):
        return {escape_values(key): escape_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [escape_values(item) for item in value]
    return value


def shell_word(text: str) -> str:
    """A word for a command line that can be copied into a shell, quoted where it must be; escaped in bash's ``$''``."""
    if escape_text(text) == text:
        return shlex.quote(text)
    quoted = "".join(f"\\{c}" if c in "\\'" else c for c in text)
    return f"$'{escape_text(quoted)}'"


def csv_cell(value: object) -> str:
    """A cell of a CSV file. A text that a spreadsheet would run as a formula gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return str(value)
    text = escape_text(" ".join(map(str, value)) if isinstance(value, tuple) else str(value))
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) else text


def _escape_several(texts: Any) -> tuple[str, ...]:
    return tuple(map(escape_text, texts))


def _escape_mapping(mapping: Any) -> dict[str, Any]:
    return {escape_text(name): escape_text(v) if isinstance(v, str) else v for name, v in mapping.items()}


def escape_fields(cls: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
    """
    Give an attrs class (``field_transformer=escape_fields``) text that can be shown, wherever its instances come from.

    All fields of text, of several texts and of texts by name are escaped, but those that have a converter of their own.
    """
    return [_with_escape(field) for field in fields]


def _with_escape(field: attrs.Attribute[Any]) -> attrs.Attribute[Any]:
    kind = str(field.type)
    if field.converter is not None:
        return field
    if kind == "str":
        return field.evolve(converter=escape_text)
    if kind == "tuple[str, ...]":
        return field.evolve(converter=_escape_several)
    return field.evolve(converter=_escape_mapping) if kind.startswith("dict[str, ") else field
