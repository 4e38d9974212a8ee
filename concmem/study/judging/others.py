"""Figures that others have published: the article of 2023, and later measurements of the same question."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import attrs
import cattrs

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Published", "Source", "published"]


@attrs.frozen(kw_only=True)
class Source:
    """
    A publication with figures, and the conditions under which they were measured.

    Attributes:
        key: A short name.
        author, title, year, address: The author, title, year and URL of the publication.
        machine, versions, method: The conditions, as far as the publication states them.
        unit: The unit that the publication uses.
        unit_bytes: The unit in bytes.
        unit_why: How the unit is known.
        take: The number of the author's measurement in that year; None if there is only one.
    """

    key: str
    author: str
    title: str
    year: int
    address: str
    machine: str
    versions: str
    method: str
    unit: str
    unit_bytes: int
    unit_why: str
    take: int | None = None

    @property
    def name(self) -> str:
        """The name for tables: ``hez2010, take 2 (2024)``."""
        take = "" if self.take is None else f", take {self.take}"
        return f"{self.author}{take} ({self.year})"


@attrs.frozen(kw_only=True)
class Published:
    """
    One published figure.

    Attributes:
        source: The publication.
        there: The name of the program in the publication.
        program: Our program that does the same; None if there is none.
        differs: What the published program does differently, if there is none.
        tasks: The number of tasks.
        stated: The figure as published, in the source's unit; None if there is no figure.
        bytes: The figure in bytes.
        reason: Why there is no figure.
    """

    source: Source
    there: str
    program: str | None
    differs: str
    tasks: int
    stated: float | None
    bytes: int | None
    reason: str


@attrs.frozen(kw_only=True)
class _Series:
    there: str
    figures: list[float | str]
    here: str = ""
    differs: str = ""


_CONVERTER = cattrs.Converter(forbid_extra_keys=True)
_CONVERTER.register_structure_hook(float | str, lambda value, _: value if isinstance(value, str) else float(value))


@cache
def published() -> tuple[Published, ...]:
    """Return every published figure that concmem knows, source by source, oldest first."""
    stored = tomllib.loads(Path(__file__).with_name("others.toml").read_text(encoding="utf-8"))
    return tuple(
        _figure(source, series, tasks, value)
        for entry in stored["source"]
        for counts, all_series in [(entry.pop("tasks"), _CONVERTER.structure(entry.pop("series"), list[_Series]))]
        for source in [_CONVERTER.structure(entry, Source)]
        for series in all_series
        for tasks, value in zip(counts, series.figures, strict=True)
    )


def _figure(source: Source, series: _Series, tasks: int, value: float | str) -> Published:
    stated = None if isinstance(value, str) else value
    return Published(
        source=source,
        there=series.there,
        program=series.here or None,
        differs=series.differs,
        tasks=tasks,
        stated=stated,
        bytes=None if stated is None else round(stated * source.unit_bytes),
        reason=value if isinstance(value, str) else "",
    )
