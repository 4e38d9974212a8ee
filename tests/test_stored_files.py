"""
Stored files can come from anywhere: what they hold is checked before it is used, and one error says what is wrong.

Hypothesis changes good files at random; ``CONCMEM_FUZZ_EXAMPLES=20000`` (``make fuzz``) does it for long.
"""

from __future__ import annotations

import copy
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored_studies import store_study

import concmem
from concmem import report
from concmem._figures.sentences import explanation, headline
from concmem._files.paths import PROGRAMS
from concmem.cli._console import PipeConsole
from concmem.cli._output import report as shown
from concmem.drivers import manifest as _manifest
from concmem.errors import ConcmemError, RecordingError
from concmem.model import Measurement
from concmem.study import Entry, Plan, Run, Study, StudyError, load_study, merge
from concmem.study.store.directory import Store
from concmem.study.store.records import run_path
from concmem.timeline import Timeline

EXAMPLES = int(os.environ.get("CONCMEM_FUZZ_EXAMPLES", "0"))
fuzzed = settings(
    max_examples=EXAMPLES or 60,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)

NUMBERS = st.one_of(
    st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**400, -(2**63), 1e308, -1e308, 5e-324, float("nan"), float("inf")]),
    st.integers(),
    st.floats(),
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(["", "..", "../x", "/x", "a/b", "\0", "\x1b[2J", "\n", "=1", "\ud800", "\udcff", "a" * 300, "all"]),
    st.text(max_size=20),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=6,
)


def paths_in(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return the paths of all values of a document."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield (*at, key)
        yield from paths_in(value, (*at, key))


@st.composite
def changed(draw: Callable[..., Any], document: Any) -> Any:
    """Change, remove or rename one to three values of a document."""
    made = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(list(paths_in(made)) or [("none",)]))
        holder = made
        for key in above:
            holder = holder[key]
        if last == "none":
            break
        what = draw(st.sampled_from(["replace", "replace", "replace", "delete", "rename"]))
        if what == "replace":
            holder[last] = draw(VALUES)
        elif what == "delete":
            del holder[last]
        elif isinstance(holder, dict):
            holder[draw(TEXTS)] = holder.pop(last)
    return made


@st.composite
def damaged(draw: Callable[..., Any], content: bytes) -> bytes:
    """Change or remove some bytes."""
    made = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(made) - 1)))
        if draw(st.booleans()):
            made[at : at + 1] = draw(st.binary(max_size=4))
        else:
            del made[at : at + draw(st.integers(1, 64))]
    return bytes(made)


