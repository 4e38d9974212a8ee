"""How an option is declared, and how a function that takes options lists them in its signature and docstring."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from concmem._classes.record import Record
from concmem.errors import InvalidRequest

if TYPE_CHECKING:
    import inspect

__all__ = ["Option", "Range", "Spelling", "declared", "documented", "parsed"]

Function = TypeVar("Function", bound=Callable[..., Any])


class Range(Record):
    """
    A check for a number: it must lie in a range.

    Attributes:
        least, most: The range, both ends included.
        or_none: Whether None is allowed as well.
    """

    least: float
    most: float
    or_none: bool = False

    def includes(self, value: Any) -> bool:
        """Return whether a value is a number in the range."""
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and self.least <= value <= self.most

    def __call__(self, name: str, value: Any) -> None:
        """Raise InvalidRequest if a value is not allowed."""
        if not self.includes(value) and not (self.or_none and value is None):
            raise InvalidRequest(f"{name} must be a number from {self.least:g} to {self.most:g}, not {value!r}")


class Spelling(Record):
    """
    How ``concmem run`` spells an option.

    Attributes:
        name: ``--name``, or ``--name/--no-name``.
        help: One line: what it does.
        metavar: What stands for the value in the help; None for a flag or a choice.
        parse: Converts the text to the value.
        spell: Converts a value to text, to print the range of a number.
        default: The default of the command, as text; None for the default of the option.
    """

    name: str
    help: str
    metavar: str | None = None
    parse: Callable[[str], Any] | None = None
    spell: Callable[[Any], str] | None = None
    default: Any = None


class Option(Record):
    """
    The declaration of an option. Its name and type are those of the field.

    Attributes:
        text: What it does, for the documentation of `concmem.measure`.
        default: Its default.
        check: Called with name and value; raises InvalidRequest if the value is invalid.
        source: The optional source that it requests.
        is_set_up: Whether the command's process sets it before its exec.
        spelled: How the command spells it; None if the command does not have it.
    """

    text: str
    default: Any = None
    check: Callable[[str, Any], None] | None = None
    source: str = ""
    is_set_up: bool = False
    spelled: Spelling | None = None


def parsed(option: Option, text: str) -> Any:
    """
    Return the value of a text on the command line.

    Raises:
        InvalidRequest: It is not a value, or is out of range. The message has the units of the command.
    """
    spelled, check = option.spelled, option.check
    if spelled is None or spelled.parse is None:
        return text
    value = spelled.parse(text)
    if isinstance(check, Range) and spelled.spell is not None and not check.includes(value):
        raise InvalidRequest(f"{text!r} is not between {spelled.spell(check.least)} and {spelled.spell(check.most)}")
    return value


def declared(options: Any) -> dict[str, tuple[Any, Option]]:
    """Return the type and the declaration of each option of a class such as `concmem.options.Options`."""
    annotations: dict[str, Any] = options.__annotations__
    return {name: (hint.__origin__, hint.__metadata__[0]) for name, hint in annotations.items()}


class _Described:
    """
    Stands behind a function as its ``__wrapped__``, where `inspect.signature` looks for a signature.

    The signature is made when it is read, because importing `inspect` takes as long as a short command runs.

    Attributes:
        __wrapped__: The function as it was written, for `inspect.getsource` and similar functions.
    """

    def __init__(self, function: Any, table: dict[str, tuple[Any, Option]]) -> None:
        self.__wrapped__ = type(function)(function.__code__, function.__globals__, function.__name__)
        self.__wrapped__.__kwdefaults__ = function.__kwdefaults__
        self._annotations = function.__annotations__
        self._table = table

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.__wrapped__(*args, **options)

    @property
    def __signature__(self) -> inspect.Signature:
        import inspect

        written = inspect.signature(self.__wrapped__).parameters.values()
        own = [p.replace(annotation=self._annotations[p.name]) for p in written if p.kind is not p.VAR_KEYWORD]
        own += [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=kind)
            for name, (kind, option) in self._table.items()
        ]
        return inspect.Signature(own, return_annotation=self._annotations["return"])


def documented(options: Any) -> Callable[[Function], Function]:
    """
    Return a decorator for a function that takes ``**options`` of a class such as `concmem.options.Options`.

    It lists each option in the signature and the annotations, and in the docstring in place of ``{options}``.
    """
    table = declared(options)

    def decorate(function: Function) -> Function:
        described: Any = function
        written = dict(described.__annotations__)
        result = written.pop("return")
        written.popitem()  # the options
        described.__annotations__ = written | {name: kind for name, (kind, _) in table.items()} | {"return": result}
        described.__wrapped__ = _Described(function, table)
        if described.__doc__:  # None with python -OO
            entries = [line for name, (_, option) in table.items() for line in _lines(f"{name}: {option.text}")]
            described.__doc__ = _unindented(described.__doc__).replace("{options}", "\n".join(entries).lstrip())
        return function

    return decorate


def _unindented(text: str) -> str:
    """Return a docstring without the indentation of its function, as `inspect.cleandoc` does."""
    first, *rest = text.strip().splitlines()
    indentation = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return "\n".join([first, *(line[indentation:] for line in rest)])


def _lines(entry: str, width: int = 110) -> list[str]:
    """Return an entry of a docstring as lines, without textwrap: its import takes longer than this function."""
    lines = [" " * 3]
    for word in entry.split():
        if len(lines[-1]) + 1 + len(word) > width:
            lines.append(" " * 7)
        lines[-1] += f" {word}"
    return lines
