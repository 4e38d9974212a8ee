"""The commands of a comparison: from templates and the values of parameters to what is run."""

from __future__ import annotations

import itertools
import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence

import attrs

from concmem.errors import InvalidRequest
from concmem.options import Command

__all__ = ["Candidate", "Hooks", "expand", "number", "scan"]

_MOST = 1_000
"""The largest number of commands in a comparison."""


@attrs.frozen(kw_only=True)
class Hooks:
    """
    Commands that are run by ``/bin/sh -c`` around the measured ones, not measured; "" for none.

    Attributes:
        setup: Before the first run of a command.
        prepare: Before each run.
        conclude: After each run.
        cleanup: After the last run of a command.
    """

    setup: str = ""
    prepare: str = ""
    conclude: str = ""
    cleanup: str = ""


@attrs.frozen(kw_only=True)
class Candidate:
    """
    One command to run.

    Attributes:
        name: Its name, different from all others.
        template: The position of its template among those given, from 0.
        command: As for `concmem.measure`.
        parameters: The value of each parameter, as text.
        hooks: The commands around its runs.
    """

    name: str
    template: int
    command: Command
    parameters: dict[str, str]
    hooks: Hooks

    @property
    def shown(self) -> str:
        """The command as text, as a shell reads it."""
        if isinstance(self.command, str):
            return self.command
        if isinstance(self.command, (bytes, os.PathLike)):
            return os.fsdecode(self.command)
        return shlex.join(os.fsdecode(word) for word in self.command)


def expand(
    commands: Mapping[str, Command] | Sequence[Command],
    parameters: Mapping[str, Sequence[object]] | None = None,
    hooks: Sequence[Hooks] = (Hooks(),),
) -> list[Candidate]:
    """
    Return the commands of a comparison: each template with each combination of the parameters.

    Args:
        commands: The templates, by name or without names. ``{n}`` stands for the value of the parameter ``n``.
        parameters: The values of each parameter.
        hooks: The commands around the runs: one for all templates, or one for each.

    Raises:
        InvalidRequest: There is no command, two have the same name, or there are more than a thousand.
    """
    if isinstance(commands, (str, bytes)):
        raise InvalidRequest("commands must be a dict or a list of commands, not one string")
    named = dict(commands) if isinstance(commands, Mapping) else None
    templates: list[Command] = list(commands.values()) if isinstance(commands, Mapping) else list(commands)
    if not templates:
        raise InvalidRequest("a comparison needs at least one command")
    if len(hooks) not in (1, len(templates)):
        raise InvalidRequest(f"there must be one hook or {len(templates)}, one for each command, not {len(hooks)}")
    names = list(named) if named is not None else [""] * len(templates)
    values = {name: [str(value) for value in each] for name, each in (parameters or {}).items()}
    for name, each in values.items():
        if not each:
            raise InvalidRequest(f"the parameter {name} has no values")
    found = []
    for index, template in enumerate(templates):
        for combination in itertools.product(*values.values()):
            given = dict(zip(values, combination, strict=True))
            hook = hooks[index if len(hooks) > 1 else 0]
            made = Candidate(
                name="",
                template=index,
                command=_filled(template, given),
                parameters=given,
                hooks=Hooks(**{name: _filled_text(text, given) for name, text in attrs.asdict(hook).items()}),
            )
            found.append(attrs.evolve(made, name=_name(made, names[index], given, alone=len(templates) == 1)))
            if len(found) > _MOST:
                raise InvalidRequest(f"a comparison can have at most {_MOST} commands")
    for one, other in itertools.combinations(found, 2):
        if one.name == other.name:
            raise InvalidRequest(f"two commands have the name {one.name!r}: give each a different name")
    return found


def _name(made: Candidate, named: str, given: Mapping[str, str], *, alone: bool) -> str:
    """Return the given name, or the command; with parameters their values, too."""
    values = ", ".join(f"{name}={value}" for name, value in given.items())
    if not values:
        return named or made.shown
    if alone and not named:
        return values
    # Without a name of its own, a command shows the values; other parameters may only be in its hooks.
    return f"{named}, {values}" if named else f"{made.shown} ({values})"


def _filled_text(text: str, given: Mapping[str, str]) -> str:
    for name, value in given.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _filled(template: Command, given: Mapping[str, str]) -> Command:
    if not given:
        return template
    if isinstance(template, str):
        return _filled_text(template, given)
    if isinstance(template, (bytes, os.PathLike)):
        return _filled_text(os.fsdecode(template), given)
    return [_filled_text(os.fsdecode(word), given) for word in template]


def scan(low: str, high: str, step: str = "1") -> list[str]:
    """
    Return the numbers from `low` to `high`, both included, as text.

    Raises:
        InvalidRequest: One is not a number, the step is not above 0, or there are no or too many values.
    """
    ends = [number(text) for text in (low, high, step)]
    if None in ends:
        raise InvalidRequest(f"a scan needs numbers, not {low!r}, {high!r}, {step!r}")
    first, last, by = (end for end in ends if end is not None)
    if by <= 0 or last < first:
        raise InvalidRequest(f"a scan from {low} to {high} by {step} has no values")
    count = math.floor((last - first) / by + 1e-9) + 1
    if count > _MOST:
        raise InvalidRequest(f"a scan from {low} to {high} by {step} has more than {_MOST} values")
    digits = max(len(text.partition(".")[2]) for text in (low, step))
    return list(_texts(first, by, count, digits))


def _texts(first: float, by: float, count: int, digits: int) -> Iterator[str]:
    for i in range(count):
        yield f"{first + i * by:.{digits}f}"


def number(text: str) -> float | None:
    """Return the number that a text says, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
