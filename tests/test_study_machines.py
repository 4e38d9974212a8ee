from __future__ import annotations

from typing import Any

import attrs
import pytest

from concmem.study import Entry
from concmem.study.cluster.machines import entry_difference

FOUND = Entry("go", "Go", "Go", "green thread", "article", False, toolchain="go 1.22")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        ({"toolchain": "go 1.23"}, "toolchain is go 1.23 on A and go 1.22 on B"),
        ({"toolchain": "", "missing": "no toolchain"}, "it cannot run on A: no toolchain"),
        ({"missing": "the build failed"}, "it cannot run on A: the build failed"),
        ({"begins_together": True}, "begins_together is True on A and False on B"),
    ],
)
def test_entries_compare_if_toolchain_and_manifest_are_the_same(changes: dict[str, Any], message: str) -> None:
    """Either both machines can run the program or neither."""
    assert entry_difference(attrs.evolve(FOUND, **changes), FOUND, ("on A", "on B")) == message


def test_the_reason_of_a_missing_program_may_differ() -> None:
    """A compiler's message can name folders."""
    here, there = (attrs.evolve(FOUND, missing=f"no such file: /{name}/go") for name in "ab")
    assert entry_difference(there, here, ("on A", "on B")) == ""
