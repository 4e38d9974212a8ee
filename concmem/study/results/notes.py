"""Notes on the cells of a study: why there is no figure, and remarks on figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from concmem.study.results.row import Row
from concmem.units import format_bytes, format_count

__all__ = ["Note", "notes_on", "numbered"]


@attrs.frozen
class Note:
    """
    A note on some cells of one program.

    Attributes:
        number: From 1, in order of appearance.
        program: The program's name.
        tasks: The numbers of tasks of these cells.
        text: The sentence.
    """

    number: int
    program: str
    tasks: tuple[int, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.program} at {', '.join(map(format_count, self.tasks))}: {self.text}"


def notes_on(
    programs: Iterable[tuple[str, Sequence[Row]]], planned_sleep_s: float, largest: Mapping[tuple[str, int], Row]
) -> list[Note]:
    """
    Return why cells have no figure, and remarks on those that have one. Equal sentences are one note.

    Args:
        programs: The programs with their rows, in the order of the notes.
        planned_sleep_s: How long the tasks had to sleep.
        largest: The row of the largest number of tasks that ran, by program and the number that could not run.
    """
    return numbered(
        (program, row.tasks, text)
        for program, program_rows in programs
        for row in program_rows
        for text in _remarks(row, planned_sleep_s, largest.get((program, row.tasks)))
    )


def numbered(texts: Iterable[tuple[str, int, str]]) -> list[Note]:
    """Return notes from program, number of tasks and sentence. Equal sentences on a program are one note."""
    found: dict[tuple[str, str], list[int]] = {}
    for program, tasks, text in texts:
        found.setdefault((program, text), []).append(tasks)
    return [Note(i, program, tuple(sizes), text) for i, ((program, text), sizes) in enumerate(found.items(), 1)]


def _busy_remark(row: Row) -> str:
    """Return a remark on runs that were made while the machine was busy, or ""."""
    if not row.busy_runs:
        return ""
    if row.is_busy:
        taken = f", which took up to {row.other_share:.0%} of the CPU time" if row.other_share else ""
        return f"the machine was busy with other work{taken}; the figure has no rank and is not used for claims"
    made = "made while the machine was busy with other work"
    if row.busy_runs == 1:
        return f"1 more run was {made}, and is not counted"
    return f"{row.busy_runs} more runs were {made}, and are not counted"


def _remarks(row: Row, planned_sleep_s: float, largest: Row | None) -> list[str]:
    remarks = []
    if row.status == "partly":
        remarks.append(f"{row.figure_runs} of {row.runs} runs have a figure; {row.reason}")
    elif row.reason:
        remarks.append(row.reason)
    if largest is not None and largest.median_bytes is not None:
        remarks.append(
            f"the largest number that ran is {format_count(largest.tasks)}, with {format_bytes(largest.median_bytes)}"
        )
    if busy := _busy_remark(row):
        remarks.append(busy)
    if row.is_wide and row.spread is not None:
        remarks.append(f"its runs range over {row.spread:.0%} of the median")
    if row.median_bytes is not None and row.sleep_s > planned_sleep_s:
        remarks.append(f"slept {row.sleep_s:g} s instead of {planned_sleep_s:g} s, so that all were alive at once")
    if row.flags:
        remarks.append(f"with {' '.join(row.flags)}")
    return [*remarks, *row.remarks]
