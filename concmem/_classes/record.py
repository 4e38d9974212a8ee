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

    _names: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        cls._names = tuple(cls.__annotations__)
        cls._defaults = {name: vars(cls)[name] for name in cls._names if name in vars(cls)}

    def __init__(self, *values: Any, **named: Any) -> None:
        own, names = self.__dict__, self._names
        own.update(self._defaults)
        if values:
            own.update(zip(names, values, strict=False))
        own.update(named)
        if len(own) != len(names) or len(values) > len(names) or not named.keys() <= set(names):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(names)}, not {', '.join(own)}")
