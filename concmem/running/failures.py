"""Errors that are also those of `subprocess`. They are imported on first use, because `subprocess` takes long."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

from concmem.errors import ConcmemError
from concmem.units import format_seconds

if TYPE_CHECKING:
    from concmem.model import Measurement

__all__ = ["CommandFailed", "TimeoutExpired", "failure_of"]


class CommandFailed(ConcmemError, subprocess.CalledProcessError):
    """
    The command did not exit with 0, and ``check=True`` was given.

    Attributes:
        measurement: The complete `Measurement`.
        returncode, cmd, output, stdout, stderr: As in `subprocess.CalledProcessError`.
    """

    exit_code = 1

    def __init__(self, measurement: Measurement[Any]) -> None:
        command = measurement.command
        subprocess.CalledProcessError.__init__(
            self,
            measurement.exit.returncode,  # type: ignore[arg-type]  # None: the root could not be killed
            command if isinstance(command, str) else list(command),
            measurement.stdout,
            measurement.stderr,
        )
        self.measurement = measurement

    def _sentence(self) -> str:
        return f"the command ended with {self.measurement.exit}"


class TimeoutExpired(ConcmemError, subprocess.TimeoutExpired):
    """
    A command was ended at `timeout_s`, and ``check=True`` was given; or `Running.wait` was not over in time.

    Attributes:
        measurement: The complete `Measurement`; None if the command still runs.
        cmd, timeout, output, stdout, stderr: As in `subprocess.TimeoutExpired`.
    """

    exit_code = 124

    def __init__(
        self,
        cmd: Any,
        timeout: Any,
        output: Any = None,
        stderr: Any = None,
        measurement: Measurement[Any] | None = None,
    ) -> None:
        subprocess.TimeoutExpired.__init__(self, cmd, timeout, output, stderr)
        self.measurement = measurement

    def _sentence(self) -> str:
        what = "still runs" if self.measurement is None else "was ended"
        return f"the command {what} after {format_seconds(self.timeout)}"


def failure_of(measurement: Measurement[Any], args: Any, timeout_s: float | None) -> CommandFailed | TimeoutExpired:
    """Return the error for a command that did not exit by itself with 0."""
    if measurement.exit.reason == "timeout":
        return TimeoutExpired(args, timeout_s, measurement.stdout, measurement.stderr, measurement)
    return CommandFailed(measurement)
