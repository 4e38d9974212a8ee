"""How an option is declared, and how a function that takes options lists them in its signature and docstring."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

__all__ = ["Option", "Spelling", "declared", "documented"]

Function = TypeVar("Function", bound=Callable[..., Any])


class Spelling(NamedTuple):
    """
    How ``concmem run`` spells an option.

    Attributes:
        name: ``--name``, or ``--name/--no-name``.
        help: One line: what it does.
        metavar: What stands for the value in the help; None for a flag or a choice.
        parse: Converts the text to the value.
        default: The default of the command, as text; None for the default of the option.
    """

    name: str
    help: str
    metavar: str | None = None
    parse: Callable[[str], Any] | None = None
    default: Any = None


class Option(NamedTuple):
    """
    The declaration of an option. Its name and type are those of the field.

    Attributes:
        text: What it does, for the documentation of `concmem.measure`.
        default: Its default.
        check: Called with name and value; raises InvalidRequest if the value is invalid.
        source: The optional source that it requests.
        spelled: How the command spells it; None if the command does not have it.
    """

    text: str
    default: Any = None
    check: Callable[[str, Any], None] | None = None
    source: str = ""
    spelled: Spelling | None = None


def declared(options: Any) -> dict[str, tuple[Any, Option]]:
    """Return the type and the declaration of each option of a class such as `concmem.options.Options`."""
    annotations: dict[str, Any] = options.__annotations__
    return {name: (hint.__origin__, hint.__metadata__[0]) for name, hint in annotations.items()}


def documented(options: Any) -> Callable[[Function], Function]:
    """
    Return a decorator for a function that takes ``**options`` of a class such as `concmem.options.Options`.

    It lists each option in the signature and the annotations, and in the docstring in place of ``{options}``.
    """
    table = declared(options)

    def decorate(function: Function) -> Function:
        own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
        own += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=kind)
            for name, (kind, option) in table.items()
        ]
        described: Any = function
        result = described.__annotations__["return"]
        described.__signature__ = inspect.Signature(own, return_annotation=result)
        described.__annotations__ = {p.name: p.annotation for p in own} | {"return": result}
        if described.__doc__:  # None with python -OO
            entries = [line for name, (_, option) in table.items() for line in _lines(f"{name}: {option.text}")]
            described.__doc__ = inspect.cleandoc(described.__doc__).replace("{options}", "\n".join(entries).lstrip())
        return function

    return decorate


def _lines(entry: str, width: int = 110) -> list[str]:
    """Return an entry of a docstring as lines, without textwrap: its import takes longer than this function."""
    lines = [" " * 3]
    for word in entry.split():
        if len(lines[-1]) + 1 + len(word) > width:
            lines.append(" " * 7)
        lines[-1] += f" {word}"
    return lines
