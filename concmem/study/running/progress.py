"""What a study tells while it runs: a bar on a terminal, a line a run elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import IO, Any, cast

import attrs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.progress import Task as RichTask
from rich.text import Text

from concmem._escaping import escape_text
from concmem.drivers.long_command import so_far
from concmem.study.plan import Cell
from concmem.study.store.records import Run
from concmem.units import format_bytes, format_count, format_rough_time, format_seconds

__all__ = ["BarProgress", "LineProgress", "Progress", "make_progress", "told"]


_STEP_S = 30.0
_STEP_LENGTH = 50


class Progress:
    """What a study calls while it runs, always from the thread that runs it. This one says nothing."""

    def begin(self, total: int, stored: int) -> None:
        """The study has so many runs, of which so many are stored already."""

    def note(self, sentence: str) -> None:
        """Something besides the runs that whoever watches should know."""

    def preparing(self, program: str) -> None:
        """A program is being built or warmed up."""

    def step(self, elapsed_s: float, line: str) -> None:
        """The compiler that prepares it has been at work for so long, and said this last; about once a second."""

    def running(self, cell: Cell, sleep_s: float, attempt: int, left_s: float) -> None:
        """A run starts; this one and all after it will take about `left_s`."""

    def finished(self, run: Run, took_s: float, done: int, total: int, left_s: float) -> None:
        """A run is stored; so many are."""

    def end(self) -> None:
        """Nothing more will come, whether the study is complete or not."""


def told(run: Run, took_s: float) -> str:
    """A finished run in one line."""
    name = f"{run.program} {format_count(run.tasks)}"
    figure = run.peak
    if figure is not None and figure.bytes is not None:
        longer = f", slept {run.sleep_s:g} s" if run.attempts > 1 else ""
        busy = f"; the machine was busy: {run.other_work}" if run.was_busy else ""
        return f"{name}: {format_bytes(figure.bytes)} in {format_seconds(took_s)}{longer}{busy}"
    if run.status == "skipped":
        return f"{name}: skipped: {run.reason}"
    return f"{name}: failed: {run.reason}" if run.reason else f"{name}: no figure"


class _Enduring:
    """A text file that can go away, as a terminal or the reader of a pipe does, without ending who writes to it."""

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError, AttributeError):
            self._file.write(text)  # type: ignore[union-attr]
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError, AttributeError):
            self._file.flush()  # type: ignore[union-attr]


def _enduring(file: IO[str] | None) -> IO[str]:
    return cast(IO[str], _Enduring(file))


@attrs.define
class LineProgress(Progress):
    """
    One plain line for every run, as soon as it is stored.

    Attributes:
        file: Where to; standard error unless told otherwise. That it cannot be written to ends nothing.
        heading: What to say first, once the study has begun.
    """

    file: IO[str] = attrs.field(factory=lambda: sys.stderr, converter=_enduring)
    heading: str = ""
    _told_s: float = attrs.field(default=0.0, init=False)

    def begin(self, total: int, stored: int) -> None:
        """Say how much there is to do."""
        if self.heading:
            self._say(self.heading)
        if stored:
            self._say(f"{stored} of {total} runs are there already")

    def note(self, sentence: str) -> None:
        """Say it."""
        self._say(sentence)

    def preparing(self, program: str) -> None:
        """Say what is built or warmed up."""
        self._told_s = 0.0
        self._say(f"preparing {program}")

    def step(self, elapsed_s: float, line: str) -> None:
        """Say it every half minute."""
        if elapsed_s < self._told_s:  # the next command
            self._told_s = 0.0
        if elapsed_s - self._told_s >= _STEP_S:
            self._told_s = elapsed_s
            self._say(f"  {so_far(elapsed_s, escape_text(line))}")

    def running(self, cell: Cell, sleep_s: float, attempt: int, left_s: float) -> None:
        """Say that launching outlasted the sleep; the first attempt needs no line."""
        if attempt > 1:
            self._say(
                f"{cell.program} {format_count(cell.tasks)}: launching outlasted the sleep; again with {sleep_s:g} s"
            )

    def finished(self, run: Run, took_s: float, done: int, total: int, left_s: float) -> None:
        """Say what came out."""
        left = f" (about {format_rough_time(left_s)} left)" if left_s or done < total else ""
        self._say(f"[{done:{len(str(total))}}/{total}] {told(run, took_s)}{left}")

    def end(self) -> None:
        """Nothing is open."""

    def _say(self, line: str) -> None:
        print(escape_text(line), file=self.file, flush=True)


class _LeftColumn(ProgressColumn):
    """Counts down from the last estimate; where that is over, it counts up what the run has taken."""

    def render(self, task: RichTask) -> Text:
        if not task.fields["left_s"]:
            return Text()
        taken_s = time.monotonic() - task.fields["at"]
        left_s = task.fields["left_s"] - taken_s
        if left_s < 0:
            return Text(f"longer than estimated, {format_rough_time(taken_s)} so far", style="cyan")
        return Text(f"about {format_rough_time(left_s)} left", style="cyan")


class BarProgress(Progress):
    """A bar that names the current run and says how long the rest will take; finished runs scroll above it."""

    def __init__(self, console: Console, heading: str = "") -> None:
        console.file = _enduring(console.file)
        self._heading = heading
        self._bar = RichProgress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            _LeftColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
        )
        self._preparing = ""
        self._task = self._bar.add_task("", total=None, left_s=None, at=0.0)

    def begin(self, total: int, stored: int) -> None:
        """Show the bar."""
        if self._heading:
            self._bar.console.print(Text(escape_text(self._heading)))
        self._bar.update(self._task, total=total, completed=stored)
        self._bar.start()

    def note(self, sentence: str) -> None:
        """Print it above the bar."""
        self._bar.console.print(Text(escape_text(sentence), style="yellow"))

    def preparing(self, program: str) -> None:
        """Name what is built or warmed up."""
        self._preparing = program
        self._bar.update(self._task, description=f"preparing {program}")

    def step(self, elapsed_s: float, line: str) -> None:
        """Show it behind the program's name."""
        said = escape_text(line)[:_STEP_LENGTH]
        self._bar.update(self._task, description=f"preparing {self._preparing}, {so_far(elapsed_s, said)}")

    def running(self, cell: Cell, sleep_s: float, attempt: int, left_s: float) -> None:
        """Name the run."""
        again = f", sleep {sleep_s:g} s" if attempt > 1 else ""
        name = f"{cell.program} {format_count(cell.tasks)}{again}"
        self._bar.update(self._task, description=name, left_s=left_s, at=time.monotonic())

    def finished(self, run: Run, took_s: float, done: int, total: int, left_s: float) -> None:
        """Print what came out above the bar."""
        style = {"ok": "", "failed": "red", "skipped": "yellow"}[run.status]
        self._bar.console.print(Text(told(run, took_s), style=style))
        self._bar.update(self._task, completed=done, left_s=left_s, at=time.monotonic())

    def end(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def make_progress(console: Console, heading: str = "") -> Progress:
    """A bar where the console is a terminal, lines where it is not; below `heading`, if there is one."""
    return BarProgress(console, heading) if console.is_terminal else LineProgress(console.file, heading)
