"""Rich's console, with the errors that every other stream has."""

from __future__ import annotations

from rich.console import Console

__all__ = ["PipeConsole"]


class PipeConsole(Console):
    """A console that tells by a BrokenPipeError of a reader who has gone, instead of ending the process."""

    def on_broken_pipe(self) -> None:
        """Let the error pass that is being handled."""
        raise  # Rich calls this while it handles one
