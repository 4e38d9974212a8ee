"""A quantity against the number of tasks, both on logarithmic axes, one line per program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from concmem.report.charts.base import (
    ABOVE_AXIS,
    BYTES,
    COUNTS,
    CROSS,
    CROSS_STYLE,
    SECONDS,
    Scale,
    configured,
    names_beside,
    need_extra,
)
from concmem.report.charts.theme import Channels, Look, Theme, program_channels
from concmem.report.sentences import number_of
from concmem.study import Row
from concmem.study.workloads import Workload

__all__ = ["PEAK", "Quantity", "line_chart", "start_up"]


@attrs.frozen
class Quantity:
    """
    The quantity that a chart shows of each row.

    Attributes:
        title: The title of the axis.
        scale: The axis.
        of: Returns the amount of a row. None or an amount of at most 0 is not drawn.
        ends: Returns the ends of its interval or range, or None.
        ends_are: What the ends are, in words.
    """

    title: str
    scale: Scale
    of: Callable[[Row], float | None]
    ends: Callable[[Row], tuple[float | None, float | None]] = lambda _: (None, None)
    ends_are: str = ""


PEAK = Quantity(
    "peak memory", BYTES, lambda row: row.median_bytes,
    lambda row: (row.interval_low_bytes, row.interval_high_bytes), "interval of the median",
)  # fmt: skip


def start_up(workload: Workload) -> list[Quantity]:
    """Return the quantities besides peak memory in a study of this workload, about starting and running tasks."""
    started = {"ended": "until all tasks had ended"}.get(workload.launched, "until all tasks were started")
    found = [
        Quantity(f"time {started}", SECONDS, lambda row: row.launch_s),
        Quantity(
            "wall time beyond the sleep" if workload.name == "sleep" else "wall time beyond the given seconds",
            SECONDS, lambda row: row.beyond_s,
        ),
        Quantity("CPU time", SECONDS, lambda row: row.cpu_s),
        Quantity("page faults", COUNTS, lambda row: row.minor_faults),
    ]  # fmt: skip
    if workload.rate is not None:
        rate = Quantity(
            f"{workload.rate_of} a second", COUNTS, lambda row: row.rate_per_s,
            lambda row: (row.rate_min_per_s, row.rate_max_per_s), "range of the runs",
        )  # fmt: skip
        found.insert(0, rate)
    if workload.name == "spawn":
        found.insert(1, Quantity("memory left over", BYTES, lambda row: row.left_over_bytes))
    return found


def line_chart(
    rows: Sequence[Row], quantity: Quantity, looks: Mapping[str, Look], theme: Theme, height: int
) -> Any | None:
    """
    Return the chart, as wide as its container; None if no row has such an amount.

    A program that could not run with more tasks has a cross at the last number of tasks that it ran with.

    Args:
        rows: All rows of a study.
        quantity: The quantity to draw.
        looks: How each program is drawn.
        theme: The other colours.
        height: The height in pixels.
    """
    altair = need_extra()
    points = [datum for row in rows if (datum := _point(row, quantity)) is not None]
    if not points:
        return None
    drawn = _Drawing(
        altair, theme, quantity, looks, sorted({row.tasks for row in rows if row.instead_of is None}), points, height
    )
    return drawn.chart({row.program: row for row in rows if row.median_bytes is None and row.runs})


def _point(row: Row, quantity: Quantity) -> dict[str, Any] | None:
    amount = quantity.of(row)
    if amount is None or amount <= 0:
        return None
    low, high = (end if end and end > 0 else amount for end in quantity.ends(row))
    text = quantity.scale.text
    tooltip = f"{row.title}, {number_of(row.tasks)}: {text(amount)}"
    if low < high:
        tooltip += f" ({quantity.ends_are} {text(low)} to {text(high)})"
    return {
        "program": row.program, "title": row.title, "tasks": row.tasks, "amount": amount, "low": low, "high": high,
        "tooltip": tooltip,
    }  # fmt: skip


@attrs.frozen
class _Drawing:
    """The layers of one chart."""

    altair: Any
    theme: Theme
    quantity: Quantity
    looks: Mapping[str, Look]
    counts: list[int]
    points: list[dict[str, Any]]
    height: int

    def chart(self, failed: Mapping[str, Row]) -> Any:
        """Return the chart. Programs in `failed` have a cross at their last point if they failed with more tasks."""
        alt = self.altair
        last = {str(point["program"]): point for point in self.points}
        ends = [self._end(point, failed.get(program)) for program, point in last.items()]
        pointed = alt.selection_point(name="pointed", fields=["program"], on="pointerover", clear="pointerout")
        # Named here: Altair's own names contain a count of everything that the process has drawn.
        dots = self._on(self.points, name="dots").mark_point(filled=True, size=45)
        layers = [
            self._on(self.points)
            .mark_line(strokeWidth=1.8)
            .encode(strokeDash=self._channels.dash, y=self._y("amount")),
            self._on(self.points).mark_rule(strokeWidth=2).encode(y=self._y("low"), y2="high:Q"),
            dots.encode(shape=self._channels.shape, y=self._y("amount"), tooltip="tooltip:N").add_params(pointed),
            *self._names(ends),
        ]
        if crossed := [end for end in ends if end["failed"]]:
            cross = self._on(crossed, name="crosses").mark_text(text=CROSS, dx=13, **CROSS_STYLE)
            layers.append(cross.encode(y=self._y("amount"), tooltip="why:N"))
        seen = alt.condition(pointed, alt.value(1), alt.value(0.15))
        layered = alt.layer(*(layer.encode(opacity=seen) for layer in layers))
        return configured(layered.properties(width="container", height=self.height), self.theme)

    def _end(self, last: Mapping[str, Any], failed: Row | None) -> dict[str, Any]:
        if failed is None or failed.tasks < last["tasks"]:
            return {**last, "failed": False, "why": last["tooltip"]}
        why = f"{last['title']}, {number_of(failed.tasks)}: {failed.reason}"
        return {**last, "failed": True, "why": why}

    def _names(self, ends: list[dict[str, Any]]) -> list[Any]:
        """Return the names, right of the lines, each as near to the end of its line as possible."""
        placed = names_beside(ends, self._domain, self.height)

        def on(some: list[dict[str, Any]], **named: str) -> Any:
            return self._on(some, **named).encode(x=self.altair.value(self.altair.ExprRef("width")), y=self._y("at"))

        whole, failed = ([end for end in placed if end["failed"] is each] for each in (False, True))
        name = on(placed, name="names").mark_text(align="left", baseline="middle", dx=23, fontSize=11.5)
        marks = [name.encode(text="title:N", color=self.altair.value(self.theme.ink), tooltip="why:N")]
        if whole:
            marks.append(on(whole).mark_point(filled=True, size=40, xOffset=15).encode(shape=self._channels.shape))
        if failed:
            marks.append(on(failed).mark_text(text=CROSS, dx=15, **CROSS_STYLE))
        return marks

    def _on(self, data: list[dict[str, Any]], **named: str) -> Any:
        alt, least, most = self.altair, self.counts[0], self.counts[-1]
        x = alt.X(
            "tasks:Q", title="tasks",
            scale=alt.Scale(type="log", domain=[least, max(most, least + 1)], nice=False, padding=8),
            axis=alt.Axis(values=self.counts, format="~s", labelOverlap=True),
        )  # fmt: skip
        return alt.Chart(alt.Data(values=data), **named).encode(x=x, color=self._channels.colour)

    def _y(self, field: str) -> Any:
        scale = self.quantity.scale
        ticks = scale.ticks(self._domain, self.height // 45)
        axis = self.altair.Axis(values=ticks, labelExpr=scale.label, grid=True, domain=False, **ABOVE_AXIS)
        log = self.altair.Scale(type="log", domain=list(self._domain), nice=False)
        return self.altair.Y(f"{field}:Q", title=self.quantity.title, scale=log, axis=axis)

    @property
    def _domain(self) -> tuple[float, float]:
        return self.quantity.scale.domain(point[end] for point in self.points for end in ("low", "amount", "high"))

    @property
    def _channels(self) -> Channels:
        return program_channels(self.altair, [str(point["program"]) for point in self.points], self.looks)
