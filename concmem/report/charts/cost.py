"""The cost of a task and the memory of the runtime: one point per program, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from concmem.report.charts.base import BYTES, FITTING, configured, need_extra
from concmem.report.charts.theme import Look, Theme, program_channels
from concmem.study.stats import Cost

__all__ = ["dots"]

_STEP = 28
"""Pixels from one program to the next."""


def dots(
    costs: Mapping[str, Cost], titles: Mapping[str, str], part: str, title: str, looks: Mapping[str, Look], theme: Theme
) -> Any | None:
    """
    Return the chart of one part of the cost, least first, as wide as its container; None without data.

    Args:
        costs: The cost of each program.
        titles: The title of each program.
        part: ``each`` or ``floor``.
        title: The title of the axis.
        looks: How each program is drawn.
        theme: The other colours.
    """
    altair = need_extra()
    data = []
    for program, cost in costs.items():
        amount, low, high = (getattr(cost, f"{part}{end}_bytes") for end in ("", "_low", "_high"))
        if amount <= 0:
            continue
        tooltip = f"{titles[program]}: {BYTES.text(amount)}"
        if low is not None:
            tooltip += f" (interval {BYTES.text(low)} to {BYTES.text(high)})"
        data.append(
            {"program": program, "title": titles[program], "amount": amount, "label": BYTES.text(amount),
             "low": amount if low is None else low, "high": amount if high is None else high,
             "tooltip": tooltip}
        )  # fmt: skip
    if not data:
        return None
    data.sort(key=lambda datum: datum["amount"])
    # An interval may reach below 0, which a logarithmic axis cannot show: draw it to the end of the axis.
    domain = BYTES.domain([data[0]["amount"] / 2, data[-1]["amount"] * 2])
    for datum in data:
        datum["low"], datum["high"] = (min(max(datum[end], domain[0]), domain[1]) for end in ("low", "high"))
    x_axis = altair.Axis(values=BYTES.ticks(domain, 5), labelExpr=BYTES.label, grid=True, domain=False, ticks=False)

    def x(field: str) -> Any:
        log = altair.Scale(type="log", domain=list(domain), nice=False)
        return altair.X(f"{field}:Q", title=title, axis=x_axis, scale=log)

    y_axis = altair.Axis(
        title=None, labelColor=theme.ink, labelFontSize=12, labelLimit=140, domain=False, ticks=False, labelPadding=8
    )
    channels = program_channels(altair, [datum["program"] for datum in data], looks)
    on = altair.Chart(altair.Data(values=data)).encode(
        y=altair.Y("title:N", sort=[datum["title"] for datum in data], axis=y_axis),
        color=channels.colour, tooltip="tooltip:N",
    )  # fmt: skip
    layers = [
        on.mark_rule(strokeWidth=2.5, opacity=0.55).encode(x=x("low"), x2="high:Q"),
        on.properties(name="points")
        .mark_point(filled=True, size=60, opacity=1)
        .encode(x=x("amount"), shape=channels.shape),
        on.mark_text(align="left", baseline="middle", dx=9, fontSize=11).encode(
            x=x("high"), text="label:N", color=altair.value(theme.pale)
        ),
    ]
    chart = altair.layer(*layers).properties(width="container", height=_STEP * len(data), autosize=FITTING)
    return configured(chart, theme)
