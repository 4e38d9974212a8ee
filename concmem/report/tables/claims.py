"""Tables of the article's claims with their verdicts, and of published figures."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import attrs
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from concmem.report.sentences import number_of
from concmem.report.tables.markdown import escape, table
from concmem.study import Published, Row, Source, Study, Verdict, published
from concmem.study.results.results import Results
from concmem.units import format_bytes, format_count

__all__ = [
    "Beside",
    "beside",
    "claims_json",
    "claims_markdown",
    "markdown_claims",
    "print_claims",
    "summary",
    "terminal_claims",
]

SCHEMA = 1
"""The version of the schema of `claims_json`."""
_STYLES = {"holds": "green", "does not hold": "red", "cannot be judged": "yellow"}
_METHOD = (
    "Each figure is compared as the range of its runs plus its known error. If these ranges allow both verdicts, the "
    "claim cannot be judged."
)
_OF_SEVERAL = {"holds": "hold", "does not hold": "do not hold"}


@attrs.frozen
class Beside:
    """
    A published figure and the comparable cell of a study.

    Attributes:
        published: The published figure.
        ours: The row of the program that does the same with as many tasks; None if the study has none.
    """

    published: Published
    ours: Row | None

    @property
    def ratio(self) -> float | None:
        """Our median over the published figure; None if one of them is missing."""
        if self.ours is None or self.ours.median_bytes is None or not self.published.bytes:
            return None
        return self.ours.median_bytes / self.published.bytes


def beside(study: Study | Results) -> list[Beside]:
    """Return every published figure, source by source, each with the comparable cell of this study."""
    results = Results.of(study)
    comparable = results.rows if results.study.plan.workload == "sleep" else []
    cells = {(row.program, row.tasks): row for row in comparable}
    return [Beside(figure, cells.get((figure.program or "", figure.tasks))) for figure in published()]


def summary(verdicts: Sequence[Verdict]) -> str:
    """Return how many claims hold, as a sentence without its period."""
    counts = {verdict: sum(each.verdict == verdict for each in verdicts) for verdict in _STYLES}
    parts = ", ".join(
        f"{count} {verdict if count == 1 else _OF_SEVERAL.get(verdict, verdict)}"
        for verdict, count in counts.items()
        if count
    )
    return f"{len(verdicts)} claims of the article: {parts}"


def terminal_claims(verdicts: Sequence[Verdict]) -> RenderableType:
    """Return each claim with verdict, finding and criterion; one line if no claim can be judged."""
    if all(each.verdict == "cannot be judged" for each in verdicts):
        return Text(f"{summary(verdicts)}.")
    listed = Table.grid(padding=(0, 2, 0, 0))
    listed.add_column(no_wrap=True)
    listed.add_column()
    for tasks, group in itertools.groupby(verdicts, key=lambda each: each.tasks):
        listed.add_row()
        listed.add_row(Text(number_of(tasks), "bold"))
        for each in group:
            listed.add_row(Text(each.verdict, _STYLES[each.verdict]), Text(each.claim, "bold"))
            listed.add_row("", Text(f"here: {each.found}"))
            listed.add_row("", Text(f"{_label(each)} {each.why}", "dim"))
            if each.version:
                listed.add_row("", Text(f"depends on the version: {each.version}", "dim"))
    return Group(f"{summary(verdicts)}.", listed)


def _label(verdict: Verdict) -> str:
    return "because" if verdict.verdict == "cannot be judged" else "holds if"


def _why(verdict: Verdict) -> str:
    return verdict.why + (f". Depends on the version: {verdict.version}" if verdict.version else "")


def print_claims(study: Study | Results, console: Console) -> None:
    """Print `terminal_claims`; plain text if the console is not a terminal."""
    console.print(terminal_claims(Results.of(study).verdicts), highlight=False)


def markdown_claims(verdicts: Sequence[Verdict]) -> str:
    """Return the claims as a section with one table."""
    lines = ["## What the article claims, and what holds here", "", f"{summary(verdicts)}. {_METHOD}", ""]
    lines += table(
        ["tasks", "claim", "verdict", "found here", "holds if, or why it cannot be judged"],
        [
            [format_count(v.tasks), v.claim, v.verdict, v.found, _why(v)]
            for v in verdicts
        ],
    )  # fmt: skip
    return "\n".join([*lines, ""])


def markdown_beside(figures: Sequence[Beside]) -> str:
    """Return published figures as a section with one table for each source."""
    lines = [
        "## What others published",
        "",
        "In brackets: the median of the same program here, divided by the published figure.",
        "",
    ]
    for source, group in itertools.groupby(figures, key=lambda each: each.published.source):
        lines += [*_source(source), "", *_source_table(list(group)), ""]
    return "\n".join(lines)


def _source(source: Source) -> list[str]:
    about = f"{source.machine}; {source.versions}; {source.method}. Unit: {source.unit}; {source.unit_why}."
    return [f"### {escape(source.name)}", "", f"[{escape(source.title)}]({source.address}). {escape(about)}"]


def _source_table(figures: Sequence[Beside]) -> list[str]:
    counts = list(dict.fromkeys(each.published.tasks for each in figures))
    body = []
    for there, group in itertools.groupby(figures, key=lambda each: each.published.there):
        figures_there = list(group)
        first = figures_there[0].published
        body.append([there, first.program or f"none: {first.differs}", *map(_shown, figures_there)])
    return table(["there", "here", *map(format_count, counts)], body, right=len(counts))


def _shown(each: Beside) -> str:
    if each.published.bytes is None:
        return each.published.reason
    return format_bytes(each.published.bytes) + (f" ({each.ratio:.2f})" if each.ratio is not None else "")


def claims_markdown(results: Results) -> str:
    """Return claims and published figures as a document."""
    return "\n".join(
        ["# The article's claims, and what others published", "", markdown_claims(results.verdicts),
         markdown_beside(beside(results))]
    )  # fmt: skip


def claims_json(results: Results) -> str:
    """Return claims and published figures as JSON."""
    figures = beside(results)
    sources = dict.fromkeys(each.published.source for each in figures)
    content = {
        "what": "concmem claims",
        "schema": SCHEMA,
        "claims": [attrs.asdict(verdict) for verdict in results.verdicts],
        "sources": [attrs.asdict(source) for source in sources],
        "published": [_record(each) for each in figures],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _record(each: Beside) -> dict[str, Any]:
    ours_bytes = each.ours.median_bytes if each.ours is not None else None
    record = attrs.asdict(each.published) | {"source": each.published.source.key}
    return record | {"ours_bytes": ours_bytes, "ratio": each.ratio}
