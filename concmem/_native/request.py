"""One measurement as it was requested: the command and its options, checked before any C code runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from concmem._classes.record import Record
from concmem.errors import InvalidRequest
from concmem.options import DEFAULTS, PIPE, TARGET_SETUP_DEFAULTS, Command, TextOptions, check_options, sources_of

if TYPE_CHECKING:
    from concmem._native.target_setup import TargetSetup

__all__ = ["Request"]


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


def _setup(given: Mapping[str, Any], options: TextOptions, program: str) -> TargetSetup | None:
    """Return what is set before the exec, or None without importing the checks: most commands request nothing."""
    if all(given[name] is TARGET_SETUP_DEFAULTS[name] for name in TARGET_SETUP_DEFAULTS.keys() & given.keys()):
        return None
    from concmem._native.target_setup import TargetSetup

    return TargetSetup.of(options, program)


class Request(Record):
    """
    One measurement as it was requested.

    Attributes:
        argv: The encoded argument vector; for a string, ``/bin/sh -c`` and the string.
        envp: The complete environment, as ``NAME=value``; None for the caller's.
        cwd: The working directory, or None for the caller's.
        shown: The command as the caller gave it.
        args: The same, unchanged.
        options: The value of each option.
        input: What to write to standard input; None to leave that to the caller.
        extra: The names of the requested sources that are not read by default.
        setup: What the command's process sets before its exec; None if nothing is requested.
    """

    argv: tuple[bytes, ...]
    envp: tuple[bytes, ...] | None
    cwd: bytes | None
    shown: tuple[str, ...] | str
    args: Command
    options: TextOptions
    extra: frozenset[str]
    setup: TargetSetup | None
    input: memoryview | None

    @property
    def environment(self) -> tuple[bytes, ...]:
        """The environment that the command gets, as ``NAME=value``."""
        if self.envp is not None:
            return self.envp
        return tuple(key + b"=" + value for key, value in os.environb.items())

    @property
    def is_text(self) -> bool:
        """Whether pipes have text instead of bytes."""
        options = self.options
        return bool(options["text"]) or options["encoding"] is not None or options["errors"] is not None

    def encode(self, given: Any) -> memoryview:
        """
        Return input as bytes.

        Raises:
            InvalidRequest: It is neither bytes nor, if pipes have text, a str.
        """
        from concmem._native.text import as_bytes

        return as_bytes(given, is_text=self.is_text, encoding=self.options["encoding"], errors=self.options["errors"])

    def wrap(self, file: Any, **how: Any) -> Any:
        """Return a file object of a pipe as it is, or as a text file."""
        if not self.is_text:
            return file
        from concmem._native.text import text_file

        return text_file(file, self.options["encoding"], self.options["errors"], **how)

    def decoder(self) -> Any:
        """Return an incremental decoder of output, which makes every line end with a newline; None without text."""
        from concmem._native.text import decoder_of

        return decoder_of(self.options["encoding"], self.options["errors"]) if self.is_text else None

    @classmethod
    def of(cls, command: Command, given: TextOptions, function: str) -> Request:
        """
        Check the arguments of a function, and return them as a request.

        Args:
            command: The command.
            given: The options that the function was called with.
            function: The name of the function.

        Raises:
            TypeError: There is no such option.
            InvalidRequest: An argument is invalid.
            CommandError: A descriptor of ``pass_fds`` is not open.
        """
        check_options(given, function)
        options: TextOptions = {**DEFAULTS, **given}
        if options["until"] == "root" and options["leftover"] == "wait":
            options["leftover"] = "leave"
        argv, cwd = _argv(command), options["cwd"]
        is_line = isinstance(command, (str, bytes))
        return cls(
            argv=argv,
            envp=_envp(options["env"]),
            cwd=None if cwd is None else _encode(cwd, "cwd"),
            shown=os.fsdecode(argv[2]) if is_line else tuple([os.fsdecode(word) for word in argv]),
            args=command,
            options=options,
            extra=sources_of(given),
            setup=_setup(given, options, os.fsdecode(argv[0])),
            input=None,
        )

    def with_input(self, given: Any) -> Request:
        """
        Return the request of a caller that does not write to pipes: with `given` as input, or with none.

        Raises:
            InvalidRequest: It is not input, or standard input is something else.
        """
        if given is not None and self.options["stdin"] is not None:
            raise InvalidRequest("stdin and input must not both be given")
        if given is not None:
            self.options["stdin"] = PIPE
        if self.options["stdin"] == PIPE:
            self.input = self.encode(given)
        return self
