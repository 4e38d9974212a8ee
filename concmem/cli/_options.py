"""Options of a measurement as the command spells them, and option types that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click

from concmem.cli._streams import say
from concmem.errors import InvalidRequest
from concmem.export.outputs import endings
from concmem.options import Option, Options, declared, parsed

__all__ = ["amount", "file", "measurement_options", "say_cache"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


def measurement_options(function: _Function) -> _Function:
    """Add the options of a measurement to a command, in the order of their declarations."""
    for name, (kind, option) in reversed(declared(Options).items()):
        if option.spelled is not None:
            function = _click_option(name, kind, option)(function)
    return function


def _click_option(name: str, kind: Any, option: Option) -> Callable[[_Function], _Function]:
    spelled = option.spelled
    assert spelled is not None
    default = option.default if spelled.default is None else spelled.default
    return click.option(
        spelled.name,
        name,
        metavar=spelled.metavar,
        type=click.Choice(get_args(kind)) if get_origin(kind) is Literal else None,
        is_flag=kind is bool,
        callback=None if spelled.parse is None else amount(partial(parsed, option)),
        default=default,
        show_default=default not in (None, False),
        help=spelled.help,
    )


def amount(parse: Callable[[str], float]) -> Callable[..., float | None]:
    """Return a click callback that parses an option's value, such as with a function of `concmem.units`."""

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
        try:
            return None if value is None else parse(value)
        except InvalidRequest as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return convert


def say_cache() -> None:
    """Print where root's cache directory is, if it is not the one that the environment names."""
    from concmem.drivers.cache import cache_note

    if note := cache_note():
        say(note)


def file(of: str = "", *, dash: bool = False) -> Callable[..., Path | None]:
    """
    Return a click callback for an output file. It checks before anything runs that the file can be written.

    Args:
        of: What is written, see `concmem.export.outputs`; the name must have one of its endings. "" for any name.
        dash: Whether - means standard output.
    """
    allowed = endings(of)

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
        if value is None or (dash and value == "-"):
            return None if value is None else Path(value)
        path, wrong = Path(value), ""
        if allowed and path.suffix.lower() not in allowed:
            wrong = f"the name must end in {' or '.join(allowed)}"
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
