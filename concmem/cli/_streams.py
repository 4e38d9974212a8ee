"""Standard streams that are closed, that nobody reads any more, or whose disk is full."""

from __future__ import annotations

import contextlib
import os
import sys

import click

__all__ = ["open_closed", "say", "settle"]


def open_closed() -> None:
    """
    Open each standard stream that was closed when Python began, to nowhere.

    In ascending order, so that each gets its own number: a file that is opened later would get it otherwise, and with
    it what is meant for the stream.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8", errors="replace")  # noqa: SIM115 -- open to the end
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def say(sentence: str) -> None:
    """Tell the user something that is worth nothing when nobody reads it."""
    with contextlib.suppress(OSError):
        click.echo(f"concmem: {sentence}", err=True)


def settle() -> None:
    """Forget what could not be written: Python would try it again at exit, and change the exit status."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
