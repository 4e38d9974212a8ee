"""Rich's console, changed: a broken pipe raises an error, and text from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from concmem._escaping import escape_text

__all__ = ["PipeConsole"]

_OWN = "\n\t"
"""Not escaped: concmem itself put these into its texts. Text from outside has been escaped before that."""


class PipeConsole(Console):
    """
    A console that prints text unchanged: no markup, no emoji names; invisible characters are escaped.

    A closed pipe raises BrokenPipeError; Rich's own console ends the process.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **options})

    def on_broken_pipe(self) -> None:
        """Raise the error that is being handled."""
        raise  # Rich calls this while it handles one

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape a string, whether it is printed or in a table."""
        return super().render_str(escape_text(text, keep=_OWN), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escape everything else. A text that needs escapes loses the styles of its parts."""
        if isinstance(renderable, Text) and (shown := escape_text(renderable.plain, keep=_OWN)) != renderable.plain:
            renderable = renderable.blank_copy(shown)
        return super().render(renderable, options)
