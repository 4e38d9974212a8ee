from __future__ import annotations

from typing import Any

import attrs
import pytest

from concmem.study import Entry
from concmem.study.cluster.machines import entry_difference

FOUND = Entry("go", "Go", "Go", "green thread", "article", False, toolchain="go 1.22")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"toolchain": "go 1.23"}, "toolchain is go 1.23 there and go 1.22 here"),
        ({"toolchain": "", "missing": "no toolchain"}, "missing is no toolchain there and nothing here"),
        ({"missing": "the build failed"}, "missing is the build failed there and nothing here"),
        ({"begins_together": True}, "begins_together is True there and False here"),
    ],
)
def test_a_program_compares_where_it_was_found_alike(changes: dict[str, Any], said: str) -> None:
    """One toolchain, one manifest, and both can run it or neither."""
    assert entry_difference(attrs.evolve(FOUND, **changes), FOUND) == said


def test_why_a_program_is_missing_may_differ() -> None:
    """What a compiler says can name folders."""
    here, there = (attrs.evolve(FOUND, missing=f"no such file: /{name}/go") for name in "ab")
    assert entry_difference(there, here) == ""
