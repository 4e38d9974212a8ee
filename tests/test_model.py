"""The classes of a measurement: figures, exits, and that a stored measurement is the same when loaded."""

from __future__ import annotations

import json
import operator
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import attrs
import pytest

import concmem
from concmem import errors
from concmem.errors import RecordingError
from concmem.model import SCHEMA, Exit, Figure
from concmem.testing import known

MIB = 1 << 20


@pytest.fixture(scope="module")
def measured() -> concmem.Measurement:
    return concmem.measure(
        f"{' '.join(known('hold', 8 * MIB, 2, 0.2))}; echo done; exit 3",
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


COMPARED = [
    # a figure from 70 to 120
    (Figure(100, "bounded", "wait4", error_bytes=20, over_bytes=30), 69, "over", ">", ">="),
    (Figure(100, "bounded", "wait4", error_bytes=20, over_bytes=30), 70, "undecided", ">="),
    (Figure(100, "bounded", "wait4", error_bytes=20, over_bytes=30), 100, "undecided"),
    (Figure(100, "bounded", "wait4", error_bytes=20, over_bytes=30), 120, "under", "<="),
    (Figure(100, "bounded", "wait4", error_bytes=20, over_bytes=30), 121, "under", "<=", "<"),
    (Figure(100, "exact", "statm"), 99.5, "over", ">", ">="),
    (Figure(100, "exact", "statm"), 100, "under", "<=", ">="),
    (Figure(100, "exact", "statm"), 100.5, "under", "<", "<="),
    (Figure(100, "sampled", "statm"), 99, "over", ">", ">="),
    (Figure(100, "sampled", "statm"), 1e18, "undecided"),
    (Figure(100, "upper_bound", "status"), 99, "undecided"),
    (Figure(100, "upper_bound", "status"), 100, "under", "<="),
    (Figure(3 * MIB, "exact", "statm"), "3 MB", "over", ">", ">="),
    (Figure(3 * MIB, "exact", "statm"), "3 MiB", "under", "<=", ">="),
    (Figure(3 * MIB, "exact", "statm"), "4M", "under", "<", "<="),
    (Figure(100, "exact", "statm"), Figure(50, "bounded", "statm", error_bytes=49), "over", ">", ">="),
    (Figure(100, "exact", "statm"), Figure(50, "bounded", "statm", error_bytes=50), "undecided", ">="),
    (Figure(100, "exact", "statm"), Figure(100, "sampled", "statm"), "under", "<="),
    (Figure(100, "exact", "statm"), Figure(101, "sampled", "statm"), "under", "<", "<="),
    (Figure(100, "exact", "statm"), Figure(None, "unavailable", "cgroup", note="no cgroup"), "undecided"),
    (Figure(None, "unavailable", "cgroup", note="no cgroup"), 100, "undecided"),
]


@pytest.mark.parametrize("case", COMPARED, ids=str)
def test_figures_are_compared_with_limits(case: Any) -> None:
    """An answer is given if every amount in the range gives it; else `compare` says so and the operators raise."""
    figure, limit, expected, *true = case
    assert figure.compare(limit) == expected
    for sign, opposite in ((">", "<="), ("<=", ">"), (">=", "<"), ("<", ">=")):
        compared = getattr(operator, {">": "gt", "<=": "le", ">=": "ge", "<": "lt"}[sign])
        if sign in true or opposite in true:
            assert compared(figure, limit) is (sign in true)
            continue
        with pytest.raises(errors.Undecided) as raised:
            compared(figure, limit)
        assert isinstance(raised.value, ValueError) and "\n" not in str(raised.value)


def test_the_errors_of_comparisons() -> None:
    """The sentence has the limit as it was given and both ends; what is not an amount is refused."""
    bounded = Figure(100 * MIB, "bounded", "wait4", 30 * MIB)
    with pytest.raises(
        errors.Undecided, match=r"the figure or 110 MB: the figure is at least 100 MiB, and at most 130 MiB;"
    ):
        bounded > "110 MB"  # noqa: B015
    with pytest.raises(errors.Undecided, match="at least 100 MiB, and no upper end is known"):
        assert Figure(100 * MIB, "sampled", "statm") < "1 GiB"
    with pytest.raises(errors.Undecided, match="cannot be compared with 1 GiB: it is unavailable: no cgroup here"):
        assert Figure(None, "unavailable", "cgroup", note="no cgroup here") < "1 GiB"
    with pytest.raises(errors.InvalidRequest, match="'much' is not an amount"):
        bounded.compare("much")
    for wrong in (None, True, [1], float("nan"), b"1"):
        with pytest.raises(TypeError, match="a limit must be bytes, a text such as '200 MB' or a figure"):
            bounded.compare(wrong)  # type: ignore[arg-type]
    assert "1 MB" < bounded and 1 << 40 > bounded  # noqa: SIM300 -- the reflected operators
    assert bounded == Figure(100 * MIB, "bounded", "wait4", 30 * MIB) and len({bounded, bounded}) == 1


def test_a_measured_figure_is_compared(measured: concmem.Measurement) -> None:
    """A program that holds 8 MiB in two processes is over 1 MB, and under 1 GiB."""
    assert measured.peak > "1 MB" and measured.peak < "1 GiB"
    assert (measured.peak.compare(1 << 20), measured.peak.compare("1GiB")) == ("over", "under")


@pytest.mark.parametrize(
    ("figure", "low", "high"),
    [
        (Figure(100, "exact", "statm"), 100, 100),
        (Figure(100, "bounded", "wait4", error_bytes=20), 100, 120),
        (Figure(100, "bounded", "wait4", error_bytes=20, over_bytes=30), 70, 120),
        (Figure(100, "bounded", "wait4", over_bytes=300), 0, 100),
        (Figure(100, "sampled", "statm"), 100, None),
        (Figure(100, "upper_bound", "status"), 0, 100),
        (Figure(None, "unavailable", "cgroup", note="no cgroup"), None, None),
    ],
)
def test_what_a_figure_bounds(figure: Figure, low: int | None, high: int | None) -> None:
    """Each status gives the smallest and the largest possible true amount."""
    assert (figure.low_bytes, figure.high_bytes) == (low, high)


def test_a_figure_as_text() -> None:
    """A figure prints as a sentence; an unavailable one gives the reason."""
    bounded = Figure(3 * MIB, "bounded", "wait4 ru_maxrss", 1024)
    assert str(bounded) == "3.00 MiB (+1.00 KiB), bounded, from wait4 ru_maxrss"
    assert str(Figure(3 * MIB, "upper_bound", "status")) == "3.00 MiB, upper bound, from status"
    assert str(Figure(None, "unavailable", "cgroup", note="no cgroup here")) == "unavailable: no cgroup here"


@pytest.mark.parametrize(
    ("end", "status", "ok", "text"),
    [
        (Exit(0, None, "exited"), 0, True, "exit code 0"),
        (Exit(7, None, "exited"), 7, False, "exit code 7"),
        (Exit(None, 15, "signaled"), 143, False, "signal 15 (SIGTERM)"),
        (Exit(None, 40, "signaled"), 168, False, "signal 40"),
        (Exit(None, 9, "timeout"), 137, False, "signal 9 (SIGKILL), timed out"),
        (Exit(0, None, "timeout"), 0, False, "exit code 0, timed out"),
        (Exit(None, 9, "memory_limit"), 137, False, "signal 9 (SIGKILL), over the memory limit"),
        (Exit(None, 9, "cgroup_limit"), 137, False, "signal 9 (SIGKILL), over the limit of its control group"),
    ],
)
def test_what_an_exit_means(end: Exit, status: int, ok: bool, text: str) -> None:
    """The status as in a shell, whether it is a success, and its text."""
    assert (end.status, end.ok, str(end)) == (status, ok, text)


def test_measurements_are_frozen(measured: concmem.Measurement) -> None:
    """Nothing of a measurement can be changed."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        measured.exit.code = 0  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        measured.wall_s = 0  # type: ignore[misc]


def test_all_figures(measured: concmem.Measurement) -> None:
    """All figures exist, first the headline. One without bytes has a note, one with bytes a source."""
    assert list(measured.figures) == [
        "peak", "root_peak_rss", "largest_peak_rss", "tree_peak_pss",
        "tree_peak_rss_sum", "tree_upper_bound", "cgroup_peak", "tree_peak_swap",
    ]  # fmt: skip
    for name, figure in measured.figures.items():
        if figure.bytes is None:
            assert figure.status == "unavailable" and figure.note, name
        else:
            assert figure.bytes > 0 and figure.source, name
            assert figure.error_bytes >= 0 and figure.over_bytes >= 0, name


def test_figures_do_not_contradict_each_other(measured: concmem.Measurement) -> None:
    """A figure that bounds another one is not below it."""
    values = {name: figure.bytes for name, figure in measured.figures.items() if figure.bytes is not None}
    largest = measured.largest_peak_rss
    assert values["root_peak_rss"] <= values["largest_peak_rss"]
    assert values["largest_peak_rss"] <= values["peak"]
    upper_bytes = measured.tree_upper_bound.high_bytes
    assert upper_bytes is not None and measured.peak.high_bytes == upper_bytes
    assert largest.low_bytes is not None and upper_bytes >= largest.low_bytes
    if "tree_peak_pss" in values:
        assert values["tree_peak_pss"] <= values["tree_upper_bound"]


def test_command_exit_times_and_host(measured: concmem.Measurement) -> None:
    """The command, its output, its exit, the machine and the times are correct."""
    assert isinstance(measured.command, str) and measured.command.endswith("exit 3")
    assert measured.exit == Exit(3, None, "exited")
    assert (measured.stdout, measured.stderr) == (b"holding\ndone\n", None)
    assert measured.host.page_bytes in (4096, 16384, 65536)
    assert 1 <= measured.host.cpus_allowed <= measured.host.cpus
    assert measured.host.memory_bytes > 64 * MIB
    assert measured.version == concmem.__version__
    assert measured.started_at[:2] == "20" and measured.started_at[-6] in "+-"
    assert 0 < measured.wall_s <= measured.tree_wall_s + 1e-6


def test_dict_and_back(measured: concmem.Measurement) -> None:
    """`to_dict` returns plain JSON with the schema, and `from_dict` the same measurement without the timeline."""
    stored = json.loads(json.dumps(measured.to_dict(), allow_nan=False))
    assert stored["schema"] == SCHEMA
    again = concmem.Measurement.from_dict(stored)
    assert again == measured
    assert len(again.timeline.t_s) == 0


def test_save_and_load(measured: concmem.Measurement, tmp_path: Path) -> None:
    """A saved measurement is the same when loaded. There are two files and no others."""
    measured.save(tmp_path / "run.json")
    measured.save(str(tmp_path / "run.json"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "run.npz"]
    assert concmem.load(tmp_path / "run.json") == concmem.load(str(tmp_path / "run.json")) == measured


def test_loading_without_the_timeline(measured: concmem.Measurement, tmp_path: Path) -> None:
    """Without the timeline's file, the timeline is empty."""
    measured.save(tmp_path / "run.json")
    (tmp_path / "run.npz").unlink()
    again = concmem.load(tmp_path / "run.json")
    assert again == measured
    assert len(again.timeline.t_s) == 0


def damaged(stored: dict[str, Any], how: str) -> str:
    match how:
        case "a later schema":
            return json.dumps({**stored, "schema": SCHEMA + 1})
        case "no schema":
            return json.dumps({key: value for key, value in stored.items() if key != "schema"})
        case "cut short":
            return json.dumps(stored)[:-100]
        case "not JSON":
            return "\x00\x01"
        case "another JSON":
            return "[1, 2]"
        case "a missing part":
            return json.dumps({key: value for key, value in stored.items() if key != "peak"})
        case "a wrong type":
            return json.dumps({**stored, "exit": "fine"})
        case "an unknown status":
            return json.dumps({**stored, "peak": {**stored["peak"], "status": "guessed"}})
    raise AssertionError(how)


@pytest.mark.parametrize(
    "how",
    [
        "a later schema",
        "no schema",
        "cut short",
        "not JSON",
        "another JSON",
        "a missing part",
        "a wrong type",
        "an unknown status",
    ],
)
def test_other_files_are_refused(how: str, measured: concmem.Measurement, tmp_path: Path) -> None:
    """A file that is damaged, newer or not from concmem gives one sentence that names it."""
    path = tmp_path / "run.json"
    path.write_text(damaged(measured.to_dict(), how))
    with pytest.raises(RecordingError) as raised:
        concmem.load(path)
    assert "run.json" in str(raised.value)
    assert "\n" not in str(raised.value)
    if how == "a later schema":
        assert str(SCHEMA + 1) in str(raised.value)
        with pytest.raises(RecordingError):
            concmem.Measurement.from_dict({**measured.to_dict(), "schema": SCHEMA + 1})
    assert type(pickle.loads(pickle.dumps(raised.value))) is RecordingError


def test_a_damaged_timeline_is_refused(measured: concmem.Measurement, tmp_path: Path) -> None:
    """A truncated timeline is an error when it is loaded or used, never another timeline."""
    measured.save(tmp_path / "run.json")
    complete = (tmp_path / "run.npz").read_bytes()
    (tmp_path / "run.npz").write_bytes(complete[: len(complete) // 2])
    with pytest.raises(RecordingError, match=r"run\.npz"):
        _ = concmem.load(tmp_path / "run.json").timeline.t_s


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    """A path that does not exist raises a FileNotFoundError."""
    with pytest.raises((FileNotFoundError, RecordingError), match=r"missing\.json"):
        concmem.load(tmp_path / "missing.json")


def test_measurements_pickle(measured: concmem.Measurement) -> None:
    """A pickled measurement is complete."""
    assert pickle.loads(pickle.dumps(measured)) == measured


def test_names_with_dots_have_separate_timelines(tmp_path: Path) -> None:
    """`run-0.1` and `run-0.2` have one timeline each. A name that ends in .npz is refused."""
    small, large = concmem.measure(["sleep", "0.05"]), concmem.measure(known("hold", 8 << 20, 1, 0.1))
    small.save(tmp_path / "run-0.1")
    large.save(tmp_path / "run-0.2")
    assert concmem.load(tmp_path / "run-0.1").timeline.rss_bytes.max() < 8 << 20
    with pytest.raises(errors.InvalidRequest):
        small.save(tmp_path / "x.npz")


def test_files_have_the_mode_of_the_umask(tmp_path: Path) -> None:
    """A stored measurement has the mode of any new file of the user."""
    before = os.umask(0o077)
    try:
        concmem.measure(["/bin/true"]).save(tmp_path / "run.json")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
