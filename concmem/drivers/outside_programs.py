"""Run outside programs: compilers, installers and their queries. Report their output while they run."""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from concmem.drivers.cache import safe_umask

__all__ = ["ToolResult", "ToolTimeout", "Watch", "run_tool", "so_far", "unwatched"]

Watch = Callable[[float, str], None]
"""Called about once a second with the run time of the command in seconds and its last line of output."""

_REPORT_S = 1.0
_END_S = 10.0
# With APT::Status-Fd, apt-get writes these: kind, package, per cent, current step.
_APT_STATUS = re.compile(r"(?:dl|pm)status:[^:]*:(?P<percent>[\d.]+):(?P<what>.+)")


def unwatched(elapsed_s: float, line: str) -> None:
    """Ignore the progress of a command."""


def so_far(elapsed_s: float, line: str) -> str:
    """Return a text with the run time of a command and its last line of output."""
    return f"{elapsed_s:.0f} s" + (f": {line}" if line else "")


class ToolTimeout(Exception):
    """An outside program took too long, and was ended."""


@attrs.frozen
class ToolResult:
    """
    How an outside program ended.

    Attributes:
        code: Its exit code, negative if a signal killed it.
        output: Everything that it wrote.
    """

    code: int
    output: bytes

    @property
    def text(self) -> str:
        """The output as text."""
        return self.output.decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        """The lines of the output, without empty ones and those in which apt reports its progress."""
        every = self.output.decode(errors="surrogateescape").splitlines()
        return [line for line in every if line.strip() and not _APT_STATUS.match(line)]


def run_tool(
    argv: Sequence[str],
    watch: Watch = unwatched,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float | None = None,
    with_errors: bool = True,
) -> ToolResult:
    """
    Run an outside program without standard input, and with messages in English.

    An exception, including Ctrl-C, first ends the command: by SIGTERM, and after ten seconds by SIGKILL.

    Args:
        argv: The command.
        watch: See `Watch`.
        env: Environment variables in addition to this process's own.
        cwd: The working directory.
        timeout_s: How long it may take.
        with_errors: Whether its output includes standard error; else that is discarded.

    Raises:
        OSError: It cannot be started.
        ToolTimeout: It took longer than `timeout_s`, and was ended.
    """
    begun_s = time.monotonic()
    running = subprocess.Popen(
        argv,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if with_errors else subprocess.DEVNULL,
        umask=safe_umask(),
    )
    assert running.stdout is not None
    output = _Output()
    try:
        with running.stdout as pipe, selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            reported_s = begun_s
            while True:
                ready = selector.select(_REPORT_S)
                elapsed_s = time.monotonic() - begun_s
                if timeout_s is not None and elapsed_s > timeout_s:
                    raise ToolTimeout
                if ready:
                    if not (chunk := os.read(pipe.fileno(), 1 << 16)):
                        break
                    output.add(chunk)
                if begun_s + elapsed_s - reported_s >= _REPORT_S:
                    reported_s = begun_s + elapsed_s
                    watch(elapsed_s, output.last)
        left_s = None if timeout_s is None else max(0.0, timeout_s - (time.monotonic() - begun_s))
        return ToolResult(running.wait(left_s), output.content)
    except subprocess.TimeoutExpired:
        _end(running)
        raise ToolTimeout from None
    except BaseException:
        _end(running)
        raise


def _end(running: subprocess.Popen[bytes]) -> None:
    # A killed package manager leaves a half-installed package, so give it time to end by itself.
    running.terminate()
    try:
        running.wait(_END_S)
    except subprocess.TimeoutExpired:
        running.kill()
        running.wait()


class _Output:
    """The output of a program so far, and its last line. A carriage return also ends a line."""

    def __init__(self) -> None:
        self.content = b""
        self.last = ""

    def add(self, chunk: bytes) -> None:
        self.content += chunk
        recent = re.split(r"[\r\n]+", self.content[-4096:].decode(errors="surrogateescape"))
        # The last one may be an incomplete line; skip it unless it is the only one.
        for line in reversed(recent[:-1] or recent):
            if line.strip():
                status = _APT_STATUS.match(line)
                self.last = f"{float(status['percent']):.0f} % {status['what']}" if status else line.strip()
                return
