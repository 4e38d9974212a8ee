"""Values of options that several commands read alike."""

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
    """An option's value as one of `concmem.units` reads it."""

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
        try:
            return None if value is None else parse(value)
        except InvalidRequest as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return convert


def say_cache() -> None:
    """Say where root's cache directory is, if that is not where the environment says."""
    if note := cache_note():
        say(note)


def file(*endings: str, dash: bool = False) -> Callable[..., Path | None]:
    """A file to be written at the end: that it can be is looked at before anything runs."""

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
        if value is None or (dash and value == "-"):
            return None if value is None else Path(value)
        path, wrong = Path(value), ""
        if endings and path.suffix.lower() not in endings:
            wrong = f"the name must end in {' or '.join(endings)}"
        elif path.is_dir():
            wrong = "is a folder"
        elif not path.parent.is_dir():
            wrong = f"there is no folder {path.parent}"
        elif not os.access(path if path.exists() else path.parent, os.W_OK):
            wrong = "cannot be written"
        if wrong:
            raise click.BadParameter(f"{value}: {wrong}", ctx, param)
        return path

    return convert
