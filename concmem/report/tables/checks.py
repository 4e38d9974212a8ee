"""The texts of a gate: its table, and Markdown for the summary of a CI job."""

from __future__ import annotations

from concmem.comparison.change import percentages
from concmem.comparison.gate import CheckResult, Gate
from concmem.comparison.result import amount_text
from concmem.report.tables.markdown import escape, table

__all__ = ["COLUMNS", "cells", "checks_markdown", "heading"]

COLUMNS = ("check", "baseline", "now", "change", "interval", "limit", "verdict")

_WORDS = {
    "ok": "ok",
    "larger": "larger",
    "undecided": "undecided",
    "no_baseline": "no baseline",
    "other_machine": "other machine",
    "failed": "failed",
    "updated": "written",
}
_MARKS = {"ok": "\N{WHITE HEAVY CHECK MARK}", "updated": "\N{WHITE HEAVY CHECK MARK}", "larger": "\N{CROSS MARK}"}
_OTHER_MARK = "\N{WARNING SIGN}\ufe0f"


def cells(each: CheckResult) -> tuple[str, ...]:
    """Return the cells of a check in the columns `COLUMNS`."""
    figure, median = each.result.figure, each.result.median
    was = "" if each.baseline is None else amount_text(each.baseline.figure, each.baseline.sample.median)
    ratio = None if each.change is None else each.change.ratio
    change = interval = ""
    if ratio is not None:
        change = f"{percentages(ratio.value)} %"
        interval = "" if ratio.low is None or ratio.high is None else f"{percentages(ratio.low, ratio.high)} %"
    return (
        each.name,
        was,
        "" if median is None else amount_text(figure, median.value),
        change,
        interval,
        f"{percentages(1 + each.fail_above)} %",
        _WORDS[each.verdict],
    )


def heading(gate: Gate) -> str:
    """Return the outcome of all checks in a few words."""
    counts: dict[str, int] = {}
    for each in gate.results:
        counts[_WORDS[each.verdict]] = counts.get(_WORDS[each.verdict], 0) + 1
    several = "s" if len(gate.results) > 1 else ""
    return f"{len(gate.results)} check{several}: {', '.join(f'{count} {word}' for word, count in counts.items())}"


def checks_markdown(gate: Gate) -> str:
    """Return the results as Markdown."""
    body = [[*cells(each)[:-1], f"{_MARKS.get(each.verdict, _OTHER_MARK)} {cells(each)[-1]}"] for each in gate.results]
    out = ["### Memory", "", f"{escape(heading(gate))}.", "", *table(list(COLUMNS), body), ""]
    out += [f"- {escape(each.sentence)}." for each in gate.results]
    return "\n".join([*out, ""])
