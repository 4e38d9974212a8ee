"""Instances that are made in part at first are like any other, whatever is done with them."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import attrs
import pytest

import concmem
from concmem._lazy import Lazy
from concmem.testing import known


@attrs.frozen
class Pair(Lazy):
    """Two fields, of which one has a default that `later` must not take."""

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


def test_what_is_known_is_there_and_the_rest_is_made_once(pair: Pair, calls: list[str]) -> None:
    """Nothing is made before it is asked for, and nothing twice."""
    assert pair.first == 1
    assert calls == []
    assert pair.second == [2]
    assert pair.second is pair.second
    assert calls == ["made"]


@pytest.mark.parametrize(
    "same",
    [copy.copy, copy.deepcopy, attrs.evolve, lambda pair: pickle.loads(pickle.dumps(pair)), lambda pair: pair],
)
def test_copies_are_whole(same: Callable[[Any], Any], pair: Pair, calls: list[str]) -> None:
    """Whatever copies one that is not whole yet gives one that is."""
    again = same(pair)
    assert again == Pair(1, [2]) == pair
    assert repr(again) == repr(Pair(1, [2]))
    assert attrs.asdict(again) == {"first": 1, "second": [2]}
    assert calls == ["made"]


def test_names_that_are_no_fields(pair: Pair, calls: list[str]) -> None:
    """They are missing, as in any other instance, and asking for them makes nothing."""
    for each in (pair, Pair(1)):
        with pytest.raises(AttributeError, match=r"'Pair' object has no attribute 'third'"):
            each.third  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(pair, "__len__")
    assert calls == []


def test_it_is_frozen_all_the_same(pair: Pair) -> None:
    """A field that has not been made cannot be set either."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        pair.second = []  # type: ignore[misc]
    assert pair.second == [2]


def test_what_cannot_be_made_is_tried_again() -> None:
    """An error comes to whoever asks, and leaves the instance as it was."""
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
def test_a_measurement_that_nobody_has_read(command: Any) -> None:
    """The headline is that of the other figures; what is read long after others have used the memory is its own."""
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
def test_the_headline_that_is_made_first_is_that_of_all_figures(command: list[str], options: dict[str, Any]) -> None:
    """What is left out for a process that was alone would have changed nothing."""
    m = concmem.measure(command, stdout=concmem.DEVNULL, **options)
    first = m.peak, m.exit
    assert m.processes
    assert (m.figures["peak"], m.exit) == first
