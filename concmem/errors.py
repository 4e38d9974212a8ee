"""
What can go wrong, each error also the builtin that a caller would expect.

Every error pickles, and names the file, the program or the source that it is about.
"""

from __future__ import annotations

from concmem._escaping import escape_text

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
    "RecordingError",
    "SamplerError",
    "UnsupportedPlatform",
]


class ConcmemError(Exception):
    """The base of all errors that concmem raises; never raised itself."""

    exit_code: int = 125
    """The exit code with which the ``concmem`` command ends on this error."""

    def __str__(self) -> str:
        """Return the sentence, in one line: text from outside is shown escaped."""
        return escape_text(self._sentence())

    def _sentence(self) -> str:
        if isinstance(self, OSError) and self.strerror:
            return self.strerror if self.filename is None else f"{self.filename}: {self.strerror}"
        return super().__str__()


class InvalidRequest(ConcmemError, ValueError):
    """An argument of `measure` that cannot be meant: refused before anything runs."""

    exit_code = 2


class UnsupportedPlatform(ConcmemError, NotImplementedError):
    """This is not Linux, or a Linux without an interface that concmem cannot do without, such as a /proc of its own."""


class SamplerError(ConcmemError, OSError):
    """The sampler could not be started, or ended without its last words."""


class RecordingError(ConcmemError, ValueError):
    """A stored measurement that cannot be read: not ours, damaged, or of a later schema."""


class CommandError(ConcmemError, OSError):
    """
    The command could not be started; nothing of it runs.

    Attributes:
        errno, strerror, filename: As in every `OSError`; `filename` is the program or the folder.
    """

    exit_code = 126

    def _sentence(self) -> str:
        return f"{self.filename}: {self.strerror}"


class CommandNotFound(CommandError, FileNotFoundError):
    """There is no such program, neither at the path given nor in any folder of PATH."""

    exit_code = 127


class CommandNotExecutable(CommandError, PermissionError):
    """The program is there but the kernel will not execute it: no permission, a folder, not a program."""


class BadInterpreter(CommandError, FileNotFoundError):
    """The program is there, but the interpreter or loader that it names is not."""


class BadWorkingDirectory(CommandError, NotADirectoryError):
    """The working directory that was asked for cannot be entered."""

    exit_code = 125


class CommandTooLong(CommandError):
    """Arguments and environment together are larger than the kernel takes (E2BIG)."""


class CommandFailed(ConcmemError):
    """
    The command ended with something other than 0, and ``check=True`` was given.

    Attributes:
        measurement: The whole `Measurement`; nothing that was measured is lost.
    """

    exit_code = 1

    def __init__(self, measurement: object) -> None:
        super().__init__(measurement)
        self.measurement = measurement

    def _sentence(self) -> str:
        return f"the command ended with {getattr(self.measurement, 'exit', '?')}"
