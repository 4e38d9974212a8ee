"""Parts that all charts share: axes, names, and the library that draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    "CROSS_STYLE",
    "FITTING",
    "NAME_STEP",
    "SECONDS",
    "ReportExtraMissing",
    "Scale",
    "configured",
    "names_beside",
    "need_extra",
    "spread_out",
    "unchecked",
]

CROSS = "\N{MULTIPLICATION SIGN}"
"""Marks a program that could not run."""
CROSS_STYLE = {"fontSize": 19, "fontWeight": "bold", "baseline": "middle"}
"""The font of a cross at a point of a line."""
FITTING = {"type": "fit-x", "contains": "padding"}
"""For a chart with rows of fixed height that takes the width of its container."""
ABOVE_AXIS = {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleX": 0, "titleY": -9, "ticks": False}
"""Puts the title of a vertical axis above it, as horizontal text."""
NAME_STEP = 14
"""Least vertical distance of two names in pixels."""
_FONT = "Helvetica Neue, Helvetica, Arial, sans-serif"


class ReportExtraMissing(ConcmemError, ImportError):
    """A library of the report extra is not installed."""


def need_extra() -> Any:
    """
    Return Altair, after checking that the libraries for files and pages exist, too.

    Raises:
        ReportExtraMissing: One of them is not installed.
    """
    try:
        import altair
        import jinja2  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise ReportExtraMissing(
            f"charts need the report extra, and {error.name} is missing: pip install 'concmem[report]'"
        ) from error
    return altair


@contextmanager
def unchecked() -> Iterator[None]:
    """Draw without checking each part of a chart against Vega-Lite's schema. The tests check whole charts."""
    from altair.utils.schemapi import debug_mode

    with debug_mode(False):
        yield


@attrs.frozen
class Scale:
    """
    A logarithmic axis for one kind of amount.

    Attributes:
        base: Ticks are powers of this number.
        label: The Vega expression for a tick's text.
        text: Formats an amount.
    """

    base: float
    label: str
    text: Callable[[float], str]

    def domain(self, values: Iterable[float]) -> tuple[float, float]:
        """Return a range from a little below the least to a little above the largest value. All must be positive."""
        amounts = list(values)
        margin = (max(amounts) / min(amounts)) ** 0.04 * 1.05
        return min(amounts) / margin, max(amounts) * margin

    def ticks(self, domain: tuple[float, float], most: int = 8) -> list[float]:
        """Return the powers within the domain; every second, third ... if there are more than `most`."""
        low, high = (math.log(end, self.base) for end in domain)
        powers = range(math.ceil(low), math.floor(high) + 1)
        step = max(1, -(-len(powers) // most))
        return [self.base**power for power in powers if power % step == 0]


def _by_unit(*units: tuple[float, str]) -> str:
    """Return a Vega expression that formats a value in its largest fitting unit."""
    *larger, (size, name) = units
    label = f"format(datum.value / {size}, '~r') + '{name}'"
    for size, name in reversed(larger):
        label = f"datum.value >= {size} ? format(datum.value / {size}, '~r') + '{name}' : {label}"
    return label


BYTES = Scale(4, _by_unit((1 << 30, " GiB"), (1 << 20, " MiB"), (1 << 10, " KiB"), (1, " B")), format_bytes)
SECONDS = Scale(10, _by_unit((1, " s"), (1e-3, " ms"), (1e-6, " µs")), format_seconds)
COUNTS = Scale(10, _by_unit((1e6, "M"), (1e3, "k"), (1, "")), lambda count: format_count(round(count)))


def configured(chart: Any, theme: Theme) -> Any:
    """Set the fonts and colours that all charts share."""
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
    Add to the end of each line ``at``: the place of its name on a logarithmic axis, so that names do not overlap.

    Args:
        ends: The ends of the lines, each with an ``amount``.
        domain: The domain of the axis.
        height: The height of the chart in pixels.
    """
    low, high = map(math.log, domain)
    apart = NAME_STEP * (high - low) / height
    heights = spread_out([math.log(end["amount"]) for end in ends], apart, low, high)
    return [{**end, "at": math.exp(at)} for end, at in zip(ends, heights, strict=True)]


def spread_out(values: Sequence[float], apart: float, low: float, high: float) -> list[float]:
    """
    Return positions as near to `values` as possible, at least `apart` from each other, within `low` and `high`.

    The order of the values is kept. If there is not enough room, the distance is smaller.
    """
    apart = min(apart, (high - low) / max(1, len(values) - 1))

    def middle(members: Sequence[int]) -> float:
        half = apart * (len(members) - 1) / 2
        return min(max(sum(values[i] for i in members) / len(members), low + half), high - half)

    groups: list[list[int]] = []  # positions at the least distance from each other
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
