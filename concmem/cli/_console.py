"""Rich's console, with the errors that every other stream has, and with text from outside escaped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from concmem._escaping import escape_text

__all__ = ["PipeConsole"]

_OWN = "\n\t"
"""In texts that concmem put together, these are its own: what comes from outside has been escaped before."""


class PipeConsole(Console):
    """
    A console for text that is shown as it is: no markup, no emoji names, and escapes for what cannot be seen.

    A reader that has gone raises BrokenPipeError, instead of ending the process.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **options})

    def on_broken_pipe(self) -> None:
        """Let the error pass that is being handled."""
        raise  # Rich calls this while it handles one

    def render_str(self, text: str, **options: Any) -> Text:
        """A string, whether it is printed or in a table."""
        return super().render_str(escape_text(text, keep=_OWN), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """All else comes through here; a text that has to be escaped loses its styles within."""
        if isinstance(renderable, Text) and (shown := escape_text(renderable.plain, keep=_OWN)) != renderable.plain:
            renderable = renderable.blank_copy(shown)
        return super().render(renderable, options)
