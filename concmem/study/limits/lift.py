"""
Raise limits of the machine for a study, and restore them at its end.

The previous values are written to a file before a limit is changed, so that the next study can restore them if this
one is killed. The file is under ``/run``: a restart empties that and resets the limits too. All this requires root.
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

__all__ = ["NOTES", "PUT_BACK", "Change", "check_allowed", "raised_limits", "restore"]

NOTES = Path("/run/concmem")
PUT_BACK = "restored a limit that a killed study had raised"


@attrs.frozen
class Change:
    """
    One limit that was raised.

    Attributes:
        file: The file that sets it.
        before: Its previous value.
        raised: The value that it was set to.
    """

    file: str
    before: int
    raised: int

    def __str__(self) -> str:
        return f"{self.file} from {self.before} to {self.raised}"


def check_allowed() -> None:
    """
    Raise an error if this user cannot raise limits.

    Raises:
        StudyError: The user is not root.
    """
    if os.geteuid() != 0:
        raise StudyError("only root can raise the machine's limits")


@contextlib.contextmanager
def raised_limits(find: Callable[[], Sequence[Limit]], tasks: int, notes: Path = NOTES) -> Iterator[list[Change]]:
    """
    Raise the limits that this number of threads would exceed, as far as they can be raised, until the block ends.

    Args:
        find: Returns the current limits of the machine.
        tasks: The number of threads.
        notes: The folder of the file with the previous values.

    Raises:
        StudyError: The user is not root, another study has raised the limits, or they cannot be written.
    """
    check_allowed()
    with _lock(notes) as is_free:
        if not is_free:
            raise StudyError("another study has raised the limits: wait until it has ended")
        _restore(notes)
        changes = [
            Change(str(limit.file), limit.value, min(limit.needed(tasks), limit.most))
            for limit in find()
            if limit.file is not None and limit.room < tasks and limit.value < limit.most
        ]
        _write_note(notes, changes)
        try:
            for change in changes:
                _write(change.file, change.raised)
            forget()
            yield changes
        finally:
            _restore(notes)
            forget()


def restore(notes: Path = NOTES) -> list[Change]:
    """
    Restore the limits that a killed study raised.

    Does nothing without root, or while a running study has the limits raised. A limit that was changed again since then
    is left as it is.

    Returns:
        The limits that were restored.
    """
    if os.geteuid() != 0 or not notes.is_dir():
        return []
    with _lock(notes) as is_free:
        if not is_free:
            return []
        restored = _restore(notes)
    if restored:
        forget()
    return restored


@contextlib.contextmanager
def _lock(notes: Path) -> Iterator[bool]:
    """Yield whether this process has the lock on the limits. The kernel frees it when the process ends."""
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


def _write_note(notes: Path, changes: Sequence[Change]) -> None:
    with replacing(notes / "raised.json") as file:
        file.write(json.dumps([attrs.asdict(change) for change in changes], indent=1).encode() + b"\n")


def _restore(notes: Path) -> list[Change]:
    note = notes / "raised.json"
    try:
        changes = strict_converter().structure(read_json_file(note), list[Change])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, cattrs.BaseValidationError) as error:
        raise StudyError(f"{note}, which has the previous values of limits, cannot be read: {error}") from error
    restored = [change for change in changes if _read(change.file) == change.raised]
    errors: list[StudyError] = []
    for change in restored:
        try:
            _write(change.file, change.before)
        except StudyError as error:  # restore the others first
            errors.append(error)
    if errors:
        raise errors[0]
    note.unlink()
    return restored


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
