"""The table of figures and everything that lists figures have the same names, in the same order."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

import concmem
from concmem._figures.figure_source import UPPER_BOUNDS, FigureSource
from concmem._figures.table import FIGURES
from concmem.model import Figure, Measurement
from concmem.testing import TRUTHS

ROOT = Path(__file__).parent.parent
NAMES = list(FIGURES)


def test_a_measurement_has_all_figures() -> None:
    """Each entry is a typed attribute of `Measurement`, in the order of the table, and no other attribute is one."""
    kinds = {field.name: field.type for field in attrs.fields(Measurement)}
    assert [name for name, kind in kinds.items() if kind in (Figure, "Figure")] == NAMES
    m = concmem.measure(["/bin/true"])
    assert list(m.figures) == NAMES
    assert all(isinstance(m.to_dict()[name], dict) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_complete(name: str) -> None:
    """It has its own name, a text, and a known amount of every program, or of none."""
    entry = FIGURES[name]
    assert entry.name == name == entry.function.__name__
    assert entry.doc and not entry.doc.endswith(".")
    assert f"        {name}: " in (Measurement.__doc__ or "")
    known = [truth.bytes_of(name) is not None for truth in TRUTHS]
    assert any(known) == (entry.truth is not None)


def rows(path: str, heading: str) -> list[list[str]]:
    """Return the cells of the table in a page whose first column has this heading."""
    lines = (ROOT / path).read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    table = lines[start + 2 :]
    end = next((i for i, line in enumerate(table) if not line.startswith("|")), len(table))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[:end]]


def test_readme_has_the_table() -> None:
    """README's table has the texts of the entries. It may print words in bold."""
    found = [(row[0], row[1].replace("**", "")) for row in rows("README.md", "figure")]
    assert found == [(f"`{name}`", entry.doc) for name, entry in FIGURES.items()]


def test_the_docs_have_all_figures() -> None:
    """The page on the stored form lists them in this order; the page on how they are made has a row for each."""
    form = next(row for row in rows("docs/file-format.md", "key") if "`peak`" in row[0])
    assert re.findall(r"`(\w+)`", form[0]) == NAMES
    made = {re.findall(r"`(\w+)`", row[0])[0] for row in rows("docs/how-it-measures.md", "figure")}
    assert made == set(NAMES)


def test_sources_have_codes() -> None:
    """The text of each source leads back to its code, and no two codes have the same text."""
    assert [FigureSource.of(source.value) for source in FigureSource] == list(FigureSource)
    assert FigureSource.of("a text of a stored file") is None
    m = concmem.measure("true & true")
    for figure in m.figures.values():
        assert FigureSource.of(figure.source) is not None, figure
    assert m.tree_upper_bound.bytes is None or FigureSource.of(m.tree_upper_bound.source) in UPPER_BOUNDS
