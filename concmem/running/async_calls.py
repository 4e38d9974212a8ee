"""`measure` and `start` for asynchronous code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

import concmem
from concmem._native.request import Request
from concmem.options import Command, MeasureOptions, TextOptions, documented
from concmem.running.asynchronous import AsyncRunning

if TYPE_CHECKING:
    from typing import Literal

    from typing_extensions import Buffer, Unpack

    from concmem.options import Options

__all__ = ["AsyncRunning", "measure_async", "start_async"]


@overload
async def start_async(
    cmd: Command,
    *,
    text: Literal[True],
    encoding: str | None = None,
    errors: str | None = None,
    **options: Unpack[Options],
) -> AsyncRunning[str]: ...


@overload
async def start_async(
    cmd: Command,
    *,
    text: bool | None = None,
    encoding: str,
    errors: str | None = None,
    **options: Unpack[Options],
) -> AsyncRunning[str]: ...


@overload
async def start_async(
    cmd: Command,
    *,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str,
    **options: Unpack[Options],
) -> AsyncRunning[str]: ...


@overload
async def start_async(
    cmd: Command,
    *,
    text: Literal[False] | None = None,
    encoding: None = None,
    errors: None = None,
    **options: Unpack[Options],
) -> AsyncRunning[bytes]: ...


@overload
async def start_async(
    cmd: Command,
    *,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    **options: Unpack[Options],
) -> AsyncRunning[Any]: ...


@documented(TextOptions)
async def start_async(cmd: Command, **options: Unpack[TextOptions]) -> AsyncRunning[Any]:
    """
    Start a command and its measurement in asynchronous code, and return when the command is executed.

    It works in asyncio, with any event loop, and with trio if anyio is installed. Cancelling it ends the command.

    Args:
        cmd: As for `measure`.
        {options}

    Raises:
        InvalidRequest, CommandError, SamplerError, UnsupportedPlatform: As `start`.
    """
    running: AsyncRunning[Any] = AsyncRunning(Request.of(cmd, options, "start_async"))
    await running._started()
    return running


@overload
async def measure_async(
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
async def measure_async(
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
async def measure_async(
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
async def measure_async(
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
async def measure_async(
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
async def measure_async(cmd: Command, **options: Unpack[MeasureOptions]) -> concmem.Measurement[Any]:
    """
    Do what `measure` does in asynchronous code, without a thread. Any number of calls may run at once.

    Cancelling it, also by `asyncio.timeout` or `asyncio.wait_for`, kills the whole tree and waits for its end.

    Args:
        cmd: As for `measure`.
        {options}

    Raises:
        InvalidRequest, CommandError, CommandFailed, TimeoutExpired, SamplerError, UnsupportedPlatform: As `measure`.
    """
    check, given = options.pop("check", False), options.pop("input", None)
    request = Request.of(cmd, options, "measure_async").with_input(given)
    running: AsyncRunning[Any] = AsyncRunning(request)
    result = await running.wait()
    if check and not result.exit.ok:
        from concmem.running.failures import failure_of

        raise failure_of(result, request.args, request.options["timeout_s"])
    return result
