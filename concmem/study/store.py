"""
One directory a study, one file a run: readable by ``jq``, comparable by git, merged by copying.

``study.json`` holds the plan, the machine and the toolchains; ``runs/<program>-<tasks>-<index>.json`` one run, with
its timeline beside it as ``.npz``. Every file appears whole or not at all, the JSON of a run last: where it is, the
run is complete.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import attrs
import cattrs
from cattrs.preconf.json import make_converter

from concmem._atomic import replacing
from concmem.errors import RecordingError
from concmem.model import Exit, Figure, Host, Measurement
from concmem.study.plan import Cell, Plan, StudyError, difference

__all__ = ["SCHEMA", "Entry", "Run", "Store", "Study", "load_study"]

SCHEMA = 1
"""
The number of the stored form, in every file that is written.

1: the first.
"""

RunStatus = Literal["ok", "failed", "skipped"]


@attrs.frozen
class Entry:
    """
    One program of a study, as it was found on this machine.

    Attributes:
        name, title, language, kind, variant, begins_together: As in its manifest.
        toolchain: What builds and runs it, with versions; "" where there is none.
        missing: Why it cannot run here, with the command that would change that; "" where it can.
    """

    name: str
    title: str
    language: str
    kind: str
    variant: str
    begins_together: bool
    toolchain: str = ""
    missing: str = ""


@attrs.frozen(kw_only=True)
class Run:
    """
    One run of one program with one number of tasks.

    Attributes:
        program, tasks, index: Which run.
        status: ``ok`` (all tasks were alive at once, and it ended well), ``failed``, or ``skipped`` (never started).
        reason: One sentence, where the status is not ``ok``.
        sleep_s: How long the tasks slept in the end: more than planned where launching took longer.
        attempts: How many times it was started for that.
        flags: Flags of the runtime that belong to the row.
        launch_s: From the start of the program until it said that all tasks are launched: the time that launching
            took, the runtime's own start included, or None.
        done_s: Until it said that all tasks are done, or None.
        last_lines: The end of what it wrote, both streams.
        exit: How it ended, or None where it was never started.
        measurement: What it needed, or None where it was never started. Of a failed run it says nothing about
            `tasks` tasks: use `peak`.
    """

    program: str
    tasks: int
    index: int
    status: RunStatus
    reason: str = ""
    sleep_s: float
    attempts: int = 0
    flags: tuple[str, ...] = ()
    launch_s: float | None = None
    done_s: float | None = None
    last_lines: tuple[str, ...] = ()
    exit: Exit | None = None
    measurement: Measurement | None = attrs.field(default=None, repr=False)

    @property
    def cell(self) -> Cell:
        """Which run of the plan this is."""
        return Cell(self.program, self.tasks, self.index)

    @property
    def peak(self) -> Figure | None:
        """What `tasks` tasks needed at once; None unless the run is one of exactly so many."""
        return self.measurement.peak if self.status == "ok" and self.measurement is not None else None


@attrs.frozen(kw_only=True)
class Study:
    """
    A stored study.

    Attributes:
        path: Its directory.
        plan: What was to be run, the seed included.
        host: The machine.
        programs: What was found of each program.
        runs: The runs that are there, in the order of the plan's programs, tasks and indexes.
        started_at: When it was begun, as ISO 8601 with its UTC offset.
        version: Of concmem.
    """

    path: Path
    plan: Plan
    host: Host
    programs: tuple[Entry, ...]
    runs: tuple[Run, ...] = attrs.field(default=(), repr=False)
    started_at: str
    version: str

    def timeline_path(self, run: Run) -> Path:
        """Where the timeline of a run is stored."""
        return _run_path(self.path, run.cell).with_suffix(".npz")


@lru_cache(maxsize=1)
def _converter() -> cattrs.Converter:
    made = make_converter()
    made.register_unstructure_hook_func(lambda kind: kind is Measurement, lambda m: m.to_dict())
    made.register_structure_hook_func(lambda kind: kind is Measurement, lambda d, _: Measurement.from_dict(d))
    return made


def _run_path(directory: Path, cell: Cell) -> Path:
    return directory / "runs" / f"{cell.program}-{cell.tasks}-{cell.index}.json"


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")


def _read_json(path: Path, what: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise RecordingError(f"{path}: cannot be read: {reason}") from error
    except json.JSONDecodeError as error:
        raise RecordingError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("what") != what:
        raise RecordingError(f"{path}: not a {what}")
    if content.get("schema", 0) > SCHEMA:
        raise RecordingError(f"{path}: of schema {content['schema']}; this concmem reads up to {SCHEMA}")
    return content


class Store:
    """
    The directory of a study, for the one process that runs it.

    Attributes:
        path: The directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether a study has been begun here."""
        return (self.path / "study.json").exists()

    def begin(self) -> None:
        """
        Make the directory.

        Raises:
            StudyError: It holds something already, or cannot be made.
        """
        try:
            if self.path.is_dir() and any(self.path.iterdir()):
                hint = "resume the study in it, or choose another" if self.exists else "choose another"
                raise StudyError(f"{self.path} is not empty: {hint}")
            (self.path / "runs").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudyError(f"{self.path} cannot hold the study: {error.strerror}") from error

    def plan(self) -> Plan:
        """
        The stored plan.

        Raises:
            StudyError: No study has been begun here.
            RecordingError: It cannot be read.
        """
        return self._header().plan

    def check(self, wanted: Plan) -> None:
        """
        See to it that what is wanted is what was begun here.

        Raises:
            StudyError: Another plan was.
        """
        if differs := difference(self.plan(), wanted):
            raise StudyError(f"the study in {self.path} has another plan: {differs}")

    def write(self, study: Study) -> None:
        """Store everything but the runs."""
        content = _converter().unstructure(attrs.evolve(study, runs=()))
        del content["path"], content["runs"]
        _write_json(self.path / "study.json", {"what": "concmem study", "schema": SCHEMA, **content})

    def add(self, run: Run) -> None:
        """Store a run, in place of the one that there is, if any; its timeline too, where it has one."""
        path = _run_path(self.path, run.cell)
        path.parent.mkdir(exist_ok=True)
        if run.measurement is not None:
            run.measurement.timeline.save(path.with_suffix(".npz"))
        _write_json(path, {"what": "concmem run", "schema": SCHEMA, **_converter().unstructure(run)})

    def read(self) -> Study:
        """
        The whole study.

        Raises:
            StudyError: No study has been begun here.
            RecordingError: A file in it cannot be read.
        """
        study = self._header()
        runs = []
        for path in (self.path / "runs").glob("[!.]*.json"):
            content = _read_json(path, "concmem run")
            runs.append(_structure(path, content, Run))
        place = {name: i for i, name in enumerate(study.plan.programs)}
        runs.sort(key=lambda run: (place.get(run.program, len(place)), run.program, run.tasks, run.index))
        return attrs.evolve(study, runs=tuple(runs))

    def _header(self) -> Study:
        path = self.path / "study.json"
        if not path.exists():
            raise StudyError(f"there is no study in {self.path}")
        content = _read_json(path, "concmem study")
        study: Study = _structure(path, {**content, "path": self.path, "runs": ()}, Study)
        return study


def _structure(path: Path, content: dict[str, Any], kind: type[Any]) -> Any:
    known = {field.name for field in attrs.fields(kind)}
    try:
        return _converter().structure({name: value for name, value in content.items() if name in known}, kind)
    except (cattrs.BaseValidationError, ValueError, KeyError, TypeError) as error:
        told = cattrs.transform_error(error) if isinstance(error, cattrs.BaseValidationError) else [str(error)]
        raise RecordingError(f"{path}: damaged: {told[0]}") from error


def load_study(directory: str | Path) -> Study:
    """
    The study that `bench` stored in a directory, finished or not.

    The measurements come without their timelines: `Study.timeline_path` says where these are.

    Raises:
        StudyError: No study has been begun there.
        RecordingError: A file in it cannot be read.
    """
    return Store(Path(directory)).read()
