"""The text of a comparison: the finding, the two studies, all cells, and notes on cells."""

from __future__ import annotations

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from concmem._escaping import escape_text
from concmem.report.sentences import host_line
from concmem.report.tables.markdown import Markup, escape, table
from concmem.report.tables.note_list import markdown_notes, note_numbers, terminal_notes
from concmem.study import Row
from concmem.study.results.comparison import Comparison, Pair, sleep_difference
from concmem.study.results.notes import Note, numbered
from concmem.units import format_bytes, format_count

__all__ = ["comparison_markdown", "finding", "print_comparison"]

_LARGE = 10_000
_METHOD = (
    "B/A is the ratio of the medians. Its interval is that of the exact permutation test of rank sums, with the errors "
    "of the figures; behind it, how often such an interval holds the true ratio: three runs against three allow 90 %. "
    "B is the same if the interval contains 1, or if the medians differ by at most 10 % of the smaller one. A dash "
    "means that the cell is not in the study's plan."
)


def finding(comparison: Comparison) -> str:
    """Return the outcome in a few sentences."""
    pairs = [pair for pair in comparison.pairs if pair.ratio is not None]
    first = _far(pairs) if pairs else "No cell has a figure in both studies."
    return " ".join(filter(None, (first, _far_of_large(pairs), _alone(comparison))))


def _far(pairs: list[Pair]) -> str:
    far = [pair for pair in pairs if pair.is_far]
    whole = f"{len(far) or 'None'} of {len(pairs)} cells {'differ' if len(far) > 1 else 'differs'} by more than 10 %"
    counts = {
        "more": sum(pair.verdict == "more" for pair in far),
        "less": sum(pair.verdict == "less" for pair in far),
        "within the scatter of the runs": sum(pair.verdict == "same" for pair in far),
    }
    parts = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{whole}: {parts}." if parts else f"{whole}."


def _far_of_large(pairs: list[Pair]) -> str:
    large = [pair for pair in pairs if pair.tasks >= _LARGE]
    if not large:
        return ""
    far = [pair for pair in large if pair.is_far]
    unexplained = sum(pair.reason_code == "unexplained" for pair in far)
    reasons = f", {unexplained} of them unexplained" if unexplained else ", all with a known reason" if far else ""
    return f"With {format_count(_LARGE)} tasks or more: {len(far) or 'none'} of {len(large)}{reasons}."


def _alone(comparison: Comparison) -> str:
    alone = sum((_has(pair.a), _has(pair.b)) in ((True, False), (False, True)) for pair in comparison.pairs)
    return f"{alone} {'cells have' if alone > 1 else 'cell has'} a figure in only one study." if alone else ""


def _has(row: Row | None) -> bool:
    return row is not None and row.median_bytes is not None


def _about(comparison: Comparison) -> list[str]:
    """Return what the studies are, and how they and their machines differ."""
    both = (("A", comparison.a), ("B", comparison.b))
    lines = [
        f"{name} is {escape_text(str(study.path))}, begun {study.started_at} with concmem {study.version}."
        for name, study in both
    ]
    machines = {name: host_line(study) for name, study in both}
    if machines["A"] == machines["B"]:
        machines = {"Both": machines["A"]}
    lines += [f"{name} on {machine}." for name, machine in machines.items()]
    if comparison.differences:
        lines.append(f"Differences: {'; '.join(map(str, comparison.differences))}.")
    return lines


def _notes(comparison: Comparison) -> list[Note]:
    """Return notes on cells that do not concern the whole studies. Equal sentences on a program are one note."""
    planned = sleep_difference(comparison.a.plan.sleep_s, comparison.b.plan.sleep_s)
    return numbered(
        (pair.program, pair.tasks, text)
        for pair in comparison.pairs
        if pair.a is not None and pair.b is not None and (_has(pair.a) or _has(pair.b))
        for text in filter(None, (*(str(each) for each in pair.unlike if each != planned), pair.reason))
    )


_HEAD = ["program", "tasks", "A", "B", "B/A", "interval", "B is"]


def _cells(pair: Pair) -> list[str]:
    def amount(row: Row | None) -> str:
        if row is None:
            return "-"
        return row.status if row.median_bytes is None else format_bytes(row.median_bytes)

    ranged = ""
    if pair.ratio_low is not None:
        ranged = f"{pair.ratio_low:.2f}-{pair.ratio_high:.2f} ({pair.ratio_confidence:.0%})"
    return [
        pair.program,
        format_count(pair.tasks),
        amount(pair.a),
        amount(pair.b),
        "" if pair.ratio is None else f"{pair.ratio:.2f}",
        ranged,
        pair.verdict or "",
    ]


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a comparison; plain text if the console is not a terminal."""
    found = _notes(comparison)
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for i, name in enumerate(_HEAD):
        shown.add_column(name, justify="right" if 0 < i < 5 else "left", no_wrap=i > 0, overflow="fold")
    shown.add_column("", style="dim", no_wrap=True)
    before = ""
    for pair in comparison.pairs:
        program, *rest = _cells(pair)
        numbers = note_numbers(found, pair.program, pair.tasks)
        shown.add_row(
            "" if program == before else program,
            *rest,
            Text(f"[{numbers}]" if numbers else ""),
            style="yellow" if pair.verdict in ("more", "less") else None,
        )
        before = program
    about = [Text(line) for line in _about(comparison)]
    outcome = Text(finding(comparison), style="bold")
    console.print(Group(outcome, "", *about, "", shown, "", *terminal_notes(found), _METHOD), highlight=False)


def comparison_markdown(comparison: Comparison) -> str:
    """Return a comparison as Markdown."""
    found = _notes(comparison)
    body = []
    for pair in comparison.pairs:
        cells = _cells(pair)
        if numbers := note_numbers(found, pair.program, pair.tasks):
            cells[-1] = Markup(f"{escape(cells[-1])}<sup>{numbers}</sup>")
        body.append(cells)
    out = ["# Two studies compared", "", escape(finding(comparison)), ""]
    out += [f"- {escape(line)}" for line in _about(comparison)]
    out += ["", *table(_HEAD, body), "", *markdown_notes(found)]
    return "\n".join([*out, _METHOD, ""])
