"""The table of a study: for a terminal and as Markdown."""

from __future__ import annotations

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from concmem.report.sentences import (
    STATUS_WORDS,
    errors_text,
    host_line,
    lift_line,
    method_line,
    missing_line,
)
from concmem.report.tables.extra import COST_HEAD, ExtraTable, cost_lines, cost_sentence, extra_tables
from concmem.report.tables.markdown import Markup, escape, table
from concmem.report.tables.note_list import markdown_notes, note_numbers, terminal_notes
from concmem.study import Row, Study
from concmem.study.results.notes import Note
from concmem.study.results.results import Results
from concmem.study.workloads import workload
from concmem.units import format_bytes, format_count, format_seconds

__all__ = ["markdown", "print_table", "terminal_table"]

_COMMON_COLUMNS = 80
"""The usual least width of a terminal."""


def _marks(found: list[Note], row: Row) -> str:
    numbers = note_numbers(found, row.program, row.tasks)
    return f"[{numbers}]" if numbers else ""


def _amount(row: Row) -> str:
    return row.status if row.median_bytes is None else format_bytes(row.median_bytes)


def _marked_amount(found: list[Note], row: Row) -> Markup:
    return Markup(escape(_amount(row)) + _superscript(_marks(found, row)))


def terminal_table(results: Results) -> RenderableType:
    """Return a table of peak memory, one column for each number of tasks, with notes below."""
    study, programs, found = results.study, results.by_memory, results.notes
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("program", no_wrap=True)
    widths = {}
    for tasks in study.plan.tasks:
        column = [row for _, program_rows in programs for row in program_rows if row.tasks == tasks]
        widths[tasks] = max((len(_marks(found, row)) for row in column), default=0)
        # Marks have their own column, so that the amounts line up.
        table.add_column(format_count(tasks) + " " * (widths[tasks] + bool(widths[tasks])), justify="right")
    for program, program_rows in programs:
        cells = []
        for row in program_rows:
            text = Text(_amount(row), style="" if row.median_bytes is not None else "yellow")
            if widths[row.tasks]:
                text.append(f" {_marks(found, row):{widths[row.tasks]}}", style="dim")
            cells.append(text)
        table.add_row(program, *cells)
    below = terminal_notes(found)
    every = [row for _, program_rows in programs for row in program_rows]
    ran = "Run by " + "; ".join(dict.fromkeys(row.toolchain for row in every if row.toolchain))
    for grid in extra_tables(results):
        below += [grid.heading, _plain_table(study, grid)]
    if costed := cost_lines(results):
        below += ["What a task costs", _cost_table(costed), Text(f"{cost_sentence()}."), ""]
    below += [Text(f"{line}.") for line in filter(None, (lift_line(study), method_line(every), ran, host_line(study)))]
    line = missing_line(study)
    incomplete: list[RenderableType] = [Text(f"{line}.", style="bold red"), ""] if line else []
    return Group(*incomplete, "Peak memory by number of tasks", table, *below)


def _plain_table(study: Study, grid: ExtraTable) -> Table:
    table = Table("program", box=box.SIMPLE_HEAD, pad_edge=False)
    for tasks in study.plan.tasks:
        table.add_column(format_count(tasks), justify="right")
    for program, texts in grid.lines:
        table.add_row(program, *texts)
    return table


def _in_two(text: str) -> str:
    return text.replace(" to ", " to\n").replace(" at ", " at\n")


def _cost_table(lines: list[tuple[str, ...]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for name in COST_HEAD:
        table.add_column(name, justify="left" if name == "program" else "right", no_wrap=name != "program")
    widths = [max(map(len, column)) + 2 for column in zip(COST_HEAD, *lines, strict=True)]
    for program, *texts in lines:
        # If the table is too wide for a terminal, break cells into two lines, before an amount and not within it.
        table.add_row(program, *(_in_two(text) if sum(widths) > _COMMON_COLUMNS else text for text in texts))
    return table


def print_table(study: Study | Results, console: Console) -> None:
    """Print `terminal_table`; plain text if the console is not a terminal."""
    console.print(terminal_table(Results.of(study)), highlight=False)


def markdown(results: Results) -> str:
    """Return the table with its notes, then how each figure was read, then the machine, as Markdown."""
    study, programs, found = results.study, results.by_memory, results.notes
    plan = study.plan
    out = ["# How much memory do N concurrent tasks need?", ""]
    if incomplete := missing_line(study):
        out += [f"**{escape(incomplete)}.**", ""]
    out += [
        f"Each program starts N {workload(plan.workload).title.format(seconds=plan.sleep_s)}. "
        f"Measured with concmem {escape(study.version)} from {escape(study.started_at)} on (seed {plan.seed}).",
        "",
        *table(
            ["program", "kind", *map(format_count, plan.tasks)],
            [[program, group[0].kind, *(_marked_amount(found, row) for row in group)] for program, group in programs],
            right=len(plan.tasks),
        ),
        "",
        *markdown_notes(found),
    ]
    if lift := lift_line(study):
        out += [f"{escape(lift)}.", ""]
    for grid in extra_tables(results):
        head = ["program", *map(format_count, plan.tasks)]
        out += [f"## {grid.heading}", ""]
        out += [*table(head, [[program, *texts] for program, texts in grid.lines], right=len(plan.tasks)), ""]
    if costed := cost_lines(results):
        out += ["## What a task costs", "", f"{cost_sentence()}.", ""]
        out += [*table(list(COST_HEAD), [list(line) for line in costed], right=len(COST_HEAD) - 1), ""]
    every = [row for _, group in programs for row in group]
    out += ["## What ran", ""]
    out += table(
        ["program", "title", "toolchain"],
        [[program, group[0].title, group[0].toolchain or "none"] for program, group in programs],
    )
    out += ["", "## How each figure was read", "", f"{escape(method_line(every))}.", ""]
    out += [
        f"- `{status}`: {words}."
        for status, words in STATUS_WORDS.items()
        if any(status in row.figure_statuses for row in every)
    ]
    out += [
        "",
        "The error says how far the truth may be from the figure: by how much it may be larger (plus sign), and by how "
        "much smaller (minus sign). Launching is the time until the program printed that all tasks were "
        "launched, including the start of its runtime.",
        "",
    ]
    good = [row for row in every if row.median_bytes is not None]
    out += table(
        ["program", "tasks", "peak", "range", "runs", "error", "status", "source", "launching", "wall"],
        [_reading(row) for row in good],
    )
    out += ["", "## The machine", "", f"{escape(host_line(study))}.", ""]
    limits = (f"{name} {value}" for name, value in study.host.limits.items() if value is not None)
    about = f"Transparent huge pages: {study.host.thp or 'unknown'}. Limits: {', '.join(limits) or 'unknown'}."
    out += [escape(about), ""]
    return "\n".join(out)


def _reading(row: Row) -> list[str]:
    assert row.min_bytes is not None and row.max_bytes is not None
    assert row.wall_s is not None and row.launch_s is not None
    ranged = f"{format_bytes(row.min_bytes)} to {format_bytes(row.max_bytes)}" if row.good_runs > 1 else ""
    return [
        row.program, format_count(row.tasks), _amount(row), ranged, str(row.good_runs), errors_text(row),
        row.figure_status, row.source, format_seconds(row.launch_s), format_seconds(row.wall_s),
    ]  # fmt: skip


def _superscript(marks: str) -> str:
    return f"<sup>{marks[1:-1]}</sup>" if marks else ""
