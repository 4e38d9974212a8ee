"""Frozen attrs classes whose instances are made at first in part only."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

__all__ = ["Later"]

_T = TypeVar("_T", bound="Later")


class Later:
    """
    Base of a frozen attrs class with slots, which gets one more way to make an instance: `later`.

    Python comes to ``__getattr__`` only where a slot has no value yet. So whoever reads a field, be it to compare,
    copy, pickle or store, cannot tell such an instance from another one, and a field that is there costs nothing.
    """

    __slots__ = ("_make",)

    @classmethod
    def later(cls: type[_T], make: Callable[[], _T], **known: Any) -> _T:
        """
        An instance that is equal to the one that `make` gives, which is not called before anything else is asked for.

        Args:
            make: Two threads that ask at the same time may both call it.
            known: Fields that can be read before.
        """
        made = cls.__new__(cls)
        object.__setattr__(made, "_make", make)
        for name, value in known.items():
            object.__setattr__(made, name, value)
        return made

    if not TYPE_CHECKING:  # which would take any name for that of an attribute

        def __getattr__(self, name: str) -> Any:
            make = None if name == "_make" else getattr(self, "_make", None)
            if make is not None and name in attrs.fields_dict(type(self)):
                whole = make()
                for field in attrs.fields(type(self)):
                    object.__setattr__(self, field.name, getattr(whole, field.name))
                object.__setattr__(self, "_make", None)
            return object.__getattribute__(self, name)
