"""Lazy instances behave like any other, whatever is done with them; records have their fields."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest

import concmem
from concmem._classes.lazy import Lazy
from concmem._classes.record import Record
from concmem.testing import known


class Span(Record):
    """The second of two fields has a default."""

    first: int
    last: int = 9


def test_a_record_has_its_fields() -> None:
    """Values are given in the order of the fields or by name. Any other number or name of values is a TypeError."""
    for span in (Span(1), Span(1, 9), Span(first=1), Span(1, last=9), Span(last=9, first=1)):
        assert (span.first, span.last) == (1, 9)
    wrong: Any = Span
    for values, named in (((), {}), ((), {"last": 1}), ((1, 2, 3), {}), ((1,), {"middle": 2})):
        with pytest.raises(TypeError, match=r"^Span has the fields first, last, not "):
            wrong(*values, **named)


@attrs.frozen
class Pair(Lazy):
    """Two fields. One has a default, which `create_lazy` must not use."""

    first: int
    second: list[int] = attrs.field(factory=list)


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def pair(calls: list[str]) -> Pair:
    def make() -> Pair:
        calls.append("made")
        return Pair(1, [2])

    return Pair.create_lazy(make, first=1)


def test_other_fields_are_built_once_on_first_use(pair: Pair, calls: list[str]) -> None:
    """Known fields can be read at once. The others are built on first use, and once."""
    assert pair.first == 1
    assert calls == []
    assert pair.second == [2]
    assert pair.second is pair.second
    assert calls == ["made"]


def test_a_part_is_computed_alone(calls: list[str]) -> None:
    """A field with a function of its own is computed by that, once, and the others are not built."""

    def second() -> list[int]:
        calls.append("second")
        return [2]

    def make() -> Pair:
        calls.append("made")
        return Pair(1, [2])

    pair = Pair.create_lazy(make, {"second": second})
    assert pair.second is pair.second == [2]
    assert calls == ["second"]
    assert copy.copy(pair) == Pair(1, [2])
    assert calls == ["second", "made"]


@pytest.mark.parametrize(
    "same",
    [copy.copy, copy.deepcopy, attrs.evolve, lambda pair: pickle.loads(pickle.dumps(pair)), lambda pair: pair],
)
def test_copies_are_complete(same: Callable[[Any], Any], pair: Pair, calls: list[str]) -> None:
    """Every way of copying gives a complete instance."""
    again = same(pair)
    assert again == Pair(1, [2]) == pair
    assert repr(again) == repr(Pair(1, [2]))
    assert attrs.asdict(again) == {"first": 1, "second": [2]}
    assert calls == ["made"]


def test_unknown_attributes(pair: Pair, calls: list[str]) -> None:
    """They raise an AttributeError, as in any other instance, and build nothing."""
    for each in (pair, Pair(1)):
        with pytest.raises(AttributeError, match=r"'Pair' object has no attribute 'third'"):
            each.third  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(pair, "__len__")
    assert calls == []


def test_lazy_fields_are_frozen(pair: Pair) -> None:
    """A field that has not been built cannot be set either."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        pair.second = []  # type: ignore[misc]
    assert pair.second == [2]


def test_a_failed_build_is_tried_again() -> None:
    """The error reaches the caller, and the instance is unchanged."""
    results = [ValueError("not yet"), Pair(1, [3])]

    def make() -> Pair:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    pair = Pair.create_lazy(make, first=1)
    with pytest.raises(ValueError, match="not yet"):
        pair.second  # noqa: B018
    assert pair.second == [3]


@pytest.mark.parametrize("command", [["/bin/true"], "sleep 0.02 & sleep 0.03; exit 4"])
def test_a_measurement_that_is_read_late(command: Any) -> None:
    """All fields are its own, even after other measurements have reused the shared memory."""
    m = concmem.measure(command)
    peak = m.peak
    for _ in range(3):
        concmem.measure("exit 7")
    stored = json.loads(json.dumps(m.to_dict()))
    assert m.peak == peak == m.figures["peak"]
    assert m.exit.code == (4 if isinstance(command, str) else 0)
    assert m.command == (command if isinstance(command, str) else tuple(command))
    assert len(m.processes) >= (3 if isinstance(command, str) else 1)
    assert concmem.Measurement.from_dict(stored) == m
    assert pickle.loads(pickle.dumps(m)) == m


@pytest.mark.parametrize(
    "options",
    [{}, {"interval_s": 0.0001}, {"windows": True}, {"timeout_s": 0.02}, {"timeout_s": 0.0002}, {"pss_budget": 0}],
    ids=repr,
)
@pytest.mark.parametrize(
    "command",
    [
        ["/bin/true"],
        ["/bin/sh", "-c", "kill -9 $$"],
        ["/bin/sh", "-c", "trap '' CHLD; exit 3"],
        ["/bin/sh", "-c", "/bin/true"],
        ["/bin/sh", "-c", "/bin/true; /bin/true"],
        ["/bin/sh", "-c", "sleep 0.01 & exit 0"],
        known("hold", 5 << 20, 1, 0.01),
        known("exec-small", 30 << 20, 0.01),
    ],
    ids=str,
)
def test_the_early_headline_equals_that_of_all_figures(command: list[str], options: dict[str, Any]) -> None:
    """The short cut for a single process does not change the headline."""
    m = concmem.measure(command, stdout=concmem.DEVNULL, **options)
    first = m.peak, m.exit
    assert m.processes
    assert (m.figures["peak"], m.exit) == first
