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
from pathlib import Path
from typing import Any

import attrs

from concmem._files.atomic import replacing, unfinished
from concmem._native.resources import OpenFile
from concmem.errors import ConcmemError, RecordingError
from concmem.study.plan import Plan, StudyError, difference
from concmem.study.store.records import Run, Study, run_path
from concmem.study.store.schema import read_json, run_content, structure, study_content

__all__ = ["Store", "StudyNotStored", "default_directory", "load_study"]


class StudyNotStored(ConcmemError, OSError):
    """A file of a study could not be written: the disk is full, say. What had been stored before is whole."""

    def _sentence(self) -> str:
        return f"{self.filename} could not be stored: {self.strerror}"


@contextlib.contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StudyNotStored(error.errno, error.strerror or str(error), str(path)) from error


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with _storing(path), replacing(path) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")


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
        with OpenFile.of(self.path, os.O_RDONLY) as folder:
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
        _write_json(self.path / "study.json", study_content(study))

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
            run: Run = structure(path, read_json(path, "concmem run"), Run)
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
        content = read_json(path, "concmem study")
        study: Study = structure(path, {**content, "path": self.path, "runs": []}, Study)
        return study


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
