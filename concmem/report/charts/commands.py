"""A comparison of commands as a chart: bars with whiskers, or a curve over a parameter that has numbers as values."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from concmem.comparison.candidates import number
from concmem.comparison.result import CommandResult, Comparison, amount_text
from concmem.report.charts.base import need_extra
from concmem.report.charts.measurement import InScript
from concmem.report.tables.commands import ahead, findings

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["chart", "html", "need_extra", "png", "svg"]

_COLOUR, _WHISKER = "#0072B2", "#222222"
_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_STEP = 34
_MOST_LINES = 4


def _data(comparison: Comparison, unit: float) -> Iterator[dict[str, Any]]:
    for each in comparison:
        median = each.median
        if median is None:
            continue
        values = each.sample.values
        yield {
            "name": each.name,
            "amount": median.value / unit,
            "low": min(values) / unit,
            "high": max(values) / unit,
            "label": amount_text(comparison.figure, median.value),
        }


def _scanned(comparison: Comparison) -> str:
    """Return the parameter of a curve: the only one, with numbers as values, of one command; else ""."""
    slopes = comparison.slopes
    return slopes[0].parameter if len(slopes) == 1 and len(comparison.results[0].parameters) == 1 else ""


def chart(comparison: Comparison) -> Any:
    """
    Return the chart of a comparison.

    Raises:
        ReportExtraMissing: Altair is not installed.
    """
    alt = need_extra()
    top = max((max(each.sample.values) for each in comparison if each.good), default=1.0)
    unit, size = "s", 1.0
    if comparison.figure != "wall":
        unit, size = next(((name, size) for name, size in _UNITS if top >= size), ("B", 1))
    title = f"{'time' if comparison.figure == 'wall' else comparison.figure} [{unit}]"
    data = list(_data(comparison, size))
    parameter = _scanned(comparison)
    layers = _curve(alt, comparison, data, parameter, title, size) if parameter else _bars(alt, data, title)
    said = findings(comparison)[:_MOST_LINES]
    heading = alt.TitleParams(said[0] if said else ahead(comparison), subtitle=[*said[1:], ahead(comparison)])
    heading.anchor, heading.subtitleColor = "start", "#555555"
    height = 320 if parameter else _STEP * max(1, len(data))
    return alt.layer(*layers).properties(width=620, height=height, title=heading, background="white")


def _bars(alt: Any, data: list[dict[str, Any]], title: str) -> list[Any]:
    on = alt.Chart(alt.Data(values=data)).encode(
        y=alt.Y("name:N", sort=[datum["name"] for datum in data], title=None, axis=alt.Axis(labelLimit=260))
    )
    top = max((datum["high"] for datum in data), default=1.0) * 1.15
    scale = alt.Scale(domain=[0, top])
    return [
        on.mark_bar(color=_COLOUR, opacity=0.7, height=16).encode(x=alt.X("amount:Q", title=title, scale=scale)),
        on.mark_rule(color=_WHISKER, strokeWidth=1.5).encode(x="low:Q", x2="high:Q"),
        on.mark_tick(color=_WHISKER, height=9).encode(x="low:Q"),
        on.mark_tick(color=_WHISKER, height=9).encode(x="high:Q"),
        on.mark_text(align="left", dx=7, color=_WHISKER).encode(x="high:Q", text="label:N"),
    ]


def _curve(
    alt: Any, comparison: Comparison, data: list[dict[str, Any]], parameter: str, title: str, unit: float
) -> list[Any]:
    by_name: dict[str, CommandResult] = {each.name: each for each in comparison}
    points = [{**datum, "at": number(by_name[datum["name"]].parameters[parameter])} for datum in data]
    line = comparison.slopes[0].line
    ends = [
        {"at": at, "amount": (line.floor + line.each * at) / unit} for at in (min(0.0, line.units[0]), line.units[-1])
    ]
    x, y = alt.X("at:Q", title=parameter), alt.Y("amount:Q", title=title)
    on = alt.Chart(alt.Data(values=points)).encode(x=x)
    return [
        alt.Chart(alt.Data(values=ends)).mark_line(color=_COLOUR, strokeDash=[5, 3], opacity=0.7).encode(x=x, y=y),
        on.mark_rule(color=_WHISKER, strokeWidth=1.5).encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
        on.mark_point(color=_COLOUR, filled=True, size=55, opacity=1).encode(y=y),
    ]


def svg(comparison: Comparison) -> str:
    """Return the chart of a comparison as SVG."""
    text = io.StringIO()
    chart(comparison).save(text, format="svg")
    return text.getvalue()


def png(comparison: Comparison) -> bytes:
    """Return the chart of a comparison as PNG."""
    binary = io.BytesIO()
    chart(comparison).save(binary, format="png", scale_factor=2)
    return binary.getvalue()


def html(comparison: Comparison) -> str:
    """Return the chart of a comparison as a page that needs no network."""
    text = io.StringIO()
    chart(comparison).save(text, format="html", inline=True, json_kwds={"cls": InScript})
    return text.getvalue()
