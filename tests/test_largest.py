"""The search for the largest number of tasks that runs, if a planned number cannot run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from concmem.drivers import programs as drivers
from concmem.host import threads_on_machine
from concmem.report.tables import peaks as tables
from concmem.study import Plan, Progress, bench, largest_rows
from concmem.study.limits.kinds import MEMORY, Obstacle
from concmem.study.plan import Cell
from concmem.study.results.results import Results
from concmem.study.running.find_largest import Search, find_searches, guesses
from concmem.study.store.records import Run

LIMITED = """
import sys, threading, time
tasks, sleep_s = int(sys.argv[1]), float(sys.argv[2])
for i in range(tasks):
    if i == 300:
        time.sleep(0.2)
        sys.exit(f"could not start thread {i}: no more")
    threading.Thread(target=time.sleep, args=[sleep_s], daemon=True).start()
print(f"started {tasks}", flush=True)
time.sleep(sleep_s + 0.1)
print(f"done {tasks}", flush=True)
"""
PLAN = Plan(programs=("x",), tasks=(10, 100, 1000), runs=2)


def made(tasks: int, status: str, alive: int | None = None, **more: object) -> Run:
    values = {"index": 0, "sleep_s": 1.0, "alive": alive, **more}
    return Run(program="x", tasks=tasks, status=status, **values)  # type: ignore[arg-type]


def test_guesses_go_down_from_the_upper_end() -> None:
    """At most five numbers of two significant digits, none of them at or below a number that ran."""
    assert list(guesses(Search("x", 100_000, 32_443, 10_000))) == [31_000, 27_000, 24_000, 21_000, 18_000]
    assert list(guesses(Search("x", 100_000, 16_343, 15_000))) == [16_000]
    assert list(guesses(Search("x", 9, 8, 1))) == [7, 6, 5, 4, 3]


def test_the_search_starts_below_what_was_alive() -> None:
    """It is for the smallest planned number that no run reached, below the most threads that were alive in its runs."""
    runs = [made(10, "ok", 10), made(100, "failed", 50), made(100, "failed", 55, index=1), made(1000, "failed", 80)]
    assert find_searches(PLAN, runs) == [Search("x", 100, 55, 10)]
    assert find_searches(PLAN, [*runs, made(100, "ok", 100, index=2)]) == [], "fewer than what did run"


def test_the_search_starts_below_a_known_limit() -> None:
    """If tasks cannot be counted, or the run was not tried: below what fits under the narrowest limit."""
    memory = Obstacle(MEMORY, 20 << 20, 40 << 20, 500)
    mappings = Obstacle("vm.max_map_count", 65530, 200_000, 600, "sysctl")
    skipped = made(1000, "skipped", obstacles=(memory, mappings))
    assert find_searches(PLAN, [made(10, "ok"), made(100, "ok"), skipped]) == [Search("x", 1000, 500, 100)]
    assert find_searches(PLAN, [made(10, "ok"), made(100, "failed", obstacles=(mappings,))]) == [
        Search("x", 100, 100, 10)
    ]


@pytest.mark.parametrize(
    "run", [made(100, "skipped"), made(100, "failed"), made(100, "failed", 8)], ids=["skipped", "failed", "fewer"]
)
def test_no_search_without_a_limit(run: Run) -> None:
    """For example without a toolchain, or if no more were alive than ran."""
    assert find_searches(PLAN, [made(10, "ok", 10), run]) == []


def test_a_complete_search_is_not_repeated() -> None:
    """A search is complete once it has as many runs as were planned."""
    runs = [made(10, "ok", 10), made(100, "failed", 50)]
    result = [made(49, "ok", 49, instead_of=100, index=index) for index in (0, 1)]
    assert find_searches(PLAN, [*runs, result[0]]) == [Search("x", 100, 50, 10)]
    assert find_searches(PLAN, [*runs, *result]) == []


@pytest.mark.usefixtures("own_machine")
def test_the_largest_number_that_runs_is_found(tmp_path: Path, write_programs: Callable[..., Path]) -> None:
    """
    A program can have 300 threads: 1000 fails, and a number just below 300 gets as many runs as were planned for 1000.

    These runs are stored with their own number, and the note of the table names it.
    """
    programs = write_programs(LIMITED, "limited", kind="thread", begins_together=False)
    plan = Plan(programs=("limited",), tasks=(5, 1000), runs=2, sleep_s=1, programs_dirs=(str(programs),))
    study = bench(plan, tmp_path / "study")
    assert [(run.tasks, run.status) for run in study.runs if run.instead_of is None] == [
        *[(5, "ok")] * 2,
        *[(1000, "failed")] * 2,
    ]
    (row,) = largest_rows(study)
    assert (row.instead_of, row.tasks, row.good_runs) == (1000, 290, 2)
    assert row.median_bytes is not None and row.alive == 291
    assert "the largest number that ran is 290, with " in tables.markdown(Results(study))
    again = bench(plan, tmp_path / "study", resume=True)
    assert attrs.evolve(again, path=study.path) == study, "the search is not repeated"


@pytest.mark.long
@pytest.mark.alone  # other tests take threads of the machine
def test_the_largest_number_of_real_threads_is_found(tmp_path: Path) -> None:
    """Rust threads: with the default vm.max_map_count, 100,000 of them do not fit."""
    program = drivers.load_programs()["rust-threads"]
    if isinstance(result := drivers.detect(program), drivers.Missing):
        pytest.skip(result.reason)
    most = int(Path("/proc/sys/vm/max_map_count").read_text()) // program.mappings
    if most > 30_000:
        pytest.skip(f"vm.max_map_count here allows {most} threads, which is more than a test should start")
    if (others := threads_on_machine()) > 4000:
        pytest.skip(f"others have {others} threads on this machine")
    study = bench(Plan(programs=("rust-threads",), tasks=(1, most + 1000), sleep_s=2), tmp_path / "study")
    (row,) = largest_rows(study)
    assert 0.9 * most < row.tasks < most
    assert row.alive is not None and row.tasks < row.alive <= row.tasks + 10
    (failed,) = (run for run in study.runs if run.status == "failed")
    assert "vm.max_map_count" in failed.reason
    assert [obstacle.name for obstacle in failed.obstacles if obstacle.lift][:1] == ["vm.max_map_count"]


class Estimates(Progress):
    """Records the estimate at each start, and the notes."""

    def __init__(self) -> None:
        self.left_s: list[tuple[int, float]] = []
        self.notes: list[str] = []

    def running(self, cell: Cell, sleep_s: float, attempt: int, left_s: float) -> None:
        """Record it."""
        self.left_s.append((cell.tasks, left_s))

    def note(self, sentence: str) -> None:
        """Record it."""
        self.notes.append(sentence)


@pytest.mark.usefixtures("own_machine")
def test_the_time_that_is_left_includes_the_search(tmp_path: Path, write_programs: Callable[..., Path]) -> None:
    """Each guess is printed, and the time that is left contains the runs of the search."""
    folder = write_programs(LIMITED, "limited", kind="thread")
    progress = Estimates()
    plan = Plan(programs=("limited",), tasks=(1, 400), sleep_s=0.4, runs=2, seed=1, programs_dirs=(str(folder),))
    bench(plan, tmp_path / "study", progress=progress)
    tries = [(tasks, left_s) for tasks, left_s in progress.left_s if tasks not in plan.tasks]
    assert len(tries) >= 2
    assert all(left_s >= 0.4 for _, left_s in tries)
    assert tries[0][1] >= 0.8, "two runs of it are left"
    assert any("limited: 400 tasks cannot run; searching for the largest number that can" in n for n in progress.notes)
    assert f"limited: trying {tries[0][0]} tasks" in progress.notes