@pytest.fixture(scope="module")
def measured() -> Measurement:
    return concmem.measure(["sh", "-c", "sleep 0.3; true"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stored")


@pytest.fixture(scope="module")
def study(measured: Measurement, folder: Path) -> Study:
    """A stored study with two programs, one of which failed."""

    def entry(name: str) -> Entry:
        return Entry(name=name, title=name, language="C", kind="thread", variant="article", begins_together=False,
                     toolchain="cc 1")  # fmt: skip

    def run(program: str, tasks: int, **more: Any) -> Run:
        return Run(program=program, tasks=tasks, index=0, sleep_s=0.1, attempts=1, machine="here", exit=measured.exit,
                   measurement=measured, launch_s=0.05, done_s=0.2, **more)  # fmt: skip

    made = Study(
        path=folder / "study", plan=Plan(programs=("one", "two"), tasks=(1, 10), seed=1), host=measured.host,
        programs=(entry("one"), entry("two")), hosts={"here": measured.host},
        started_at="2026-01-01T00:00:00+00:00", version="1",
        runs=(run("one", 1, status="ok"), run("one", 10, status="ok"), run("two", 1, status="failed", reason="broke")),
    )  # fmt: skip
    return store_study(made)


def use_measurement(measurement: Measurement) -> None:
    """Use a measurement in every way."""
    assert isinstance(headline(measurement), str) and explanation(measurement)
    shown(measurement, io.StringIO())
    json.dumps(measurement.to_dict(), allow_nan=False)
    str(measurement.exit), measurement.exit.status


def use_timeline(timeline: Timeline) -> None:
    """Use a timeline in every way."""
    len(timeline), timeline.t_s, timeline.rss_bytes, timeline.rss_min_bytes, timeline.pss_t_s, timeline.pss_bytes
    assert timeline.peak_t_s is None or timeline.peak_t_s >= 0
    assert len(timeline.ring[0]) == len(timeline.ring[1])
    for name in timeline.tracks:
        timeline.track(name)
        timeline.spans(name, 0)


def use_study(directory: Path) -> None:
    """Use a study in every way."""
    loaded = load_study(directory)
    for form in ("md", "csv", "json"):
        report.study_bytes(loaded, form)
    console = PipeConsole(file=io.StringIO(), width=100)
    report.print_table(loaded, console)
    report.print_claims(loaded, console)
    report.print_comparison(report.compare(loaded, loaded), console)


@fuzzed
@given(data=st.data())
def test_a_measurement_is_read_or_refused(data: st.DataObject, measured: Measurement, folder: Path) -> None:
    """Whatever its JSON contains."""
    path = folder / "measurement.json"
    good = measured.to_dict()
    if data.draw(st.booleans()):
        content = json.dumps(data.draw(changed(good))).encode()
    else:
        content = data.draw(st.one_of(st.binary(max_size=200), damaged(json.dumps(good).encode())))
    path.write_bytes(content)
    try:
        found = concmem.load(path)
    except RecordingError as error:
        assert "measurement.json" in str(error) and "\n" not in str(error)
    else:
        use_measurement(found)


def npz(about: str, arrays: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, about=np.array(about), **arrays)
    return out.getvalue()


def parts(timeline: Timeline, path: Path) -> tuple[Any, dict[str, Any]]:
    """Return the parts of a stored timeline."""
    timeline.save(path)
    with np.load(path, allow_pickle=False) as stored:
        return json.loads(str(stored["about"])), {name: stored[name] for name in stored.files if name != "about"}


@fuzzed
@given(data=st.data())
def test_a_timeline_is_read_or_refused(data: st.DataObject, measured: Measurement, folder: Path) -> None:
    """Whatever its file contains: other columns, arrays of other sizes and types, random bytes."""
    path = folder / "timeline.npz"
    about, arrays = parts(measured.timeline, path)
    if data.draw(st.booleans()):
        about = data.draw(changed(about))
        if data.draw(st.booleans()):
            name = data.draw(st.sampled_from(sorted(arrays)))
            arrays[name] = data.draw(
                st.one_of(
                    st.binary(max_size=200).map(lambda b: np.frombuffer(b, np.uint8)),
                    st.sampled_from([np.zeros(3), np.array("text"), np.zeros((2, 2), np.uint8), np.array(["a", "b"])]),
                )
            )
        content = npz(json.dumps(about), arrays)
    else:
        content = data.draw(st.one_of(st.binary(max_size=200), damaged(path.read_bytes())))
    path.write_bytes(content)
    try:
        found = Timeline.load(path)
    except RecordingError as error:
        assert "timeline.npz" in str(error)
    else:
        use_timeline(found)


@fuzzed
@given(data=st.data())
def test_a_study_is_read_or_refused(data: st.DataObject, study: Study, folder: Path) -> None:
    """Whatever one of its files contains. Merging writes only the new study."""
    top = folder / "one"
    shutil.rmtree(top, ignore_errors=True)
    shutil.copytree(study.path, top / "study")
    files = sorted((top / "study").rglob("*.json"))
    path = data.draw(st.sampled_from(files))
    content = json.dumps(data.draw(changed(json.loads(path.read_text()))))
    path.write_text(content)
    before = {each for each in top.rglob("*")}
    try:
        use_study(top / "study")
        merge([top / "study"], top / "new")
        use_study(top / "new")
    except ConcmemError as error:
        assert "\n" not in str(error)
    added = {each for each in top.rglob("*")} - before
    assert all(each == top / "new" or each.is_relative_to(top / "new") for each in added)
    assert not list(folder.parent.glob("x*")) and not Path("/x").exists()


@fuzzed
@given(data=st.data())
def test_a_manifest_is_read_or_refused(data: st.DataObject, folder: Path) -> None:
    """Whatever a ``language.toml`` contains."""
    name = data.draw(st.sampled_from(["python", "rust", "go", "java"]))
    path = folder / "language.toml"
    good = (PROGRAMS / name / "language.toml").read_bytes()
    if data.draw(st.booleans()):
        lines = good.decode().splitlines()
        at = data.draw(st.integers(0, len(lines) - 1))
        key = lines[at].partition("=")[0]
        value = data.draw(
            st.one_of(
                TEXTS.map(lambda text: json.dumps(text.encode("utf-8", "replace").decode())),
                st.sampled_from(["1", "-1", "true", "[]", "[1]", "{}", "[[]]", '[""]', "nan", "1979-05-27", "[" * 500]),
            )
        )  # fmt: skip
        lines[at] = f"{key}= {value}"
        good = "\n".join(lines).encode()
    path.write_bytes(good if data.draw(st.booleans()) else data.draw(damaged(good)))
    _manifest.read.cache_clear()
    try:
        _manifest.read(path)
    except _manifest.ManifestError as error:
        assert "language.toml" in str(error)


NAMES = ["../x", "/tmp/x", "..", ".", "a/b", "a\0b", "a\x1bb", "a\nb", "A", "", "a" * 101, ".hidden", "\u202ea", "-a"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_a_path_is_refused(name: str, study: Study, tmp_path: Path) -> None:
    """In a run, a program's entry or the plan, by every reader of a study. Nothing is written."""
    fields = {"run": "program", "entry": "name", "plan": "programs"}
    for part in fields:
        directory = tmp_path / part
        shutil.copytree(study.path, directory)
        path = directory / ("runs/one-1-0.json" if part == "run" else "study.json")
        content = json.loads(path.read_text())
        if part == "run":
            content["program"] = name
        elif part == "entry":
            content["programs"][0]["name"] = name
        else:
            content["plan"]["programs"][0] = name
        path.write_text(json.dumps(content))
        before = sorted(tmp_path.rglob("*"))
        for read in (load_study, report.write, lambda directory: merge([directory], tmp_path / "new")):
            with pytest.raises(RecordingError, match=rf"{fields[part]}: .* is not made|NUL .*{fields[part]}") as caught:
                read(directory)
            assert str(path) in str(caught.value)
        assert sorted(tmp_path.rglob("*")) == before
    if name not in ("", "A", "-a"):
        with pytest.raises((ConcmemError, ValueError)):
            run_path(tmp_path, attrs.evolve(study.runs[0].cell, program=name))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (("host", "memory_bytes"), -1, "host.memory_bytes"),
        (("host", "memory_bytes"), "5", "host.memory_bytes"),
        (("host",), [], "host"),
        (("host", "limits"), [], "host.limits"),
        (("wall_s",), 1e300, "wall_s"),
        (("wall_s",), True, "wall_s"),
        (("minor_faults",), 2**70, "minor_faults"),
        (("peak", "status"), ["bounded"], "peak.status"),
        (("peak",), 5, "peak"),
        (("command",), {"a": 1}, "command"),
        (("command",), ["a", 5], "command"),
        (("command",), [], "the command is empty"),
        (("command",), "", "the command is empty"),
        (("processes",), {}, "processes"),
        (("processes",), "abc", "processes"),
        (("exit", "code"), -5, "exit.code"),
        (("sampler", "missing"), {"a": 1}, "sampler.missing"),
    ],
)
def test_a_wrong_field_is_named(field: tuple[str, ...], value: Any, said: str, measured: Measurement) -> None:
    """The message has the path of the field."""
    stored = json.loads(json.dumps(measured.to_dict()))
    *above, last = field
    holder = stored
    for key in above:
        holder = holder[key]
    holder[last] = value
    with pytest.raises(RecordingError, match=said.replace(".", r"\.")):
        Measurement.from_dict(stored)


def header_of(shape: str, kind: str = "|u1") -> bytes:
    """Return the header of an ``.npy`` file."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))


LOAD = """
import pathlib, sys, concmem
from concmem.timeline import Timeline
try:
    (Timeline.load if sys.argv[1].endswith("npz") else concmem.load)(sys.argv[1])
except concmem.RecordingError as error:
    print(error)
# Not ru_maxrss, which includes the size of the process that started this one.
print(pathlib.Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


def place(kind: str, path: Path, target: Path) -> None:
    """Put something that is not a regular file, or a link, in the place of a file."""
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "link to a device" else target)


def lines_of(code: str, *arguments: Path) -> list[str]:
    """Run Python code that prints an error, and return its output. It can wait forever."""
    argv = [sys.executable, "-c", f"import concmem, sys\ntry:\n {code}\nexcept concmem.RecordingError as e:\n print(e)"]
    done = subprocess.run([*argv, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


KINDS = ["pipe", "folder", "link to a device", "link to another file"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", ["study.json", "runs/one-1-0.json", "runs/one-1-0.npz"])
def test_a_stored_file_that_is_no_regular_file(kind: str, file: str, study: Study, tmp_path: Path) -> None:
    """No reader waits for a pipe, reads a device without end, or copies a file from elsewhere into a study."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    shutil.copytree(study.path, tmp_path / "study")
    place(kind, tmp_path / "study" / file, secret)
    code = "from concmem.study import merge; merge(sys.argv[1:2], sys.argv[2])"
    (error,) = lines_of(code, tmp_path / "study", tmp_path / "new")
    assert file in error
    assert "regular file" in error or kind == "link to another file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret", "study"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ["json", "npz"])
def test_a_measurement_that_is_no_regular_file(kind: str, ending: str, measured: Measurement, tmp_path: Path) -> None:
    """Neither its own file nor that of its timeline."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    measured.save(tmp_path / "a.json")
    place(kind, tmp_path / f"a.{ending}", secret)
    (error,) = lines_of("concmem.load(sys.argv[1])", tmp_path / "a.json")
    assert f"a.{ending}" in error
    assert "regular file" in error or kind == "link to another file"


def test_a_manifest_that_is_a_pipe(tmp_path: Path) -> None:
    """It is refused like any other that cannot be read."""
    os.mkfifo(tmp_path / "language.toml")
    with pytest.raises(_manifest.ManifestError, match="it is not a regular file"):
        _manifest.read(tmp_path / "language.toml")


def test_a_report_is_written_into_the_folder_of_its_study(study: Study, tmp_path: Path) -> None:
    """A link or a pipe with the name of a file of the report is replaced."""
    directory, outside = tmp_path / "study", tmp_path / "outside"
    shutil.copytree(study.path, directory)
    outside.write_text("kept")
    (directory / "table.md").symlink_to(outside)
    (directory / "table.csv").symlink_to(tmp_path / "missing")
    (directory / "claims.md").symlink_to("/dev/null")
    os.mkfifo(directory / "claims.json")
    lines_of("from concmem import report; report.write(sys.argv[1], figures=False)", directory)
    assert outside.read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "study"]
    for name in ("table.md", "table.csv", "claims.md", "claims.json"):
        assert (directory / name).is_file() and not (directory / name).is_symlink()


def test_charts_and_page_are_written_into_the_folder_of_their_study(study: Study, tmp_path: Path) -> None:
    """The same for the files that need the report extra."""
    pytest.importorskip("vl_convert", reason="vl-convert-python is missing: pip install 'concmem[report]'")
    directory, outside = tmp_path / "study", tmp_path / "outside"
    shutil.copytree(study.path, directory)
    outside.write_text("kept")
    for name in ("index.html", "figure-1.svg", "figure-2.png"):
        (directory / name).symlink_to(outside)
    report.write(directory)
    assert outside.read_text() == "kept"
    assert not (directory / "index.html").is_symlink()


def test_a_study_is_not_resumed_through_a_link(study: Study, tmp_path: Path) -> None:
    """Its runs would be written, and unfinished files removed, in another folder."""
    directory, outside = tmp_path / "study", tmp_path / "outside"
    shutil.copytree(study.path, directory)
    (directory / "runs").rename(outside)
    (directory / "runs").symlink_to(outside)
    kept = outside / f".a.1.{'0' * 8}"
    kept.touch()
    with pytest.raises(StudyError, match="runs is a symbolic link"), Store(directory).lock():
        pass
    assert kept.exists()
    assert load_study(directory).runs


LONG = "A" * 5000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (("programs", 0, "title"), LONG),
        (("programs", 0, "toolchain"), LONG),
        (("host", "kernel"), LONG),
        (("hosts", LONG), 5),
        (("started_at",), LONG),
        (("version",), LONG),
        (("plan", "workload"), LONG),
        (("plan", "tasks"), list(range(1, 5000))),
        (("plan", "programs"), [f"p{i}" for i in range(5000)]),
        (("plan", "programs"), []),
        (("schema",), 10**4000),
    ],
)
def test_a_study_with_too_much_is_refused(field: tuple[Any, ...], value: Any, study: Study, tmp_path: Path) -> None:
    """Neither a message nor the time for a report grows with what is stored."""
    shutil.copytree(study.path, tmp_path / "study")
    path = tmp_path / "study/study.json"
    content = json.loads(path.read_text())
    *above, last = field
    holder = content
    for key in above:
        holder = holder[key]
    holder[last] = value
    path.write_text(json.dumps(content))
    with pytest.raises(RecordingError) as caught:
        load_study(tmp_path / "study")
    assert len(str(caught.value)) < 500 + len(str(path))
    assert str(field[0]) in str(caught.value)


def test_a_file_that_claims_to_be_huge_takes_no_memory(tmp_path: Path, measured: Measurement) -> None:
    """An array of 10 TB, a compressed GiB of zeros, a GiB of JSON, and very deep nesting are refused."""
    about, _ = parts(measured.timeline, tmp_path / "good.npz")
    text = np.array(json.dumps(about))
    claims, zeros = tmp_path / "claims.npz", tmp_path / "zeros.npz"
    with zipfile.ZipFile(claims, "w") as archive:
        out = io.BytesIO()
        np.lib.format.write_array(out, text)
        archive.writestr("about.npy", out.getvalue())
        archive.writestr("statm.windows.npy", header_of("(10000000000000,)") + b"12")
    with (
        zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("statm.windows.npy", "w", force_zip64=True) as file,
    ):
        file.write(header_of(f"({1 << 30},)"))
        for _ in range(1 << 6):
            file.write(bytes(1 << 24))
    files = {"claims.npz": claims, "zeros.npz": zeros}
    for name in ("gib.json", "deep.json", "deep-tables.json", "many.json"):
        files[name] = tmp_path / name
    with open(files["gib.json"], "wb") as file:
        file.truncate(1 << 30)
    files["deep.json"].write_text("[" * 200_000)
    files["deep-tables.json"].write_text('{"a":' * 200_000)
    files["many.json"].write_text("[" + "{}," * 20_000_000 + "{}]")
    for name, path in files.items():
        done = subprocess.run(
            [sys.executable, "-c", LOAD, str(path)], capture_output=True, text=True, timeout=300, preexec_fn=limited
        )
        assert done.returncode == 0, done.stderr
        said, largest_kib = done.stdout.splitlines()
        assert name in said, said
        assert int(largest_kib) < 700 << 10, (name, largest_kib)


def test_wrong_sizes_of_a_timeline_are_named(tmp_path: Path, measured: Measurement) -> None:
    """The message names the track and what is wrong with it."""
    path = tmp_path / "a.npz"
    about, arrays = parts(measured.timeline, path)

    def refused(said: str, change: Callable[[Any, dict[str, Any]], object]) -> None:
        other, others = copy.deepcopy(about), dict(arrays)
        change(other, others)
        path.write_bytes(npz(json.dumps(other), others))
        with pytest.raises(RecordingError, match=said):
            Timeline.load(path)

    refused("track 'statm': row_bytes must be", lambda about, _: about["statm"].__setitem__(0, 8))
    refused(
        "track 'statm': its windows have .* not a multiple",
        lambda _, arrays: arrays.__setitem__("statm.windows", arrays["statm.windows"][:-1]),
    )
    refused("track 'statm': readings", lambda about, _: about["statm"].__setitem__(1, "5"))
    refused("track 'statm': it is not a list", lambda about, _: about.__setitem__("statm", {}))
    refused("track 'statm': a column", lambda about, _: about["statm"].__setitem__(2, [5]))
    refused("track 'statm': its ring", lambda _, arrays: arrays.__setitem__("statm.ring", np.zeros(7, np.uint8)))
    refused("track 'statm': the bytes of its windows are missing", lambda _, arrays: arrays.pop("statm.windows"))
    refused("'../x' is not a name", lambda about, _: about.__setitem__("../x", about["statm"]))
    first = arrays["statm.windows"][: about["statm"][0]].copy()
    first[:8] = 0  # its time
    later = first.copy()
    later[0] = 1
    descending = np.concatenate((later, first))
    refused("do not ascend", lambda _, arrays: arrays.__setitem__("statm.windows", descending))
    Path(path).write_bytes(npz(json.dumps(about), arrays))
    use_timeline(Timeline.load(path))
