"""Run a command and measure it: `measure` waits for the result, `start` returns at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import concmem
from concmem._native.request import Request
from concmem.options import DEVNULL, PIPE, STDOUT, Command, MeasureOptions, TextOptions, documented
from concmem.running.handle import Running

if TYPE_CHECKING:
    from typing import Literal

    from typing_extensions import Buffer, Unpack

    from concmem.options import Options
    from concmem.running.async_calls import AsyncRunning, measure_async, start_async
    from concmem.running.reading import Reading, ReadProcess

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "AsyncRunning",
    "ReadProcess",
    "Reading",
    "Running",
    "measure",
    "measure_async",
    "start",
    "start_async",
]

_LATER = {
    **dict.fromkeys(("AsyncRunning", "measure_async", "start_async"), "async_calls"),
    **dict.fromkeys(("ReadProcess", "Reading"), "reading"),
}
"""Names that a short measurement does not need, each with its module, which is imported on first use."""

if not TYPE_CHECKING:  # with it, a type checker would accept any name

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module 'concmem.running' has no attribute {name!r}")
        value = getattr(__import__(f"concmem.running.{_LATER[name]}", fromlist=[name]), name)
        globals()[name] = value
        return value


@overload
def start(
    cmd: Command,
    *,
    text: Literal[True],
    encoding: str | None = None,
    errors: str | None = None,
    **options: Unpack[Options],
) -> Running[str]: ...


@overload
def start(
    cmd: Command,
    *,
    text: bool | None = None,
    encoding: str,
    errors: str | None = None,
    **options: Unpack[Options],
) -> Running[str]: ...


@overload
def start(
    cmd: Command,
    *,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str,
    **options: Unpack[Options],
) -> Running[str]: ...


@overload
def start(
    cmd: Command,
    *,
    text: Literal[False] | None = None,
    encoding: None = None,
    errors: None = None,
    **options: Unpack[Options],
) -> Running[bytes]: ...


@overload
def start(
    cmd: Command,
    *,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    **options: Unpack[Options],
) -> Running[Any]: ...


@documented(TextOptions)
def start(cmd: Command, **options: Unpack[TextOptions]) -> Running[Any]:
    """
    Start a command and its measurement, and return when the command is executed, which takes about 1 ms.

    Args:
        cmd: As for `measure`.
        {options}

    Raises:
        InvalidRequest: An argument is invalid.
        CommandNotFound, CommandNotExecutable, BadInterpreter, CommandTooLong, BadWorkingDirectory, NotPermitted,
            CommandError: The command could not be started, and does not run.
        SamplerError: The sampler could not be started.
        UnsupportedPlatform: /proc is missing, or shows another PID namespace; or no control group can be made for
            `cgroup_limit_bytes`.
    """
    running: Running[Any] = Running(Request.of(cmd, options, "start"))
    running._wait_until_started()
    return running


@overload
def measure(
    cmd: Command,
    *,
    text: Literal[True],
    encoding: str | None = None,
    errors: str | None = None,
    check: bool = False,
    input: str | None = None,
    **options: Unpack[Options],
) -> concmem.Measurement[str]: ...


@overload
def measure(
    cmd: Command,
    *,
    text: bool | None = None,
    encoding: str,
    errors: str | None = None,
    check: bool = False,
    input: str | None = None,
    **options: Unpack[Options],
) -> concmem.Measurement[str]: ...


@overload
def measure(
    cmd: Command,
    *,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str,
    check: bool = False,
    input: str | None = None,
    **options: Unpack[Options],
) -> concmem.Measurement[str]: ...


@overload
def measure(
    cmd: Command,
    *,
    text: Literal[False] | None = None,
    encoding: None = None,
    errors: None = None,
    check: bool = False,
    input: Buffer | None = None,
    **options: Unpack[Options],
) -> concmem.Measurement[bytes]: ...


@overload
def measure(
    cmd: Command,
    *,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    check: bool = False,
    input: Buffer | str | None = None,
    **options: Unpack[Options],
) -> concmem.Measurement[Any]: ...


@documented(MeasureOptions)
def measure(cmd: Command, **options: Unpack[MeasureOptions]) -> concmem.Measurement[Any]:
    """
    Run a command, wait until it and all processes that it started have ended, and return how much memory they needed.

    Safe in any number of threads at once. In asynchronous code use `measure_async`.

    Args:
        cmd: A list is executed as it is. A string is run by ``/bin/sh -c``; the figures then include the shell, about
            1 MB.
        {options}

    Raises:
        InvalidRequest: An argument is invalid.
        CommandNotFound, CommandNotExecutable, BadInterpreter, CommandTooLong, BadWorkingDirectory, NotPermitted,
            CommandError: The command could not be started, and does not run.
        CommandFailed: With ``check=True``; it carries the measurement.
        TimeoutExpired: The same, if the command was ended at `timeout_s`.
        SamplerError: The sampler could not be started, or was killed.
        UnsupportedPlatform: This is not Linux; or no control group can be made for `cgroup_limit_bytes`.
    """
    check, given = options.pop("check", False), options.pop("input", None)
    request = Request.of(cmd, options, "measure").with_input(given)
    running: Running[Any] = Running(request)
    result = running.wait()
    if check and not result.exit.ok:
        from concmem.running.failures import failure_of

        raise failure_of(result, request.args, request.options["timeout_s"])
    return result
