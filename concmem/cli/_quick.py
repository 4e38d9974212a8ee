"""
``concmem run`` without click, which takes longer to import than a short command runs.

Only correct arguments are parsed here, and only options of a measurement and ``--quiet``. All others, help and errors
are left to click.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from concmem.errors import InvalidRequest
from concmem.options import Option, Options, declared, parsed

__all__ = ["parse_run", "run_quickly"]


def run_quickly(words: Sequence[str]) -> None:
    """Run the command if it can be parsed here, and exit with its status. Return if click must parse it."""
    arguments = parse_run(words)
    if arguments is not None:
        from concmem.cli._measure import measure_command
        from concmem.cli._status import end_with

        try:
            end_with(lambda: measure_command(**arguments))
        except SystemExit as end:
            _exit_at_once(end.code)
            raise


def _exit_at_once(status: object) -> None:
    """
    End the process without freeing every object, which takes as long as the measurement of a short command.

    All output is flushed, and nothing that was opened is left. Return if a profiler or debugger waits for the end.
    """
    if isinstance(status, int) and sys.getprofile() is None and sys.gettrace() is None:
        atexit._run_exitfuncs()
        os._exit(status & 0xFF)


def parse_run(words: Sequence[str]) -> dict[str, Any] | None:
    """Return the arguments of `measure_command`, or None if click must parse the words."""
    if not words or words[0] != "run":
        return None
    table, arguments = _spelled()
    rest = list(words[1:])
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word, equals, value = rest.pop(0).partition("=")
        if word == "--" and not equals:
            break
        if word not in table:
            return None
        name, kind, option = table[word]
        if kind is bool:
            if equals:
                return None
            arguments[name] = not word.startswith("--no-")
        elif equals or rest:
            try:
                arguments[name] = _value(kind, option, value if equals else rest.pop(0))
            except InvalidRequest:
                return None
        else:
            return None
    return {**arguments, "command": tuple(rest)} if rest else None


def _spelled() -> tuple[dict[str, tuple[str, Any, Option]], dict[str, Any]]:
    """Return name, type and declaration of each option by its words, and the defaults."""
    table = {word: ("quiet", bool, Option("")) for word in ("-q", "--quiet")}
    defaults: dict[str, Any] = {"quiet": False}
    for name, (kind, option) in declared(Options).items():
        if (spelled := option.spelled) is not None:
            table |= {word: (name, kind, option) for word in spelled.name.split("/")}
            defaults[name] = spelled.default if spelled.default is True else option.default
    return table, defaults


def _value(kind: Any, option: Option, text: str) -> Any:
    if get_origin(kind) is Literal and text not in get_args(kind):
        raise InvalidRequest(f"{text} is not a choice")
    return parsed(option, text)
