"""Option types that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from concmem.cli._streams import say
from concmem.drivers.cache import cache_note
from concmem.errors import InvalidRequest

__all__ = ["amount", "file", "say_cache"]


def amount(parse: Callable[[str], float]) -> Callable[..., float | None]:
    """Return a click callback that parses an option's value with a function of `concmem.units`."""

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
        try:
            return None if value is None else parse(value)
        except InvalidRequest as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return convert


def say_cache() -> None:
    """Print where root's cache directory is, if it is not the one that the environment names."""
    if note := cache_note():
        say(note)


def file(*endings: str, dash: bool = False) -> Callable[..., Path | None]:
    """Return a click callback for an output file. It checks before anything runs that the file can be written."""

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
        if value is None or (dash and value == "-"):
            return None if value is None else Path(value)
        path, wrong = Path(value), ""
        if endings and path.suffix.lower() not in endings:
            wrong = f"the name must end in {' or '.join(endings)}"
        elif path.is_dir():
            wrong = "it is a folder"
        elif not path.parent.is_dir():
            wrong = f"no such folder: {path.parent}"
        elif not os.access(path if path.exists() else path.parent, os.W_OK):
            wrong = "it cannot be written"
        if wrong:
            raise click.BadParameter(f"{value}: {wrong}", ctx, param)
        return path

    return convert
