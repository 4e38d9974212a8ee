"""The report is laid out as Rich would do it, without importing Rich."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from concmem.cli._layout import Layout, _column_widths, table_lines, wrap

settings.register_profile("suite", derandomize=True, database=None, deadline=None)
settings.load_profile("suite")
WORDS = st.text("ab-c, \u00e9\u2588\u65e5\u672c\U0001f600", max_size=30)
CELLS = st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=5)


def console(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False)


def lines_of(rich: Console) -> list[str]:
    assert isinstance(rich.file, io.StringIO)
    return [line.rstrip() for line in rich.file.getvalue().split("\n")[:-1]]


@given(WORDS, st.integers(2, 40))
@example("a word " + "x" * 50 + " and more", 20)
@example("two\nlines\tand a tab", 9)
@example("", 10)
def test_words_are_wrapped_as_by_rich(text: str, width: int) -> None:
    """Words keep together where they fit, longer ones are cut, and wide characters count twice."""
    rich = console(width)
    rich.print(text)
    assert wrap(text, width) == lines_of(rich)


def by_rich(rows: Sequence[Sequence[str]], width: int, has_titles: bool) -> list[str]:
    rich = console(width)
    table = Table(box=None, pad_edge=False, show_header=has_titles, padding=(0, 2, 0, 0))
    titles, body = (rows[0], rows[1:]) if has_titles else (("", "", ""), rows)
    table.add_column(titles[0], no_wrap=True)
    table.add_column(titles[1], no_wrap=True, justify="right")
    table.add_column(titles[2], overflow="fold")
    for row in body:
        table.add_row(*row)
    rich.print(table)
    return lines_of(rich)


@given(CELLS, st.integers(20, 90), st.booleans())
def test_tables_are_those_of_rich(rows: list[tuple[str, str, str]], width: int, has_titles: bool) -> None:
    """The last column is wrapped, the others are aligned and cut if the table is too narrow."""
    rows = [(first.strip(), second.strip(), last.strip()) for first, second, last in rows]
    assume(_column_widths(rows, width)[-1] != 1)  # Rich leaves out what takes two cells there
    shown = table_lines(rows, width, right=(1,), has_titles=has_titles)
    assert [line.rstrip() for lines in shown for line in lines] == by_rich(rows, width, has_titles)


@pytest.mark.parametrize(
    ("environment", "is_bold"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": ""}, False),
        ({"TTY_COMPATIBLE": "1"}, True),
        ({"FORCE_COLOR": "1", "TTY_COMPATIBLE": "0"}, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False),
    ],
    ids=str,
)
def test_styles_and_width_are_those_of_rich(
    environment: dict[str, str], is_bold: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same variables of the environment decide."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TERM", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"COLUMNS": "100", "TERM": "xterm", **environment}.items():
        monkeypatch.setenv(name, value)
    stream = io.StringIO()
    layout, rich = Layout(stream, 120), Console(file=io.StringIO())
    assert layout.width == rich.width == 100
    layout.text("bold", bold=True)
    rich.print("bold", style="bold")
    assert isinstance(rich.file, io.StringIO)
    assert str(layout) == rich.file.getvalue() == ("\x1b[1mbold\x1b[0m\n" if is_bold else "bold\n")
