"""Tables and text as Markdown."""

from __future__ import annotations

__all__ = ["escape", "table"]


def table(head: list[str], body: list[list[str]], *, right: int = 0) -> list[str]:
    """The lines of a table, its last `right` columns set to the right."""
    rule = ["---"] * (len(head) - right) + ["--:"] * right
    return [_line(head), _line(rule), *(_line([_cell(text) for text in line]) for line in body)]


def escape(text: str) -> str:
    """A text that shows as it is."""
    return "".join(f"\\{c}" if c in "\\`*_<>[]" else c for c in text)


def _line(texts: list[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
