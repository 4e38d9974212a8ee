"""One bar per program: memory with the same number of tasks, and published figures beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from concmem.report.charts.bar_texts import REASON_LINES, cut, instead, label
from concmem.report.charts.base import CROSS, FITTING, configured, need_extra
from concmem.report.charts.theme import Theme, language_colours
from concmem.study import Published, Row, published
from concmem.study.results.results import Results
from concmem.units import format_bytes

__all__ = ["ABOVE", "BESIDE", "Layout", "bar_chart", "in_order", "marks_elsewhere"]

_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_ELSEWHERE = {
    "pkolaczk-2023": ("diamond", "\N{WHITE DIAMOND}"),
    "hez2010-take-1": ("triangle-up", "\N{WHITE UP-POINTING TRIANGLE}"),
    "hez2010-take-2": ("circle", "\N{WHITE CIRCLE}"),
}
"""The published sources that charts show, the article and its follow-up, with their marks in charts and text."""
_NEAR = 1.5
"""Published figures up to so many times our largest widen the axis; larger ones are text at its end."""
_REASON_STEP = 13


@attrs.frozen
class Layout:
    """
    The places of the parts of a bar's row, in pixels; vertical ones from the middle of the row.

    Attributes:
        width: The width of the bars, or "container".
        step: The distance of two rows.
        beside: Whether the program's name is beside the bar, or above it.
        name_y, below_y: The name, and the toolchain.
        bar_y, bar: The bar, and its thickness.
        lane_y: The marks of published figures.
        reason_y: The middle of the reason in place of a bar.
        columns: The length of the longest line of a reason.
    """

    width: int | str
    step: int
    beside: bool
    name_y: int
    below_y: int
    bar_y: int
    bar: int
    lane_y: int
    reason_y: int
    columns: int


BESIDE = Layout(560, 46, True, -7, 8, -4, 22, 14, 0, 100)
"""For a separate file."""
ABOVE = Layout("container", 62, False, -22, -22, -5, 16, 11, 8, 56)
"""For a page, which may be as narrow as a phone."""


def in_order(of_one_size: Sequence[Row]) -> list[Row]:
    """Return rows, least memory first; then those of a busy machine only; then those without a figure."""
    return sorted(of_one_size, key=lambda row: (not row.has_rank, row.median_bytes or float("inf")))


def bar_chart(results: Results, of_one_size: Sequence[Row], layout: Layout, theme: Theme, **title: Any) -> Any:
    """
    Return the chart. A program that failed has the reason in place of its bar.

    Args:
        results: The results of the study.
        of_one_size: Its rows with one number of tasks.
        layout: The places of names and texts.
        theme: The colours.
        title: ``title`` and ``subtitle`` of the chart, if it has them.
    """
    altair = need_extra()
    ordered = in_order(of_one_size)
    largest = max((row.max_bytes or 0 for row in ordered), default=0)
    scale, unit = next((u for u in _UNITS if largest >= u[0]), _UNITS[-1])
    shown = [
        _datum(row, scale, results.study.plan.sleep_s, layout.columns, results.largest_of.get((row.program, row.tasks)))
        for row in ordered
    ]
    good = [datum for datum in shown if "peak" in datum]
    bad = [datum for datum in shown if "instead" in datum]
    elsewhere = _elsewhere(results, ordered, scale)
    end = max([largest / scale, *(each["peak"] for each in elsewhere if each["peak"] * scale <= largest * _NEAR)]) * 1.1
    draw = _Drawing(
        altair, theme, layout, altair.Y("program:N", sort=[row.program for row in ordered], axis=None),
        altair.Axis(title=f"peak memory, {unit}", tickCount=6, tickSize=4) if good else None,
        altair.Scale(domain=[0, end or 1], nice=False),
    )  # fmt: skip
    layers = [
        *draw.names(shown),
        *(
            draw.amounts(good, language_colours((row.language for row in results.rows), theme), bool(elsewhere))
            if good
            else []
        ),
        *(draw.published([e for e in elsewhere if e["peak"] <= end], [e for e in elsewhere if e["peak"] > end])),
        *draw.failures(bad),
    ]
    chart = altair.layer(*layers).properties(width=layout.width, height=layout.step * len(ordered))
    if not layout.beside:
        chart = chart.properties(autosize=FITTING)
    if title:
        own = altair.TitleParams(
            title["title"], subtitle=title["subtitle"], anchor="start", frame="bounds", fontSize=16,
            subtitleFontSize=11, offset=14,
        )  # fmt: skip
        chart = chart.properties(title=own, padding=16)
    return configured(chart, theme)


def marks_elsewhere(results: Results) -> list[tuple[str, str]]:
    """Return the marks of published figures in a study's charts, as text, each with its source."""
    found = ((_ELSEWHERE[each.source.key][1], each.source.name) for each in _published(results, results.rows))
    return list(dict.fromkeys(found))


