"""
One directory a study, one file a run: readable by ``jq``, comparable by git.

``study.json`` holds the plan, the machine and the toolchains; ``runs/<program>-<tasks>-<index>.json`` one run, with
its timeline beside it as ``.npz``. Every file appears whole or not at all, the JSON of a run last: where it is, the
run is complete.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import cattrs

from concmem._atomic import replacing, unfinished
from concmem._strict import describe
from concmem.errors import ConcmemError, RecordingError
from concmem.model import Measurement
from concmem.stored import converter
from concmem.study.plan import Plan, StudyError, difference
from concmem.study.records import Run, Study, run_path

__all__ = ["SCHEMA", "Store", "StudyNotStored", "default_directory", "load_study", "run_content"]

SCHEMA = 1
"""
The number of the stored form, in every file that is written.

1: the first.
"""


class StudyNotStored(ConcmemError, OSError):
    """A file of a study could not be written: the disk is full, say. What had been stored before is whole."""

    def __str__(self) -> str:
        return f"{self.filename} could not be stored: {self.strerror}"


@lru_cache(maxsize=1)
def _converter() -> cattrs.Converter:
    made = converter().copy()
    made.register_unstructure_hook(Measurement, lambda m: m.to_dict())
    made.register_structure_hook(Measurement, lambda d, _: Measurement.from_dict(d))
    return made


@contextlib.contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StudyNotStored(error.errno, error.strerror or str(error), str(path)) from error


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with _storing(path), replacing(path) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")


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

    @contextlib.contextmanager
    def begun(self) -> Iterator[None]:
        """
        Make the directory; where nothing has come to stand in it by the end, it goes again.

        Raises:
            StudyError: It holds something already, or cannot be made.
        """
        self.check_empty()
        made = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudyError(f"{self.path} cannot hold the study: {error.strerror}") from error
        try:
            yield
        finally:
            if made:
                with contextlib.suppress(OSError):  # it is not empty, as it should be
                    self.path.rmdir()

    def check_empty(self) -> None:
        """
        See to it that nothing is lost when a study is begun here.

        Raises:
            StudyError: The directory holds something already, or is none.
        """
        try:
            there = set(self.path.iterdir()) - set(unfinished(self.path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise StudyError(f"{self.path} cannot hold the study: {error.strerror}") from error
        if there:
            hint = "resume the study in it, or choose another" if self.exists else "choose another"
            raise StudyError(f"{self.path} is not empty: {hint}")

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """
        Be the only one who writes into it; what processes that were killed left unfinished is removed.

        Raises:
            StudyError: Another process runs the study.
        """
        folder = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)  # which ends with the process, however that ends
            except BlockingIOError:
                raise StudyError(f"the study in {self.path} is being run by another process") from None
            except OSError:  # a file system without locks
                pass
            for each in (self.path, self.path / "runs"):
                for path in unfinished(each) if each.is_dir() else ():
                    path.unlink()
            yield
        finally:
            os.close(folder)

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
        path = run_path(self.path, run.cell)
        with _storing(path):
            path.parent.mkdir(exist_ok=True)
            if run.measurement is not None:
                run.measurement.timeline.save(path.with_suffix(".npz"))
        _write_json(path, run_content(run))

    def copy(self, run: Run, timeline: Path) -> None:
        """Store a run of another study, and its timeline where there is one."""
        path = run_path(self.path, run.cell)
        with _storing(path):
            path.parent.mkdir(exist_ok=True)
            if timeline.exists():
                shutil.copyfile(timeline, path.with_suffix(".npz"))
        _write_json(path, run_content(run))

    def read(self) -> Study:
        """
        The whole study.

        Raises:
            StudyError: No study has been begun here.
            RecordingError: A file in it cannot be read.
        """
        study = self._header()
        known = {entry.name for entry in study.programs}
        runs = []
        for path in (self.path / "runs").glob("[!.]*.json"):
            run: Run = _structure(path, _read_json(path, "concmem run"), Run)
            if path.name != run_path(self.path, run.cell).name:
                raise RecordingError(f"{path}: of another run than its name says: {run.cell}")
            if run.program not in known:
                raise RecordingError(f"{path}: of {run.program!r}, which is no program of the study")
            runs.append(run)
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


def run_content(run: Run) -> dict[str, Any]:
    """What is stored of a run, as plain JSON types."""
    return {"what": "concmem run", "schema": SCHEMA, **_converter().unstructure(run)}


def _structure(path: Path, content: dict[str, Any], kind: type[Any]) -> Any:
    known = {field.name for field in attrs.fields(kind)}
    try:
        return _converter().structure({name: value for name, value in content.items() if name in known}, kind)
    except (cattrs.BaseValidationError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, cattrs.BaseValidationError) and (own := error.subgroup(RecordingError)) is not None:
            wrong = str(_first(own))
        elif isinstance(error, cattrs.BaseValidationError):
            wrong = f"damaged: {cattrs.transform_error(error, format_exception=describe)[0].removesuffix(' @ $')}"
        else:
            wrong = f"damaged: {error}"
    raise RecordingError(f"{path}: {wrong}")


def _first(error: BaseException) -> BaseException:
    """The first error of a group of groups."""
    inner = getattr(error, "exceptions", ())
    return _first(inner[0]) if inner else error


def load_study(directory: str | Path) -> Study:
    """
    The study that `bench` stored in a directory, finished or not.

    The measurements come without their timelines: `Study.timeline_path` says where these are.

    Raises:
        StudyError: No study has been begun there.
        RecordingError: A file in it cannot be read.
    """
    return Store(Path(directory)).read()


def default_directory(*, resume: bool = False, base: str | Path = ".") -> Path:
    """
    Where a study goes when nobody says where.

    Args:
        resume: Give the folder of the study that was begun last instead of a new one.
        base: The folder to put it into.

    Returns:
        ``study-<date>``, with a number behind it where that is taken.

    Raises:
        StudyError: There is no study to resume.
    """
    base = Path(base)
    if resume:
        begun = [path for path in base.glob("study-*") if Store(path).exists]
        if not begun:
            raise StudyError(f"there is no study to resume in {base.resolve()}")
        return max(begun, key=lambda path: (path / "study.json").stat().st_mtime)
    name = f"study-{datetime.date.today().isoformat()}"
    path, number = base / name, 1
    while path.exists():
        number += 1
        path = base / f"{name}-{number}"
    return path
