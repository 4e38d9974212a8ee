"""Frozen attrs classes that compute most of their fields on first use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

__all__ = ["Lazy"]

_T = TypeVar("_T", bound="Lazy")


class Lazy:
    """
    Base of a frozen attrs class with slots. It adds a second constructor: `create_lazy`.

    Python calls ``__getattr__`` only if a slot has no value yet. So comparing, copying, pickling and storing work as
    with any other instance, and a field that has a value costs nothing.
    """

    __slots__ = ("_build", "_parts")

    @classmethod
    def create_lazy(
        cls: type[_T], build: Callable[[], _T], parts: Mapping[str, Callable[[], Any]] | None = None, **known: Any
    ) -> _T:
        """
        Create an instance that equals the result of `build`, which is called when another field is read first.

        Args:
            build: Two threads that read at the same time may both call it.
            parts: Computes a field of this name without the others.
            known: Fields that can be read without calling `build`.
        """
        instance = cls.__new__(cls)
        object.__setattr__(instance, "_build", build)
        object.__setattr__(instance, "_parts", parts or {})
        for name, value in known.items():
            object.__setattr__(instance, name, value)
        return instance

    if not TYPE_CHECKING:  # with it, a type checker would accept any name as an attribute

        def __getattr__(self, name: str) -> Any:
            build = None if name in ("_build", "_parts") else getattr(self, "_build", None)
            if build is not None and name in self._parts:
                object.__setattr__(self, name, self._parts[name]())
            elif build is not None and name in attrs.fields_dict(type(self)):
                complete = build()
                for field in attrs.fields(type(self)):
                    object.__setattr__(self, field.name, getattr(complete, field.name))
                object.__setattr__(self, "_build", None)
            return object.__getattribute__(self, name)
