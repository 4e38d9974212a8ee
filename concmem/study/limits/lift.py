"""
Raise limits of the machine for a study, and put them back: at its end, or where it was killed at the next one's start.

What is changed is written down, on the disk, before it is changed. The note lies under ``/run``, which a restart
empties as it resets the limits. Only root can do this.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import cattrs

from concmem._files.atomic import replacing
from concmem._files.bounded import read_json_file
from concmem._files.strict import strict_converter
from concmem.host import forget
from concmem.study.limits.kinds import Limit
from concmem.study.plan import StudyError

__all__ = ["NOTES", "PUT_BACK", "Change", "check_allowed", "lifted", "restore"]

NOTES = Path("/run/concmem")
PUT_BACK = "put back what a study that was killed had raised"


@attrs.frozen
class Change:
    """
    One limit that was raised.

    Attributes:
        file: Where.
        before: What it was.
        raised: What it was set to.
    """

    file: str
    before: int
    raised: int

    def __str__(self) -> str:
        return f"{self.file} from {self.before} to {self.raised}"


def check_allowed() -> None:
    """
    See to it that limits can be lifted at all.

    Raises:
        StudyError: Not by this user.
    """
    if os.geteuid() != 0:
        raise StudyError("only root can lift the machine's limits")


@contextlib.contextmanager
def lifted(find: Callable[[], Sequence[Limit]], tasks: int, notes: Path = NOTES) -> Iterator[list[Change]]:
    """
    Raise those of the limits that so many threads would meet, as far as they go, until the block ends.

    Args:
        find: Gives the limits of the machine, as they are then.
        tasks: How many threads there are to be.
        notes: The folder for the note of what was changed.

    Raises:
        StudyError: Not root, or somebody else has raised them at this moment, or they cannot be written.
    """
    check_allowed()
    with _alone(notes) as free:
        if not free:
            raise StudyError("another study has lifted the limits at this moment: wait until it has ended")
        _put_back(notes)
        changes = [
            Change(str(limit.file), limit.value, min(limit.needed(tasks), limit.most))
            for limit in find()
            if limit.file is not None and limit.room < tasks and limit.value < limit.most
        ]
        _note(notes, changes)
        try:
            for change in changes:
                _write(change.file, change.raised)
            forget()
            yield changes
        finally:
            _put_back(notes)
            forget()


def restore(notes: Path = NOTES) -> list[Change]:
    """
    Put back what a killed study raised; nothing where none was, where one is at it now, or where that is not allowed.

    A limit that somebody has changed since is left as it is.

    Returns:
        What was put back.
    """
    if os.geteuid() != 0 or not notes.is_dir():
        return []
    with _alone(notes) as free:
        if not free:
            return []
        put_back = _put_back(notes)
    if put_back:
        forget()
    return put_back


@contextlib.contextmanager
def _alone(notes: Path) -> Iterator[bool]:
    """Whether nobody else is at it; a process that dies lets go."""
    try:
        notes.mkdir(mode=0o755, exist_ok=True)
        lock = os.open(notes / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StudyError(f"{notes} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def _note(notes: Path, changes: Sequence[Change]) -> None:
    with replacing(notes / "raised.json") as file:
        file.write(json.dumps([attrs.asdict(change) for change in changes], indent=1).encode() + b"\n")


def _put_back(notes: Path) -> list[Change]:
    note = notes / "raised.json"
    try:
        changes = strict_converter().structure(read_json_file(note), list[Change])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, cattrs.BaseValidationError) as error:
        raise StudyError(f"{note} cannot be read, which says what limits were before: {error}") from error
    put_back = [change for change in changes if _read(change.file) == change.raised]
    refused: list[StudyError] = []
    for change in put_back:
        try:
            _write(change.file, change.before)
        except StudyError as error:  # the others are put back all the same
            refused.append(error)
    if refused:
        raise refused[0]
    note.unlink()
    return put_back


def _read(file: str) -> int | None:
    try:
        return int(Path(file).read_text())
    except (OSError, ValueError):
        return None


def _write(file: str, value: int) -> None:
    try:
        Path(file).write_text(f"{value}\n")
    except OSError as error:
        raise StudyError(f"{file} cannot be set to {value}: {error.strerror}") from error
