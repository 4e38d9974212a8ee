"""What all charts have alike: their axes and names, and the library that draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from concmem.errors import ConcmemError
from concmem.report.charts.theme import Theme
from concmem.units import format_bytes, format_count, format_seconds

__all__ = [
    "ABOVE_AXIS",
    "BYTES",
    "COUNTS",
    "CROSS",
    "FITTING",
    "NAME_STEP",
    "SECONDS",
    "ReportExtraMissing",
    "Scale",
    "configured",
    "names_beside",
    "need_extra",
    "spread_out",
]

CROSS = "\N{MULTIPLICATION SIGN}"
"""Stands where a program could not run."""
FITTING = {"type": "fit-x", "contains": "padding"}
"""How a chart whose rows have a fixed height takes the width of what it is put into."""
ABOVE_AXIS = {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleX": 0, "titleY": -9, "ticks": False}
"""Where the title of an upright axis stands: to be read without turning one's head."""
NAME_STEP = 14
"""Pixels between two names beside each other's."""
_FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"


class ReportExtraMissing(ConcmemError, ImportError):
    """What draws the figures is not installed."""


def need_extra() -> Any:
    """
    Altair, with what turns its charts into files and pages.

    Raises:
        ReportExtraMissing: It is not installed.
    """
    try:
        import altair
        import jinja2  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise ReportExtraMissing(
            f"figures need the report extra, and {error.name} is missing: pip install 'concmem[report]'"
        ) from error
    return altair


@attrs.frozen
class Scale:
    """
    A logarithmic axis of one kind of amount.

    Attributes:
        base: Ticks are powers of it.
        label: The Vega expression for a tick's text.
        text: An amount as text.
    """

    base: float
    label: str
    text: Callable[[float], str]

    def domain(self, values: Iterable[float]) -> tuple[float, float]:
        """From somewhat below the least to somewhat above the largest; none may be 0 or less."""
        there = list(values)
        margin = (max(there) / min(there)) ** 0.04 * 1.05
        return min(there) / margin, max(there) * margin

    def ticks(self, domain: tuple[float, float], most: int = 8) -> list[float]:
        """The powers within the domain; every second, third ... where there would be too many."""
        low, high = (math.log(end, self.base) for end in domain)
        powers = range(math.ceil(low), math.floor(high) + 1)
        step = max(1, -(-len(powers) // most))
        return [self.base**power for power in powers if power % step == 0]


def _by_unit(*units: tuple[float, str]) -> str:
    """The largest unit that is not more than the value; the last where all are."""
    *larger, (size, name) = units
    label = f"format(datum.value / {size}, '~r') + '{name}'"
    for size, name in reversed(larger):
        label = f"datum.value >= {size} ? format(datum.value / {size}, '~r') + '{name}' : {label}"
    return label


BYTES = Scale(4, _by_unit((1 << 30, " GiB"), (1 << 20, " MiB"), (1 << 10, " KiB"), (1, " B")), format_bytes)
SECONDS = Scale(10, _by_unit((1, " s"), (1e-3, " ms"), (1e-6, " µs")), format_seconds)
COUNTS = Scale(10, _by_unit((1e6, "M"), (1e3, "k"), (1, "")), lambda count: format_count(round(count)))


def configured(chart: Any, theme: Theme) -> Any:
    """A whole chart with the fonts and colours of all."""
    axis = {"labelColor": theme.pale, "titleColor": theme.pale, "domainColor": theme.pale, "tickColor": theme.pale}
    return (
        chart.configure(font=_FONT, background=theme.paper, padding={"left": 1, "right": 8, "top": 1, "bottom": 1})
        .configure_view(stroke=None)
        .configure_axis(**axis, grid=False, gridColor=theme.rule, titleFontWeight="normal", titleFontSize=12)
        .configure_legend(labelColor=theme.pale, titleColor=theme.pale, symbolStrokeWidth=1.5)
        .configure_title(color=theme.ink, subtitleColor=theme.pale)
    )


def names_beside(ends: Sequence[Mapping[str, Any]], domain: tuple[float, float], height: int) -> list[dict[str, Any]]:
    """
    Lines' ends, each with ``at`` besides: where on a logarithmic axis its name stands, so that all can be read.

    Args:
        ends: With an ``amount`` each.
        domain: Of the axis.
        height: Of the chart, in pixels.
    """
    low, high = map(math.log, domain)
    apart = NAME_STEP * (high - low) / height
    heights = spread_out([math.log(end["amount"]) for end in ends], apart, low, high)
    return [{**end, "at": math.exp(at)} for end, at in zip(ends, heights, strict=True)]


def spread_out(values: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """
    Positions as near to `values` as can be, each at least `apart` from the next, within `low` and `high`.

    The order of the values is kept. Where there is not room for all, they are closer.
    """
    apart = min(apart, (high - low) / max(1, len(values) - 1))

    def middle(members: Sequence[int]) -> float:
        half = apart * (len(members) - 1) / 2
        return min(max(sum(values[i] for i in members) / len(members), low + half), high - half)

    groups: list[list[int]] = []  # of positions that touch
    for index in sorted(range(len(values)), key=values.__getitem__):
        groups.append([index])
        while (
            len(groups) > 1
            and middle(groups[-1]) - middle(groups[-2]) < apart * (len(groups[-1]) + len(groups[-2])) / 2
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    placed = {
        index: middle(members) + apart * (rank - (len(members) - 1) / 2)
        for members in groups
        for rank, index in enumerate(members)
    }
    return [placed[i] for i in range(len(values))]
