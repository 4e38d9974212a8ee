"""The options of a measurement. Invalid values are refused here, before any C code runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import attrs

from concmem.errors import InvalidRequest

__all__ = ["Command", "Leftover", "Request"]

Command = str | bytes | os.PathLike[str] | Sequence[str | bytes | os.PathLike[str]]

Leftover = Literal["wait", "leave", "kill"]
"""What to do with processes that still run when the root has ended."""

SHORTEST_INTERVAL_S = 0.0001
LONGEST_INTERVAL_S = 3600.0


def _encode(value: Any, what: str, *which: Any) -> bytes:
    """Encode a value for the kernel. `what.format(*which)` names it in errors, and is formatted only for those."""
    try:
        encoded = os.fsencode(value)
    except TypeError:
        raise InvalidRequest(f"{what.format(*which)} must be text or a path, not {value!r}") from None
    except UnicodeEncodeError:
        why = "contains characters that a file name cannot contain"
        raise InvalidRequest(f"{what.format(*which)} {why}: {value!r}") from None
    if b"\0" in encoded:
        raise InvalidRequest(f"{what.format(*which)} contains a NUL, which the kernel does not accept: {value!r}")
    return encoded


def _argv(command: Command) -> tuple[bytes, ...]:
    if isinstance(command, (str, bytes)):
        line = _encode(command, "the command")
        if not line.strip():
            raise InvalidRequest("the command is empty")
        return (b"/bin/sh", b"-c", line)
    if not isinstance(command, (list, tuple)) and isinstance(command, os.PathLike):
        command = [command]
    try:
        words = list(command)
    except TypeError:
        raise InvalidRequest(f"the command must be a list of words, or one string, not {command!r}") from None
    if not words:
        raise InvalidRequest("the command is empty")
    argv = tuple([_encode(word, "word {} of the command", i) for i, word in enumerate(words)])
    if not argv[0]:
        raise InvalidRequest("the command is empty: its first word must be a program, not ''")
    return argv


def _envp(env: Mapping[str, str] | None) -> tuple[bytes, ...] | None:
    if env is None:
        return None
    pairs = []
    for key, value in env.items():
        name = _encode(key, "a name in env")
        if not name or b"=" in name:
            raise InvalidRequest(f"{key!r} is not a valid name of an environment variable")
        pairs.append(name + b"=" + _encode(value, "env[{!r}]", key))
    return tuple(pairs)


def _check_number(name: str, value: Any, least: float, most: float) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidRequest(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")


@attrs.frozen
class Request:
    """
    The validated options of one measurement.

    Attributes:
        argv: The encoded argument vector; for a string, ``/bin/sh -c`` and the string.
        envp: The complete environment, as ``NAME=value``; None for the caller's.
        cwd: The working directory, or None for the caller's.
        shown: The command as the caller gave it.
        interval_ns: The time between two readings.
        pss_budget_ppm: The share of wall time for reading smaps_rollup, in millionths.
        timeout_ns, memory_limit_bytes: 0 for none.
        leftover: What to do with processes that still run when the root has ended: ``wait``, ``leave`` or ``kill``.
        extra: The names of the requested sources that are not read by default.
    """

    argv: tuple[bytes, ...]
    envp: tuple[bytes, ...] | None
    cwd: bytes | None
    shown: tuple[str, ...] | str
    interval_ns: int
    pss_budget_ppm: int
    timeout_ns: int
    memory_limit_bytes: int
    leftover: Leftover
    extra: frozenset[str]

    @property
    def environment(self) -> tuple[bytes, ...]:
        """The environment that the command gets, as ``NAME=value``."""
        if self.envp is not None:
            return self.envp
        return tuple(key + b"=" + value for key, value in os.environb.items())

    @classmethod
    def of(
        cls,
        command: Command,
        *,
        interval_s: float,
        pss_budget: float,
        timeout_s: float | None,
        memory_limit_bytes: int | None,
        leftover: Leftover,
        cwd: str | os.PathLike[str] | None,
        env: Mapping[str, str] | None,
        extra: Mapping[str, bool],
    ) -> Request:
        """
        Check the arguments of `concmem.measure`, and return them as a request.

        Raises:
            InvalidRequest: One of them is invalid.
        """
        _check_number("interval_s", interval_s, SHORTEST_INTERVAL_S, LONGEST_INTERVAL_S)
        _check_number("pss_budget", pss_budget, 0, 1)
        if timeout_s is not None:
            _check_number("timeout_s", timeout_s, 1e-6, 1e9)
        if memory_limit_bytes is not None:
            _check_number("memory_limit_bytes", memory_limit_bytes, 1, 1 << 62)
        if leftover not in get_args(Leftover):
            raise InvalidRequest(f"leftover must be 'wait', 'leave' or 'kill', not {leftover!r}")
        argv = _argv(command)
        is_line = isinstance(command, (str, bytes))
        return cls(
            argv=argv,
            envp=_envp(env),
            cwd=None if cwd is None else _encode(cwd, "cwd"),
            shown=os.fsdecode(argv[2]) if is_line else tuple([os.fsdecode(word) for word in argv]),
            interval_ns=round(interval_s * 1e9),
            pss_budget_ppm=round(pss_budget * 1e6),
            timeout_ns=0 if timeout_s is None else max(1, round(timeout_s * 1e9)),
            memory_limit_bytes=int(memory_limit_bytes or 0),
            leftover=leftover,
            extra=frozenset([name for name, requested in extra.items() if requested]),
        )
