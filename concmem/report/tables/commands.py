"""The texts of a comparison of commands: the columns of its table, the sentences below it, and Markdown."""

from __future__ import annotations

from concmem.comparison.change import Estimate
from concmem.comparison.result import CommandResult, Comparison, amount_text
from concmem.report.tables.markdown import escape, table
from concmem.units import format_count, format_seconds

__all__ = ["COLUMNS", "ahead", "below", "cells", "commands_markdown", "findings", "span_text"]

COLUMNS = ("median", "interval", "range", "ratio", "time", "CPU")


def span_text(figure: str, low: float, high: float) -> str:
    """Return two amounts as ``119 to 121 MiB``, or as ``900 KiB to 1.20 MiB``."""
    one, other = amount_text(figure, low), amount_text(figure, high)
    if one == other:
        return one
    (number, _, unit), (_, _, other_unit) = one.partition(" "), other.partition(" ")
    return f"{number} to {other}" if unit and unit == other_unit else f"{one} to {other}"


def cells(comparison: Comparison, result: CommandResult) -> tuple[str, ...]:
    """Return the cells of a command in the columns `COLUMNS`."""
    figure, median, values = comparison.figure, result.median, result.sample.values
    if median is None:
        return ("failed", *[""] * (len(COLUMNS) - 1))
    interval = "" if median.low is None or median.high is None else span_text(figure, median.low, median.high)
    return (
        amount_text(figure, median.value),
        interval,
        span_text(figure, min(values), max(values)) if len(values) > 1 else "",
        _ratio(comparison, result),
        format_seconds(result.wall_s or 0),
        format_seconds(result.cpu_s or 0),
    )


def _ratio(comparison: Comparison, result: CommandResult) -> str:
    if len(comparison.results) < 2:
        return ""
    if result.name == comparison.reference:
        return "1"
    ratio = result.over(comparison.reference).ratio
    if ratio is None:
        return ""
    digits = 1 if ratio.value >= 9.95 else 2
    span = "" if ratio.low is None else f" ({ratio.low:.{digits}f}-{ratio.high:.{digits}f})"
    return f"{ratio.value:.{digits}f}{span}"


def ahead(comparison: Comparison) -> str:
    """Return what was compared, how often and in which order, in one line."""
    counts = sorted({len(each.runs) for each in comparison if not each.stopped} or {1})
    many = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[-1])
    runs = f"{many} run{'' if counts[-1] == 1 else 's'} of each command"
    of = "wall time" if comparison.figure == "wall" else "peak memory"
    name = "" if comparison.figure in ("peak", "wall") else f" ({comparison.figure})"
    order = "in turn, in random order" if comparison.interleaved else "one command after the other"
    return f"{of}{name}, {runs}" + (f", {order} (seed {comparison.seed})" if len(comparison.results) > 1 else "")


def findings(comparison: Comparison) -> list[str]:
    """Return the outcome: a sentence for each command against the reference, and for each scan."""
    slopes = [str(each) for each in comparison.slopes]
    # With a scan, its line says it all, unless it has no line.
    changes = [] if slopes else [f"{each}." for each in comparison.changes if each.verdict != "no_figure"]
    return [*changes, *(f"{each}." for each in slopes)]


def below(comparison: Comparison) -> list[str]:
    """Return what a reader must know of the figures: failures, outliers, and how sure the intervals are."""
    lines = [f"{each}." for each in comparison.failures]
    for each in comparison:
        lines += [
            f"outlier: run {format_count(run.position + 1)}, {each.name}, "
            f"{amount_text(comparison.figure, run.value or 0)}; it counts like the others."
            for run in each.outliers
        ]
    if comparison.figure == "peak" and any(each.verdict == "within_error" for each in comparison.changes):
        lines.append("The error of largest_peak_rss, the largest process alone, is smaller (--figure).")
    if not comparison.interleaved:
        lines.append("The commands did not take turns, because setup or cleanup differ between them.")
    medians = [each.median for each in comparison if each.median is not None]
    ratios = [each.ratio for each in comparison.changes if each.ratio is not None]
    if known := [each for each in medians if each.confidence is not None]:
        said = f"The interval holds the true median in {_confidence(known)} of such comparisons"
        if also := [each for each in ratios if each.confidence is not None]:
            said += f", that of a ratio the true ratio in {_confidence(also)}"
        lines.append(f"{said}." if comparison.figure == "wall" else f"{said}; the errors of the figures are inside.")
    if any(run.status == "sampled" for each in comparison for run in each.good):
        lines.append(
            f"{comparison.figure} is the largest reading: how much more it was is unknown, and in no interval."
        )
    return lines


def _confidence(estimates: list[Estimate]) -> str:
    shown = sorted({f"{(each.confidence or 0) * 100:.0f}" for each in estimates}, key=float)
    return f"{shown[0]} %" if len(shown) == 1 else f"{shown[0]} to {shown[-1]} %"


def commands_markdown(comparison: Comparison) -> str:
    """Return a comparison as Markdown: the table, the outcome, and notes."""
    several = len(comparison.results) > 1
    columns = [name for name in COLUMNS if several or name != "ratio"]
    body = []
    for each in comparison:
        texts = dict(zip(COLUMNS, cells(comparison, each), strict=True))
        body.append([each.name, *(texts[name] for name in columns)])
    out = [*table(["command", *columns], body, right=len(columns)), ""]
    out += [f"- {escape(line)}" for line in (*findings(comparison), *below(comparison))]
    return "\n".join([*out, "", f"{escape(ahead(comparison))}.", ""])
