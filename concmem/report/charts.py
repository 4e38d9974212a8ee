"""What all charts have alike: their colours and marks, their axes, and the library that draws them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from concmem import drivers
from concmem.errors import ConcmemError
from concmem.units import format_bytes, format_count, format_seconds

__all__ = [
    "BYTES",
    "COUNTS",
    "CROSS",
    "DARK",
    "FITTING",
    "LIGHT",
    "ON_PAGE",
    "SECONDS",
    "Look",
    "ReportExtraMissing",
    "Scale",
    "Theme",
    "Told",
    "configured",
    "css_colours",
    "language_colours",
    "looks",
    "need_extra",
    "spread_out",
    "told_apart",
]

CROSS = "\N{MULTIPLICATION SIGN}"
"""Stands where a program could not run."""
FITTING = {"type": "fit-x", "contains": "padding"}
"""How a chart whose rows have a fixed height takes the width of what it is put into."""
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
class Theme:
    """
    The colours of a chart, as CSS has them.

    Attributes:
        ink: Of what is read.
        pale: Of what explains.
        rule: Of lines in the background.
        paper: Behind all.
        colours: One a language.
    """

    ink: str
    pale: str
    rule: str
    paper: str
    colours: tuple[str, ...]


# Okabe and Ito's colours, which stay apart for every kind of colour vision, their black made lighter.
LIGHT = Theme(
    "#222222", "#6B6B6B", "#E2E2E2", "#FFFFFF",
    ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#4D4D4D", "#B8A900"),
)  # fmt: skip
# The same hues, those lighter that would sink into a dark paper, and the two blues kept apart.
DARK = Theme(
    "#E8E6E3", "#A3A09B", "#33363B", "#15171A",
    ("#2E8FD6", "#E69F00", "#12B083", "#D98CB8", "#9AD8F8", "#EC7A2B", "#BDBDBD", "#D8CB3C"),
)  # fmt: skip


def css_colours(theme: Theme) -> dict[str, str]:
    """A theme as CSS variables; `ON_PAGE` is what refers to them."""
    named = {"--ink": theme.ink, "--pale": theme.pale, "--rule": theme.rule, "--paper": theme.paper}
    return named | {f"--c{i}": colour for i, colour in enumerate(theme.colours)}


ON_PAGE = Theme("var(--ink)", "var(--pale)", "var(--rule)", "var(--paper)", tuple(f"var(--c{i})" for i in range(8)))
"""Drawn as SVG within a page, a chart follows the page's own colours, however they change."""


def language_colours(languages: Iterable[str], theme: Theme = LIGHT) -> dict[str, str]:
    """
    A colour for each language. One of the article's has the same in every study, whatever else is in it.

    Beyond as many as there are, colours come again: no chart tells programs apart by colour alone.
    """
    first = (program.language for program in drivers.load_programs().values() if program.variant == "article")
    return dict(zip(dict.fromkeys((*first, *languages)), itertools.cycle(theme.colours), strict=False))


@attrs.frozen
class Look:
    """How a program's line and points are drawn: as those of no other program."""

    colour: str
    shape: str
    dash: tuple[int, ...]


_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right", "triangle-left")
_DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (10, 3), (4, 4), (1, 3), (12, 2, 2, 2, 2, 2))


def looks(programs: Mapping[str, str], theme: Theme) -> dict[str, Look]:
    """
    The look of each program: the colour is its language's, shape and dash tell it from others of that colour.

    Args:
        programs: The language of each program.
        theme: Where the colours come from.
    """
    colours = language_colours(programs.values(), theme)
    used: dict[str, int] = {}
    found = {}
    for program, language in programs.items():
        colour = colours[language]
        n = used[colour] = used.get(colour, -1) + 1
        found[program] = Look(colour, _SHAPES[n % len(_SHAPES)], _DASHES[n % len(_DASHES)])
    return found


@attrs.frozen
class Told:
    """What tells programs apart in a chart: Altair's channels, without legends."""

    colour: Any
    shape: Any
    dash: Any


def told_apart(altair: Any, programs: Iterable[str], looks: Mapping[str, Look]) -> Told:
    """The channels for data with a field ``program``, each of these with its own look."""
    names = list(dict.fromkeys(programs))

    def channel(kind: Any, values: Iterable[Any]) -> Any:
        return kind("program:N", legend=None, scale=altair.Scale(domain=names, range=list(values)))

    return Told(
        channel(altair.Color, (looks[name].colour for name in names)),
        channel(altair.Shape, (looks[name].shape for name in names)),
        channel(altair.StrokeDash, (list(looks[name].dash) for name in names)),
    )


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
        chart.configure(font=_FONT, background=theme.paper, padding=1)
        .configure_view(stroke=None)
        .configure_axis(**axis, grid=False, gridColor=theme.rule, titleFontWeight="normal", titleFontSize=12)
        .configure_legend(labelColor=theme.pale, titleColor=theme.pale, symbolStrokeWidth=1.5)
        .configure_title(color=theme.ink, subtitleColor=theme.pale)
    )


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
