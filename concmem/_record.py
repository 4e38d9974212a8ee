"""A base class for internal values, whose subclasses cost little to define."""

from __future__ import annotations

TYPE_CHECKING = False  # for a type checker this name is True, as in `typing`, which takes longer to import

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ClassVar, TypeVar

    from typing_extensions import dataclass_transform

    _T = TypeVar("_T")
else:

    def dataclass_transform(**_: Any) -> Callable[[_T], _T]:
        """Return a decorator that changes nothing; for a type checker, subclasses are dataclasses."""
        return lambda cls: cls


__all__ = ["Record"]


@dataclass_transform()
class Record:
    """
    Base of a class that has a value for each of its annotated fields, given in their order or by name.

    A default is the value of the class attribute. Type checkers treat the subclasses as dataclasses. attrs,
    `dataclasses` and `typing.NamedTuple` compile code for each class, at the cost of a millisecond.
    """

    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        cls._defaults = {name: vars(cls)[name] for name in cls.__annotations__ if name in vars(cls)}

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = type(self).__annotations__
        given = {**self._defaults, **dict(zip(fields, values, strict=False)), **named}
        if given.keys() != fields.keys() or len(values) > len(fields):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(fields)}, not {', '.join(given)}")
        vars(self).update(given)
