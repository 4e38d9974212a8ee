"""
Escape text from outside before it is shown: process names, arguments, paths, stored text, compiler output.

Linux allows every byte but NUL and ``/`` in a name. An ESC moves the cursor of a terminal, a newline adds a line that
concmem did not write, U+202E reverses the text after it, and a lone surrogate or U+FFFE ends XML and UTF-8 encoders.
All text from outside that concmem shows goes through `escape_text`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import attrs

__all__ = ["csv_cell", "escape_bytes", "escape_fields", "escape_text", "escape_values", "shell_word"]

_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A spreadsheet runs a cell that begins with one of these as a formula. The last four are the full-width forms."""
_SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
"""Spaces that Python does not count as printable. concmem's own texts contain no-break spaces."""


def _is_harmless(char: str) -> bool:
    return char.isprintable() or char in _SPACES


def escape_text(text: str, *, keep: str = "") -> str:
    r"""
    Return a text with every invisible character written as an escape: ``\n``, ``\x1b``, ``\u202e``.

    Those are control characters, format and direction marks, line separators, surrogates and unassigned characters. A
    byte that is not valid UTF-8 (in Python: U+DC80 to U+DCFF) is shown as that byte, ``\xff``. A backslash stays as
    it is, so that escaping a text twice changes nothing.

    Args:
        text: Any text.
        keep: Characters to leave as they are, such as a newline between lines that concmem joined.
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
    """Decode the output of a program and escape it with `escape_text`."""
    return escape_text(content.decode("utf-8", "surrogateescape"), keep=keep)


def escape_values(value: Any) -> Any:
    """Escape every text, including keys, in a value of plain JSON types, such as the specification of a chart."""
    if isinstance(value, str):
        return escape_text(value)
    if isinstance(value, Mapping):
        return {escape_values(key): escape_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [escape_values(item) for item in value]
    return value


def shell_word(text: str) -> str:
    """Quote a word so that it can be copied into a shell: with ``$''`` (bash) if it contains escapes."""
    import shlex

    if escape_text(text) == text:
        return shlex.quote(text)
    quoted = "".join(f"\\{c}" if c in "\\'" else c for c in text)
    return f"$'{escape_text(quoted)}'"


def csv_cell(value: object) -> str:
    """Format a cell of a CSV file. A text that a spreadsheet would run as a formula is prefixed with an apostrophe."""
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
    Escape the text fields of an attrs class (``field_transformer=escape_fields``), wherever its values come from.

    It applies to fields of type ``str``, ``tuple[str, ...]`` and ``dict[str, ...]`` without a converter of their own.
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
