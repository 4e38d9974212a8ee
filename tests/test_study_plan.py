from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from concmem.errors import InvalidRequest
from concmem.study import Plan, Run, cells
from concmem.study.limits.memory import _left_in_cgroups, available_bytes, margin_bytes
from concmem.study.plan import difference
from concmem.study.running.progress import Eta

PLAN = Plan(programs=("a", "b", "c", "d"), tasks=(100, 1, 10), runs=3, seed=7)


def test_every_run_of_the_plan_comes_once() -> None:
    """The order holds every program at every size in every round, once."""
    order = cells(PLAN)
    expected = {(program, tasks, index) for program in "abcd" for tasks in (1, 10, 100) for index in range(3)}
    assert len(order) == 36
    assert {attrs.astuple(cell) for cell in order} == expected


def test_each_round_is_complete_before_the_next_and_goes_from_small_to_large() -> None:
    """No cell is repeated before all had their turn, and within a round sizes ascend."""
    assert [(cell.index, cell.tasks) for cell in cells(PLAN)] == sorted((c.index, c.tasks) for c in cells(PLAN))


def test_the_seed_decides_the_order() -> None:
    """The same seed gives the same order, another seed another one; the programs change places from size to size."""
    assert cells(PLAN) == cells(PLAN)
    assert cells(PLAN) != cells(attrs.evolve(PLAN, seed=8))
    names = [cell.program for cell in cells(PLAN)]
    assert len({tuple(names[i : i + 4]) for i in range(0, 36, 4)}) > 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tasks": ()}, "at least one number of tasks"),
        ({"tasks": (0, 1)}, "the number of tasks must be between 1 and 2147483647, not 0"),
        ({"runs": 0}, "the number of runs must be at least 1, not 0"),
        ({"sleep_s": 0}, "sleep_s must be"),
        ({"sleep_s": float("nan")}, "sleep_s must be"),
        ({"finish_limit_s": float("inf")}, "finish_limit_s must be"),
    ],
)
def test_an_invalid_plan_is_refused(wrong: dict[str, object], message: str) -> None:
    """One sentence names the invalid value."""
    with pytest.raises(InvalidRequest, match=message):
        Plan(**wrong)  # type: ignore[arg-type]


def test_the_first_difference_of_plans_is_named() -> None:
    """With both values; equal plans have none."""
    assert difference(PLAN, attrs.evolve(PLAN)) == ""
    assert difference(PLAN, attrs.evolve(PLAN, runs=1)) == "runs is 3 in the study, but 1 is requested"
    assert difference(PLAN, attrs.evolve(PLAN, tasks=(1, 5))) == "tasks is 1,10,100 in the study, but 1,5 is requested"


def test_the_time_left_is_learnt_from_finished_runs() -> None:
    """The time beyond the sleep is carried to larger sizes of the program; others keep the first guess."""
    plan = Plan(programs=("a", "b"), tasks=(1, 1000), sleep_s=10, seed=1)
    eta = Eta(plan)
    order = cells(plan)
    guessed_s = eta.left_s(order)
    assert 40 < guessed_s < 50
    eta.learn(Run(program="a", tasks=1, index=0, status="ok", sleep_s=10.0), 13.0)
    assert eta.left_s(order) == pytest.approx(guessed_s + 2 * 2.5, abs=0.01)
    eta.learn(Run(program="a", tasks=1000, index=0, status="skipped", sleep_s=10.0), 0.0)
    assert eta.left_s([cell for cell in order if cell.program == "a"]) == pytest.approx(13.0)


@pytest.mark.parametrize(
    ("lines", "folder", "names"),
    [
        ("0::/a/b\n", "", ("memory.max", "memory.current", "inactive_file")),
        (
            "4:cpu,memory:/a/b\n",
            "memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ],
)
def test_the_limit_of_an_enclosing_group_counts(
    tmp_path: Path, lines: str, folder: str, names: tuple[str, str, str]
) -> None:
    """Each enclosing group with a limit leaves its limit less its use; file cache counts as free."""
    root = tmp_path / "cgroup"
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cgroup").write_text(lines)
    kind, options = ("cgroup", "rw,cpu,memory") if folder else ("cgroup2", "rw")
    (tmp_path / "proc" / "mounts").write_text(f"{kind} {root / folder} {kind} {options} 0 0\n")
    group = root / folder / "a" / "b"
    group.mkdir(parents=True)
    limit, usage, cache = names
    for path, most in ((group, "max"), (group.parent, "1000")):
        (path / limit).write_text(f"{most}\n")
        (path / usage).write_text("700\n")
        (path / "memory.stat").write_text(f"anon 400\n{cache} 200\n")
    assert list(_left_in_cgroups(str(tmp_path / "proc"))) == [500]


def test_this_machine_has_memory() -> None:
    """Some memory is free, and the part that must stay free is finite."""
    assert available_bytes() > 0
    assert 0 < margin_bytes() < 1 << 50
