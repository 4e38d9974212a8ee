"""Numbered notes below a table, on a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from concmem.report.tables.markdown import escape
from concmem.study.results.notes import Note

__all__ = ["markdown_notes", "note_numbers", "terminal_notes"]


def note_numbers(notes: Sequence[Note], program: str, tasks: int) -> str:
    """Return the numbers of the notes on a cell: ``1,3``; "" if there are none."""
    return ",".join(str(note.number) for note in notes if note.program == program and tasks in note.tasks)


def terminal_notes(notes: Sequence[Note]) -> list[RenderableType]:
    """Return the notes and an empty line; nothing if there are no notes."""
    if not notes:
        return []
    listed = Table.grid(padding=(0, 1))
    listed.add_column(justify="right", style="dim", no_wrap=True)
    listed.add_column()
    for note in notes:
        listed.add_row(Text(f"[{note.number}]"), Text(str(note)))
    return [listed, ""]


def markdown_notes(notes: Sequence[Note]) -> list[str]:
    """Return a line for each note, and an empty line; nothing if there are no notes."""
    return [*(f"{note.number}. {escape(str(note))}" for note in notes), ""] if notes else []
