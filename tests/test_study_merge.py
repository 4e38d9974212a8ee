from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from stored_studies import store_study

from concmem.errors import RecordingError
from concmem.report import compare
from concmem.study import Study, StudyError, StudyNotStored, load_study, merge, rows
from concmem.study.cluster.machines import kind_difference
from concmem.study.store.directory import Store

Make = Callable[..., Study]


@pytest.fixture
def make(make_study: Make) -> Make:
    """Return `make_study` with storing."""

    def stored(name: str, *arguments: Any, **changes: Any) -> Study:
        return load_study(store_study(make_study(name, *arguments, **changes)).path)

    return stored


def _peaks(study: Study) -> dict[tuple[str, int], list[float]]:
    result: dict[tuple[str, int], list[float]] = {}
    for run in study.runs:
        if run.peak is not None and run.peak.bytes is not None:
            result.setdefault((run.program, run.tasks), []).append(run.peak.bytes / (1 << 20))
    return result


def test_a_merge_has_all_runs_of_all_studies(make: Make, tmp_path: Path) -> None:
    """Runs are numbered anew in each cell and keep their timelines; plans are joined; the sources are not changed."""
    a = make("a", {("go", 1): [1, 2], ("go", 10): [3, 4]})
    b = make("b", {("go", 1): [5, 6, 7], ("rust", 1): [8]}, plan={"runs": 3, "seed": 9})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    joined = merge([a.path, b.path], tmp_path / "out")
    assert _peaks(joined) == {("go", 1): [1, 2, 5, 6, 7], ("go", 10): [3, 4], ("rust", 1): [8]}
    assert [run.index for run in joined.runs] == [0, 1, 2, 3, 4, 0, 1, 0]
    plan = joined.plan
    assert (plan.programs, plan.tasks, plan.runs, plan.runs_at, plan.seed) == (
        ("go", "rust"),
        (1, 10),
        5,
        ((10, 2),),
        1,
    )
    assert [entry.name for entry in joined.programs] == ["go", "rust"]
    for run in joined.runs:
        assert joined.timeline_path(run).read_bytes()
    assert {path: path.read_bytes() for path in before} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    result = {(row.program, row.tasks): row for row in rows(joined)}
    assert (result["go", 1].good_runs, result["rust", 10].status) == (5, "not run")


def test_a_run_that_two_studies_hold_counts_once(make: Make, tmp_path: Path) -> None:
    """Its content identifies it: merging again adds nothing; a lost timeline is taken from another copy."""
    a = make("a", {("go", 1): [1, 2], ("rust", 1): "no rust"})
    b = make("b", {("go", 1): [2, 3], ("rust", 1): "no rust", ("c", 1): "no c"})
    once = merge([a.path, b.path], tmp_path / "once")
    assert _peaks(once) == {("go", 1): [1, 2, 2, 3]}, "two runs with the same peak are two runs"
    (once.timeline_path(once.runs[0])).unlink()
    again = merge([once.path, b.path, once.path, a.path], tmp_path / "again")
    assert again.runs == once.runs
    assert again.plan == once.plan
    assert all(again.timeline_path(run).exists() for run in again.runs if run.measurement is not None)
    assert not any(pair.is_far for pair in compare(once, again).pairs)


def test_equal_failed_runs_of_one_study_are_different_runs(make: Make, tmp_path: Path) -> None:
    """Equal runs in another study are the same ones."""
    a = make("a", {("go", 1): "gone"})
    store = Store(a.path)
    for index in range(3):
        store.add(attrs.evolve(a.runs[0], status="failed", index=index))
    b = make("b", {("go", 1): "gone"})
    Store(b.path).add(attrs.evolve(a.runs[0], status="failed"))
    joined = merge([a.path, b.path], tmp_path / "out")
    assert [(run.status, run.index) for run in joined.runs] == [("failed", 0), ("failed", 1), ("failed", 2)]


def test_a_run_replaces_a_skipped_one_of_another_study(make: Make, tmp_path: Path) -> None:
    """In either order; the toolchain is that of the study that ran it."""
    a = make("a", {("go", 1): "no go here", ("rust", 1): "no rust"}, entry={"toolchain": "", "missing": "not here"})
    b = make("b", {("go", 1): [1]})
    for order, name in (([a, b], "ab"), ([b, a], "ba")):
        joined = merge([study.path for study in order], tmp_path / name)
        assert {(run.program, run.status) for run in joined.runs} == {("go", "ok"), ("rust", "skipped")}
        entries = {entry.name: entry for entry in joined.programs}
        assert (entries["go"].toolchain, entries["go"].missing) == ("own 1.0", "")
        assert entries["rust"].missing == "not here"


