"""Redirect standard input, output and error of the command, with the arguments of `subprocess`."""

from __future__ import annotations

import os

from concmem._native.pipes import Input, Output, Pipes
from concmem._native.request import Request
from concmem._native.resources import Resources
from concmem.errors import InvalidRequest
from concmem.options import DEVNULL, PIPE, STDOUT, Target

__all__ = ["open_standard_files"]


def _is_open(fd: int) -> bool:
    try:
        os.get_inheritable(fd)
    except (OSError, OverflowError):
        return False
    return True


class _Redirection:
    """Opens the standard files of a command."""

    def __init__(self, resources: Resources, pipes: Pipes, max_output_bytes: int | None) -> None:
        self._resources = resources
        self._pipes = pipes
        self._max_output_bytes = max_output_bytes
        # Before anything is opened here: the kernel allocates the lowest free descriptor, so the next file that is
        # opened could get the number of a standard file that is closed in this process.
        self._closed = {number for number in range(3) if not _is_open(number)}

    def open(self, name: str, target: Target, number: int, mode: int) -> int:
        """Return the descriptor for a standard file."""
        if target is None and number not in self._closed:
            return number
        if target is None or target == DEVNULL:
            return self._resources.open_null(number, mode)
        if target == PIPE and number == 0:
            self._pipes.input = given = Input()
            return self._resources.open_pipe(number, given.end)
        if target == PIPE:
            self._pipes.outputs[name] = output = Output(self._max_output_bytes)
            return self._resources.open_pipe(number, output.end)
        try:
            fd = target if isinstance(target, int) else target.fileno()
        except (AttributeError, OSError, ValueError):
            raise InvalidRequest(
                f"{name} must be an open file, a file descriptor, PIPE or DEVNULL, not {target!r}"
            ) from None
        if fd in self._closed or not _is_open(fd):
            raise InvalidRequest(f"{name} must be an open file, and {target!r} is not open")
        return fd


def open_standard_files(resources: Resources, pipes: Pipes, request: Request) -> tuple[int, int, int]:
    """
    Open the standard files of a command; return the descriptors that become 0, 1 and 2.

    `resources` owns what is opened for the target, and `pipes` this process's ends of pipes.

    Raises:
        InvalidRequest: A file is not open.
    """
    options = request.options
    limit = options["max_output_bytes"]
    opened = _Redirection(resources, pipes, None if limit is None else int(limit))
    first = opened.open("stdin", options["stdin"], 0, os.O_RDONLY)
    if pipes.input is not None and request.input is not None:
        pipes.input.finish(request.input)
    second = opened.open("stdout", options["stdout"], 1, os.O_WRONLY)
    given = options["stderr"]
    return first, second, second if given == STDOUT else opened.open("stderr", given, 2, os.O_WRONLY)
