"""What a study says that it will take, before it begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from concmem.study import Plan, bench, cells, outlook
from concmem.study.outlook import look_ahead
from concmem.study.progress import Progress

PROGRAMS = ("go", "python", "rust-threads")
GIB = 1 << 30


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """16 GiB are free."""
    monkeypatch.setattr(outlook, "available_bytes", lambda: 17 * GIB)
    monkeypatch.setattr(outlook, "margin_bytes", lambda: GIB)


def test_runs_sizes_and_sleeps_add_up() -> None:
    """Each run sleeps; more runs, more tasks and threads that are looked for take longer."""
    plan = Plan(programs=PROGRAMS, tasks=(1, 1_000_000), runs=2, seed=1)
    found = look_ahead(plan, cells(plan))
    assert found.runs == 12 and 120 < found.seconds < 240
    twice = attrs.evolve(plan, runs=4)
    assert look_ahead(twice, cells(twice)).seconds == pytest.approx(2 * found.seconds)
    looked_for = look_ahead(plan, cells(plan), ["rust-threads"])
    assert looked_for.seconds - found.seconds == pytest.approx((2 + 2) * 10.5)
    few = attrs.evolve(plan, tasks=(1, 10))
    assert look_ahead(few, cells(few), ["rust-threads"]).seconds < found.seconds
    assert look_ahead(plan, cells(plan)[:3]).runs == 3


def test_memory_is_that_of_the_largest_run_that_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan(programs=PROGRAMS, tasks=(1, 1_000_000), seed=1)
    found = look_ahead(plan, cells(plan))
    assert found.free_bytes == 16 * GIB and 2.5 * GIB < found.memory_bytes < 3 * GIB  # Go
    monkeypatch.setattr(outlook, "available_bytes", lambda: 3 * GIB)
    assert GIB < look_ahead(plan, cells(plan)).memory_bytes < 2 * GIB
    monkeypatch.setattr(outlook, "available_bytes", lambda: 0)
    assert look_ahead(plan, cells(plan)).free_bytes == 0


def test_a_study_says_it_first(own_machine: None, write_programs: Callable[..., Path], tmp_path: Path) -> None:
    """Of the runs that are left; a complete one has nothing to say."""

    class Notes(Progress):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, sentence: str) -> None:
            self.notes.append(sentence)

    script = (
        "import sys, time\nprint('started', sys.argv[1])\ntime.sleep(float(sys.argv[2]))\nprint('done', sys.argv[1])"
    )
    folder = write_programs(script, "one")
    plan = Plan(programs=("one",), programs_dirs=(str(folder),), tasks=(1,), sleep_s=0.1, seed=1)
    first, again = Notes(), Notes()
    bench(plan, tmp_path / "study", progress=first)
    assert first.notes[0].startswith("1 run to make: about a second and ") and "16.0 GiB are free" in first.notes[0]
    bench(plan, tmp_path / "study", resume=True, progress=again)
    assert again.notes == []