def test_several_machines_of_one_kind_are_merged(make: Make, tmp_path: Path) -> None:
    """A little more memory is the same kind; every run keeps its host, and every version of concmem is listed."""
    a = make("a", {("go", 1): [1]}, host={"memory_bytes": 100 << 30})
    b = make("b", {("go", 1): [2]}, host={"memory_bytes": 102 << 30}, version="0.2")
    joined = merge([a.path, b.path], tmp_path / "out")
    hosts = [run.measurement.host.memory_bytes >> 30 for run in joined.runs if run.measurement]
    assert (hosts, joined.version) == ([100, 102], "0.1 / 0.2")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"plan": {"sleep_s": 1}}, "sleep_s is 10 in A and 1 in B"),
        ({"plan": {"workload": "spawn"}}, "workload is sleep in A and spawn in B"),
        ({"plan": {"longest_sleep_s": 90}}, "longest_sleep_s is 60 in A and 90 in B"),
        ({"host": {"kernel": "9.9"}}, "kernel is 6.1 in A and 9.9 in B"),
        ({"host": {"kernel": "6.1", "thp": "always"}}, "thp is never in A and always in B"),
        (
            {"host": {"kernel": "6.1", "thp": "never", "memory_bytes": 90 << 30}},
            "memory is 100 GiB in A and 90.0 GiB in B",
        ),
        ({"entry": {"toolchain": "own 2.0"}}, "toolchain of go is own 1.0 in A and own 2.0 in B"),
        ({"entry": {"begins_together": True}}, "begins_together of go is False in A and True in B"),
    ],
)
def test_studies_that_do_not_compare_are_not_merged(
    make: Make, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """One sentence names both and the difference; nothing is written."""
    host = {"kernel": "6.1", "thp": "never", "memory_bytes": 100 << 30}
    a = make("a", {("go", 1): [1]}, host=host)
    b = make("b", {("go", 1): [1]}, **{"host": host, **changes})
    with pytest.raises(StudyError) as caught:
        merge([a.path, b.path], tmp_path / "out")
    shown = str(caught.value).replace(f"in {a.path}", "in A").replace(f"in {b.path}", "in B")
    assert shown == f"{b.path} cannot be merged with {a.path}: {message}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_the_kind_of_a_machine(make: Make) -> None:
    """A machine is of its own kind; 5 % of memory more or less is allowed, in both directions."""
    host = attrs.evolve(make("a", {("go", 1): [1]}).host, memory_bytes=100)
    places = ("in A", "in B")
    assert kind_difference(host, host, places) == ""
    for memory, same in ((96, True), (105, True), (94, False), (106, False)):
        other = attrs.evolve(host, memory_bytes=memory)
        assert (kind_difference(host, other, places) == "", kind_difference(other, host, places) == "") == (same, same)
    assert kind_difference(attrs.evolve(host, cpu_model=""), attrs.evolve(host, cpu_model="X"), places) == (
        "cpu_model is unknown in A and X in B"
    )


def test_a_folder_in_use_is_refused_an_empty_one_is_taken(make: Make, tmp_path: Path) -> None:
    """The folder of a source is refused too, and so is a file."""
    a = make("a", {("go", 1): [1]})
    (tmp_path / "empty").mkdir()
    assert merge([a.path], tmp_path / "empty").runs == a.runs
    with pytest.raises(StudyError, match="a is not empty: resume the study in it, or choose another"):
        merge([a.path], a.path)
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match="file cannot be used for a study: Not a directory"):
        merge([a.path], tmp_path / "file")
    assert merge([a.path], tmp_path / "new" / "deep").runs == a.runs


def test_a_merge_that_fails_leaves_nothing(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, an interrupt, a damaged file: no folder is left."""
    a = make("a", {("go", 1): [1, 2]})
    real, left = Store.copy, [1]

    def full(self: Store, *arguments: Any) -> None:
        if not left:
            raise StudyNotStored(28, "No space left on device", "somewhere")
        left.pop()
        real(self, *arguments)

    monkeypatch.setattr(Store, "copy", full)
    with pytest.raises(StudyNotStored, match="out could not be stored: No space left on device"):
        merge([a.path], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and not left

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Store, "copy", interrupt)
    with pytest.raises(KeyboardInterrupt):
        merge([a.path], tmp_path / "out")
    (a.path / "runs" / "go-1-1.json").write_text("{")
    with pytest.raises(RecordingError, match=r"go-1-1\.json: not JSON"):
        merge([a.path], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_command_merges(make: Make, tmp_path: Path) -> None:
    """It prints what was merged and how to continue; an error is one sentence and exit code 2."""
    a, b = make("a", {("go", 1): [1]}), make("b", {("rust", 1): [1]}, plan={"sleep_s": 1})
    Store(b.path).write(attrs.evolve(b, plan=attrs.evolve(b.plan, sleep_s=10)))

    def concmem(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "concmem", "merge", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)

    done = concmem("a", "b", "--out", "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "2 runs of 2 programs in out. To write its report: concmem report out\n"
    assert json.loads((tmp_path / "out" / "study.json").read_text())["plan"]["programs"] == ["go", "rust"]
    for arguments, message in (
        (("a", "none", "--out", "new"), "concmem: there is no study in none"),
        (("a", "--out", "out"), "concmem: out is not empty: "),
        (("a",), "concmem: Missing option '--out'"),
        (("--out", "new"), "concmem: Missing argument 'DIR...'"),
    ):
        done = concmem(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.startswith(message)
    assert a.runs and not (tmp_path / "new").exists()
