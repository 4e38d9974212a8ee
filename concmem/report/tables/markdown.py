"""Tables and text as Markdown."""

from __future__ import annotations

from concmem._escaping import escape_text

__all__ = ["Markup", "escape", "table"]

_SPECIAL = frozenset("\\`*_<>[]&|~$")


def table(head: list[str], body: list[list[str]], *, right: int = 0) -> list[str]:
    """Return the lines of a table; its last `right` columns are right-aligned. Cells are escaped, except `Markup`."""
    rule = ["---"] * (len(head) - right) + ["--:"] * right
    return [_line(head), _line(rule), *(_line([_cell(text) for text in line]) for line in body)]


class Markup(str):
    """Text that is already Markdown, in which text from outside is escaped."""


def escape(text: str) -> str:
    """Escape a text, so that it shows unchanged: invisible characters, and markup of Markdown and HTML."""
    shown = escape_text(text)
    return "".join(f"\\{c}" if c in _SPECIAL and not _is_within_word(shown, i) else c for i, c in enumerate(shown))


def _is_within_word(text: str, at: int) -> bool:
    """Return whether a character is an underscore between letters or digits, which is not markup."""
    return text[at] == "_" and text[at - 1 : at].isalnum() and text[at + 1 : at + 2].isalnum()


def _line(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _cell(text: str) -> str:
    return text if isinstance(text, Markup) else escape(text)
