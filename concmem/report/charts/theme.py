"""The colours, shapes and dashes of programs in charts, for a light and a dark background."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from concmem.drivers import programs as drivers

__all__ = [
    "DARK",
    "LIGHT",
    "ON_PAGE",
    "Channels",
    "Look",
    "Theme",
    "css_colours",
    "language_colours",
    "looks",
    "program_channels",
]


@attrs.frozen
class Theme:
    """
    The colours of a chart, as CSS values.

    Attributes:
        ink: Main text.
        pale: Explanatory text and axes.
        rule: Grid lines.
        paper: The background.
        colours: One for each language.
    """

    ink: str
    pale: str
    rule: str
    paper: str
    colours: tuple[str, ...]


# Okabe and Ito's palette, distinguishable with each kind of colour vision, with a lighter black.
LIGHT = Theme(
    "#222222", "#6B6B6B", "#E2E2E2", "#FFFFFF",
    ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#4D4D4D", "#B8A900"),
)  # fmt: skip
# The same hues, lighter where a dark background needs it, with two distinct blues.
DARK = Theme(
    "#E8E6E3", "#A3A09B", "#33363B", "#15171A",
    ("#2E8FD6", "#E69F00", "#12B083", "#D98CB8", "#9AD8F8", "#EC7A2B", "#BDBDBD", "#D8CB3C"),
)  # fmt: skip


def css_colours(theme: Theme) -> dict[str, str]:
    """Return a theme as CSS variables. `ON_PAGE` refers to them."""
    named = {"--ink": theme.ink, "--pale": theme.pale, "--rule": theme.rule, "--paper": theme.paper}
    return named | {f"--c{i}": colour for i, colour in enumerate(theme.colours)}


ON_PAGE = Theme("var(--ink)", "var(--pale)", "var(--rule)", "var(--paper)", tuple(f"var(--c{i})" for i in range(8)))
"""For an SVG chart within the page: it follows the page's colours when they change."""


def language_colours(languages: Iterable[str], theme: Theme = LIGHT) -> dict[str, str]:
    """
    Return a colour for each language. The article's languages have the same colours in every study.

    With more languages than colours, colours repeat. No chart relies on colour alone.
    """
    first = (program.language for program in drivers.load_programs().values() if program.variant == "article")
    return dict(zip(dict.fromkeys((*first, *languages)), itertools.cycle(theme.colours), strict=False))


@attrs.frozen
class Look:
    """How the line and the points of a program are drawn, different from every other program."""

    colour: str
    shape: str
    dash: tuple[int, ...]


_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right", "triangle-left")
_DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (10, 3), (4, 4), (1, 3), (12, 2, 2, 2, 2, 2))


def looks(programs: Mapping[str, str], theme: Theme) -> dict[str, Look]:
    """
    Return the look of each program: the colour of its language, and its own shape and dash within that colour.

    Args:
        programs: The language of each program.
        theme: The colours.
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
class Channels:
    """Altair's channels that distinguish programs, without legends."""

    colour: Any
    shape: Any
    dash: Any


def program_channels(altair: Any, programs: Iterable[str], looks: Mapping[str, Look]) -> Channels:
    """Return the channels for data with a field ``program``."""
    names = list(dict.fromkeys(programs))

    def channel(kind: Any, values: Iterable[Any]) -> Any:
        return kind("program:N", legend=None, scale=altair.Scale(domain=names, range=list(values)))

    return Channels(
        channel(altair.Color, (looks[name].colour for name in names)),
        channel(altair.Shape, (looks[name].shape for name in names)),
        channel(altair.StrokeDash, (list(looks[name].dash) for name in names)),
    )