def _published(results: Results, among: Sequence[Row]) -> list[Published]:
    """Return the published figures for those rows that have a figure, oldest first."""
    here = {(row.program, row.tasks) for row in among if row.median_bytes and results.study.plan.workload == "sleep"}
    known = (each for each in published() if each.bytes and each.source.key in _ELSEWHERE)
    return [each for each in known if (each.program, each.tasks) in here]


def _elsewhere(results: Results, ordered: Sequence[Row], scale: int) -> list[dict[str, Any]]:
    return [
        {
            "program": each.program,
            "peak": (each.bytes or 0) / scale,
            "by": each.source.name,
            "mark": _ELSEWHERE[each.source.key][0],
            "far": f"{format_bytes(each.bytes or 0)} in {each.source.name}",
            "tooltip": f"{format_bytes(each.bytes or 0)} in {each.source.name}, as {each.there}",
        }
        for each in _published(results, ordered)
    ]


@attrs.frozen
class _Drawing:
    """The layers of one chart."""

    altair: Any
    theme: Theme
    layout: Layout
    y: Any
    axis: Any
    scale: Any

    def _x(self, field: str) -> Any:
        # Not stacked: a stack gets a clip path with a number that depends on what the process has drawn before.
        return self.altair.X(f"{field}:Q", axis=self.axis, scale=self.scale, stack=None)

    def _on(self, data: list[dict[str, Any]], **named: str) -> Any:
        return self.altair.Chart(self.altair.Data(values=data), **named).encode(y=self.y)

    def _text(self, data: list[dict[str, Any]], field: str, **mark: Any) -> Any:
        chart = self._on(data).mark_text(**{"baseline": "middle", "lineBreak": "\n", **mark})
        return chart.encode(text=f"{field}:N", tooltip="tooltip:N")

    def names(self, shown: list[dict[str, Any]]) -> list[Any]:
        """Return the texts of programs and toolchains."""
        if self.layout.beside:
            name = below = {"align": "right", "x": -10}
        else:
            name = {"align": "left", "x": 0}
            right = self.altair.ExprRef("width")
            below = {"align": "right", "x": right, "limit": self.altair.ExprRef("max(60, width - 160)")}
        return [
            self._text(shown, "title", dy=self.layout.name_y, fontSize=13, color=self.theme.ink, **name),
            self._text(shown, "below", dy=self.layout.below_y, fontSize=10, color=self.theme.pale, **below),
        ]

    def amounts(self, good: list[dict[str, Any]], colours: dict[str, str], has_lane: bool) -> list[Any]:
        """Return bars with their amounts, and lines for the range of the runs."""
        # Without published figures, the bar takes their place, too.
        y, thick = (self.layout.bar_y, self.layout.bar) if has_lane else (self.layout.bar_y + 4, self.layout.bar + 8)
        scale = self.altair.Scale(domain=list(colours), range=list(colours.values()))
        colour = self.altair.Color("language:N", legend=None, scale=scale)
        bar = self._on(good, name="bars").mark_bar(cornerRadiusEnd=2, size=thick, yOffset=y)
        layers = [
            bar.encode(x=self._x("peak"), color=colour, tooltip="tooltip:N"),
            self._text(good, "label", align="left", dx=8, dy=y, fontSize=12, color=self.theme.ink).encode(
                x=self._x("most")
            ),
        ]
        if ranged := [datum for datum in good if datum["ranged"]]:
            line = {"color": self.theme.ink, "yOffset": y}
            rule = self._on(ranged).mark_rule(strokeWidth=1.5, **line)
            layers.append(rule.encode(x=self._x("least"), x2="most:Q"))
            layers += [
                self._on(ranged).mark_tick(thickness=1.5, size=thick * 0.4, **line).encode(x=self._x(field))
                for field in ("least", "most")
            ]
        return layers

    def published(self, near: list[dict[str, Any]], beyond: list[dict[str, Any]]) -> list[Any]:
        """Return faint marks below the bars; figures beyond the axis are text at its end."""
        layers = []
        if near or beyond:
            marks = {each["by"]: each["mark"] for each in (*near, *beyond)}
            # On a page all charts share one legend.
            beside = self.altair.Legend(title="Published elsewhere:", orient="bottom", titleOrient="left")
            legend = beside if self.layout.beside else None
            scale = self.altair.Scale(domain=list(marks), range=list(marks.values()))
            points = self._on(near).mark_point(
                size=32, strokeWidth=1.2, yOffset=self.layout.lane_y, color=self.theme.pale, filled=False
            )
            shape = self.altair.Shape("by:N", scale=scale, legend=legend)
            layers.append(points.encode(x=self._x("peak"), shape=shape, tooltip="tooltip:N"))
        if beyond:
            texts: dict[str, list[str]] = {}
            for each in beyond:
                texts.setdefault(each["program"], []).append(each["far"])
            arrow = "\N{RIGHTWARDS ARROW}"
            written = [{"program": name, "far": f"{'; '.join(found)} {arrow}"} for name, found in texts.items()]
            right = {"align": "right", "x": self.altair.ExprRef("width"), "dy": self.layout.lane_y}
            far = self._on(written).mark_text(baseline="middle", fontSize=9.5, color=self.theme.pale, **right)
            layers.append(far.encode(text="far:N"))
        return layers

    def failures(self, bad: list[dict[str, Any]]) -> list[Any]:
        """Return crosses and reasons."""
        if not bad:
            return []
        y, pale = self.layout.reason_y, self.theme.pale
        cross = self._on(bad, name="crosses").mark_text(
            text=CROSS, align="left", baseline="middle", x=2, dy=y, fontSize=17, fontWeight="bold", color=pale
        )
        layers = [cross.encode(tooltip="tooltip:N")]
        for lines in range(1, REASON_LINES + 1):
            if alike := [datum for datum in bad if datum["instead"].count("\n") == lines - 1]:
                # Vega centres only the first line at the middle of the row.
                middle = {"dy": y - (lines - 1) * _REASON_STEP / 2, "lineHeight": _REASON_STEP}
                italic = {"align": "left", "x": 18, "fontSize": 11, "fontStyle": "italic", "color": pale}
                layers.append(self._text(alike, "instead", **italic, **middle))
        return layers


def _datum(row: Row, scale: int, planned_sleep_s: float, columns: int, largest: Row | None) -> dict[str, Any]:
    below = ", ".join(filter(None, [row.toolchain or row.language, row.conditions]))
    shown = {"program": row.program, "title": row.title, "language": row.language, "below": cut(below)}
    if row.median_bytes is None or row.min_bytes is None or row.max_bytes is None:
        return {**shown, "instead": instead(row, columns, largest), "tooltip": f"{row.title}: {row.reason}"}
    ranged = f" ({format_bytes(row.min_bytes)} to {format_bytes(row.max_bytes)})" if row.good_runs > 1 else ""
    return {
        **shown,
        "peak": row.median_bytes / scale,
        "least": row.min_bytes / scale,
        "most": row.max_bytes / scale,
        "ranged": row.max_bytes > row.min_bytes,
        "label": label(row, planned_sleep_s),
        "tooltip": f"{row.title}: {format_bytes(row.median_bytes)}{ranged}, {below}",
    }
