"""What others have published about the same question: the article of 2023, and those who measured again."""

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
    Where figures were published, and under what conditions they were made.

    Attributes:
        key: A short name.
        author, title, year, address: Of the publication.
        machine, versions, method: As far as they are told.
        unit: As it stands there.
        unit_bytes: How many bytes that is.
        unit_why: How that is known.
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

    @property
    def name(self) -> str:
        """What a table calls it: ``hez2010, take 2 (2024)``."""
        _, take, number = self.key.partition("-take-")
        return f"{self.author}{', take ' if take else ''}{number} ({self.year})"


@attrs.frozen(kw_only=True)
class Published:
    """
    One published figure.

    Attributes:
        source: Where.
        there: What the program is called there.
        program: The program of ours that does the same; None where there is none.
        differs: What it does instead, where there is none.
        tasks: How many tasks it started.
        stated: The figure as it stands there, in the source's unit; None where it says that there is none.
        bytes: The same in bytes.
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
    """Every published figure that concmem knows, source by source, oldest first."""
    stored = tomllib.loads(Path(__file__).with_name("others.toml").read_text(encoding="utf-8"))
    return tuple(
        _figure(source, series, tasks, value)
        for entry in stored["source"]
        for counts, every in [(entry.pop("tasks"), _CONVERTER.structure(entry.pop("series"), list[_Series]))]
        for source in [_CONVERTER.structure(entry, Source)]
        for series in every
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
