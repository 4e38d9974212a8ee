"""
The errors that concmem raises. Each also derives from the builtin exception that a caller would expect.

Every error can be pickled, and names the file, the program or the source that caused it.
"""

from __future__ import annotations

from concmem._escaping import escape_text

TYPE_CHECKING = False  # for a type checker this name is True, as in `typing`, which takes longer to import

if TYPE_CHECKING:
    from concmem.running.failures import CommandFailed, TimeoutExpired

__all__ = [
    "BadInterpreter",
    "BadWorkingDirectory",
    "CommandError",
    "CommandFailed",
    "CommandNotExecutable",
    "CommandNotFound",
    "CommandTooLong",
    "ConcmemError",
    "InvalidRequest",
    "InvalidType",
    "NotPermitted",
    "RecordingError",
    "SamplerError",
    "TimeoutExpired",
    "Undecided",
    "UnknownName",
    "UnsupportedPlatform",
]


class ConcmemError(Exception):
    """The base class of all errors that concmem raises. concmem raises only its subclasses."""

    exit_code: int = 125
    """The exit code with which the ``concmem`` command ends on this error."""

    def __str__(self) -> str:
        """Return the message on one line. Text from outside is escaped."""
        return escape_text(self._sentence())

    def _sentence(self) -> str:
        if isinstance(self, OSError) and self.strerror:
            return self.strerror if self.filename is None else f"{self.filename}: {self.strerror}"
        return Exception.__str__(self)  # not KeyError's, which is the repr of the message


class InvalidRequest(ConcmemError, ValueError):
    """An argument of `measure` is invalid. Nothing has run."""

    exit_code = 2


class InvalidType(InvalidRequest, TypeError):
    """An argument of `measure` has a type that it must not have. Nothing has run."""


class UnknownName(InvalidRequest, KeyError):
    """There is no user or group of this name. Nothing has run."""


class UnsupportedPlatform(ConcmemError, NotImplementedError):
    """
    This is not Linux, or an interface that is required is missing.

    Examples are /proc of this PID namespace, and a control group for `cgroup_limit_bytes`.
    """


class SamplerError(ConcmemError, OSError):
    """The sampler could not be started, or was killed."""


class RecordingError(ConcmemError, ValueError):
    """A stored measurement cannot be read: it is damaged, of a newer schema, or not from concmem."""


class Undecided(ConcmemError, ValueError):
    """A figure was compared with a limit that lies in its range. `Figure.compare` returns ``undecided`` instead."""

    exit_code = 1


class CommandError(ConcmemError, OSError):
    """
    The command could not be started; no process of it is running.

    Attributes:
        errno, strerror, filename: As in every `OSError`; `filename` is the program or the folder.
    """

    exit_code = 126

    def _sentence(self) -> str:
        return f"{self.filename}: {self.strerror}"


class CommandNotFound(CommandError, FileNotFoundError):
    """The program does not exist, neither at the given path nor in a folder of PATH."""

    exit_code = 127


class CommandNotExecutable(CommandError, PermissionError):
    """The program exists, but the kernel does not execute it: no permission, a folder, or not a program."""


class BadInterpreter(CommandError, FileNotFoundError):
    """The program exists, but the interpreter or loader that it names does not."""


class BadWorkingDirectory(CommandError, NotADirectoryError):
    """The requested working directory cannot be entered."""

    exit_code = 125


class NotPermitted(CommandError, PermissionError):
    """
    The kernel does not permit what an option requests for the command's process.

    Examples are `user` without root, and a limit above the hard limit.
    """

    exit_code = 125


class CommandTooLong(CommandError):
    """Arguments and environment together are larger than the kernel accepts (E2BIG)."""


if not TYPE_CHECKING:  # with it, a type checker would accept any name

    def __getattr__(name: str) -> object:
        if name not in ("CommandFailed", "TimeoutExpired"):
            raise AttributeError(f"module 'concmem.errors' has no attribute {name!r}")
        # They are also errors of `subprocess`, whose import takes longer than a short command runs.
        value = getattr(__import__("concmem.running.failures", fromlist=[name]), name)
        globals()[name] = value
        return value
