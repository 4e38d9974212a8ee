"""Fields of a C struct as a tuple whose items have names."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

__all__ = ["StructRow"]


class StructRow(tuple[Any, ...]):
    """
    A tuple whose items can be read by the names that a subclass annotates, in their order.

    `typing.NamedTuple` does more, and compiles code for every name: 5 ms for the structs of concmem.
    """

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(cls.__annotations__)
        for number, name in enumerate(cls._fields):
            setattr(cls, name, property(itemgetter(number)))
