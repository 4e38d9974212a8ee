"""
The directory of a study: one file for each run, which ``jq`` can read and git can compare.

``study.json`` holds the plan, the machine and the toolchains; ``runs/<program>-<tasks>-<index>.json`` holds one run,
with its timeline beside it as ``.npz``. Every file appears whole or not at all. The JSON of a run is written last, so
a run with its JSON is complete.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
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
from concmem.timeline import Timeline

__all__ = ["Store", "StudyNotStored", "default_directory", "load_study", "read_timeline"]


class StudyNotStored(ConcmemError, OSError):
    """A file of a study could not be written, for example because the disk is full. Files stored before are whole."""

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
    Reads and writes the directory of a study.

    Attributes:
        path: The directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether the directory has a study."""
        return (self.path / "study.json").exists()

    @contextlib.contextmanager
    def created(self) -> Iterator[None]:
        """
        Create the directory; remove it at the end of the block if it is still empty.

        Raises:
            StudyError: The directory is not empty, or cannot be created.
        """
        self.check_empty()
        is_new = not self.path.exists()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StudyError(f"{self.path} cannot be used for a study: {error.strerror}") from error
        try:
            yield
        finally:
            if is_new:
                with contextlib.suppress(OSError):  # usually it is not empty
                    self.path.rmdir()

    def check_empty(self) -> None:
        """
        Raise an error if a new study must not be written here.

        Raises:
            StudyError: The directory is not empty, or is not a directory.
        """
        try:
            content = set(self.path.iterdir()) - set(unfinished(self.path))
        except FileNotFoundError:
            return
        except OSError as error:
            raise StudyError(f"{self.path} cannot be used for a study: {error.strerror}") from error
        if content:
            hint = "resume the study in it, or choose another directory" if self.exists else "choose another directory"
            raise StudyError(f"{self.path} is not empty: {hint}")

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """
        Lock the directory, and remove the unfinished files of killed processes.

        Raises:
            StudyError: Another process runs the study, or a link leads out of the directory.
        """
        if (self.path / "runs").is_symlink():
            raise StudyError(f"{self.path / 'runs'} is a symbolic link: a study writes only into its own directory")
        with OpenFile.of(self.path, os.O_RDONLY) as folder:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel frees it when the process ends
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
        Return the stored plan.

        Raises:
            StudyError: There is no study here.
            RecordingError: It cannot be read.
        """
        return self._header().plan

    def check_same_plan(self, requested: Plan) -> None:
        """
        Raise an error if the stored plan differs from this one.

        Raises:
            StudyError: The plans differ.
        """
        if differs := difference(self.plan(), requested):
            raise StudyError(f"the study in {self.path} has another plan: {differs}")

    def write(self, study: Study) -> None:
        """Store the study without its runs."""
        _write_json(self.path / "study.json", study_content(study))

    def add(self, run: Run) -> None:
        """Store a run and its timeline, if it has one; replace a stored run of the same cell."""
        path = run_path(self.path, run.cell)
        with _storing(path):
            path.parent.mkdir(exist_ok=True)
            if run.measurement is not None:
                run.measurement.timeline.save(path.with_suffix(".npz"))
        _write_json(path, run_content(run))

    def copy(self, run: Run, timeline: Path) -> None:
        """
        Store a run of another study, and its timeline if that file exists.

        Raises:
            RecordingError: The file is not a timeline. It is read, not copied: it could be a link to any other file.
        """
        path = run_path(self.path, run.cell)
        recorded = read_timeline(timeline)
        with _storing(path):
            path.parent.mkdir(exist_ok=True)
            if recorded is not None:
                recorded.save(path.with_suffix(".npz"))
        _write_json(path, run_content(run))

    def read(self) -> Study:
        """
        Return the whole study.

        Raises:
            StudyError: There is no study here.
            RecordingError: A file in it cannot be read.
        """
        study = self._header()
        known = {entry.name for entry in study.programs}
        runs = []
        for path in (self.path / "runs").glob("[!.]*.json"):
            run: Run = structure(path, read_json(path, "concmem run"), Run)
            if path.name != run_path(self.path, run.cell).name:
                raise RecordingError(f"{path}: its name does not match the run in it: {run.cell}")
            if run.program not in known:
                raise RecordingError(f"{path}: its program {run.program!r} is not in the study")
            runs.append(run)
        position = {name: i for i, name in enumerate(study.plan.programs)}
        runs.sort(key=lambda run: (position.get(run.program, len(position)), run.program, run.tasks, run.index))
        return attrs.evolve(study, runs=tuple(runs))

    def _header(self) -> Study:
        path = self.path / "study.json"
        if not path.exists():
            raise StudyError(f"there is no study in {self.path}")
        content = read_json(path, "concmem study")
        study: Study = structure(path, {**content, "path": self.path, "runs": []}, Study)
        return study


def read_timeline(path: Path) -> Timeline | None:
    """
    Read the timeline of a stored run; return None if it has none.

    Raises:
        RecordingError: The file is not a timeline, or cannot be read.
    """
    try:
        return Timeline.load(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error


def load_study(directory: str | Path) -> Study:
    """
    Read the study that `bench` stored in a directory, finished or not.

    The measurements come without their timelines: see `Study.timeline_path`.

    Raises:
        StudyError: There is no study in the directory.
        RecordingError: A file in it cannot be read.
    """
    return Store(Path(directory)).read()


def default_directory(*, resume: bool = False, base: str | Path = ".") -> Path:
    """
    Return the default directory of a study.

    Args:
        resume: Return the directory of the latest study instead of a new one.
        base: The folder that contains it.

    Returns:
        ``study-<date>``, with a number behind it if that exists.

    Raises:
        StudyError: There is no study to resume.
    """
    base = Path(base)
    if resume:
        studies = [path for path in base.glob("study-*") if Store(path).exists]
        if not studies:
            raise StudyError(f"there is no study to resume in {base.resolve()}")
        return max(studies, key=lambda path: (path / "study.json").stat().st_mtime)
    name = f"study-{datetime.date.today().isoformat()}"
    path, number = base / name, 1
    while path.exists():
        number += 1
        path = base / f"{name}-{number}"
    return path
