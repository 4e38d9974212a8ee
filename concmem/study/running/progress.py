"""The output of a study while it runs: a bar on a terminal, else one line for each run; and the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import IO, Any, cast

import attrs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.progress import Task as RichTask
from rich.text import Text

from concmem._escaping import escape_text
from concmem.drivers.outside_programs import so_far
from concmem.study.plan import Cell, Plan
from concmem.study.store.records import Run
from concmem.units import format_bytes, format_count, format_rough_time, format_seconds

__all__ = ["BarProgress", "Eta", "LineProgress", "Progress", "describe_run", "make_progress"]


_STEP_S = 30.0
_STEP_LENGTH = 50
_FIRST_GUESS_S = 0.5
_GUESS_PER_TASK_S = 5e-6


class Progress:
    """The methods that a study calls while it runs, always from the thread that runs it. This class prints nothing."""

    def begin(self, total: int, stored: int) -> None:
        """The study begins: it has `total` runs, and `stored` of them are stored already."""

    def note(self, sentence: str) -> None:
        """A sentence for the user that is not about a finished run."""

    def preparing(self, program: str) -> None:
        """A program is being built or warmed up."""

    def step(self, elapsed_s: float, line: str) -> None:
        """The compiler has run for `elapsed_s` and printed `line` last; called about once a second."""

    def running(self, cell: Cell, sleep_s: float, attempt: int, left_s: float) -> None:
        """A run starts; it and all runs after it will take about `left_s`."""

    def finished(self, run: Run, took_s: float, done: int, total: int, left_s: float) -> None:
        """A run has been stored; `done` runs are stored now."""

    def end(self) -> None:
        """The study ends, complete or not. No other method is called after this one."""


class Eta:
    """
    Estimates how long the rest of a study will take.

    It learns from every run how much longer than the planned sleep a program takes. A size without a run is estimated
    from the largest smaller size of the same program.
    """

    def __init__(self, plan: Plan) -> None:
        self._sleep_s = plan.sleep_s
        self._over_s: dict[tuple[str, int], float] = {}

    def learn(self, run: Run, took_s: float) -> None:
        """Note how long a run took, all attempts included."""
        self._over_s[run.program, run.tasks] = took_s - self._sleep_s

    def left_s(self, cells: Iterable[Cell]) -> float:
        """Return how long these runs will take together."""
        return sum(self.run_s(cell) for cell in cells)

    def run_s(self, cell: Cell, sleep_s: float | None = None) -> float:
        """Return how long a run will take if its tasks sleep for `sleep_s`; by default as planned."""
        longer_s = 0.0 if sleep_s is None else sleep_s - self._sleep_s
        return max(0.0, self._sleep_s + self._over(cell) + longer_s)

    def _over(self, cell: Cell) -> float:
        known = [tasks for program, tasks in self._over_s if program == cell.program and tasks <= cell.tasks]
        if not known:
            return _FIRST_GUESS_S + _GUESS_PER_TASK_S * cell.tasks
        nearest = max(known)
        over_s = self._over_s[cell.program, nearest]
        if nearest == cell.tasks or over_s <= 0:
            return over_s
        return over_s + _GUESS_PER_TASK_S * (cell.tasks - nearest)


def describe_run(run: Run, took_s: float) -> str:
    """Describe a finished run in one line."""
    name = f"{run.program} {format_count(run.tasks)}"
    figure = run.peak
    if figure is not None and figure.bytes is not None:
        longer = f", slept {run.sleep_s:g} s" if run.attempts > 1 else ""
        busy = f"; the machine was busy: {run.other_work}" if run.was_busy else ""
        return f"{name}: {format_bytes(figure.bytes)} in {format_seconds(took_s)}{longer}{busy}"
    if run.status == "skipped":
        return f"{name}: skipped: {run.reason}"
    return f"{name}: failed: {run.reason}" if run.reason else f"{name}: no figure"


class _TolerantFile:
    """A text file whose write errors are ignored, because its terminal or the reader of its pipe may be gone."""

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


def _tolerant(file: IO[str] | None) -> IO[str]:
    return cast(IO[str], _TolerantFile(file))


@attrs.define
class LineProgress(Progress):
    """
    Prints one plain line for every run as soon as it is stored.

    Attributes:
        file: The file to write to, by default standard error. Write errors are ignored.
        heading: A line to print first, when the study begins.
    """

    file: IO[str] = attrs.field(factory=lambda: sys.stderr, converter=_tolerant)
    heading: str = ""
    _printed_s: float = attrs.field(default=0.0, init=False)

    def begin(self, total: int, stored: int) -> None:
        """Print the heading, and how many runs are stored."""
        if self.heading:
            self._print(self.heading)
        if stored:
            self._print(f"{stored} of {total} runs are stored already")

    def note(self, sentence: str) -> None:
        """Print the sentence."""
        self._print(sentence)

    def preparing(self, program: str) -> None:
        """Print the program's name."""
        self._printed_s = 0.0
        self._print(f"preparing {program}")

    def step(self, elapsed_s: float, line: str) -> None:
        """Print the compiler's last line every half minute."""
        if elapsed_s < self._printed_s:  # the next command
            self._printed_s = 0.0
        if elapsed_s - self._printed_s >= _STEP_S:
            self._printed_s = elapsed_s
            self._print(f"  {so_far(elapsed_s, escape_text(line))}")

    def running(self, cell: Cell, sleep_s: float, attempt: int, left_s: float) -> None:
        """Print that a run is repeated with a longer sleep; the first attempt needs no line."""
        if attempt > 1:
            name = f"{cell.program} {format_count(cell.tasks)}"
            self._print(f"{name}: launching took longer than the sleep; repeating with a sleep of {sleep_s:g} s")

    def finished(self, run: Run, took_s: float, done: int, total: int, left_s: float) -> None:
        """Print the result."""
        left = f" (about {format_rough_time(left_s)} left)" if left_s or done < total else ""
        self._print(f"[{done:{len(str(total))}}/{total}] {describe_run(run, took_s)}{left}")

    def end(self) -> None:
        """Do nothing: there is nothing to close."""

    def _print(self, line: str) -> None:
        print(escape_text(line), file=self.file, flush=True)


class _LeftColumn(ProgressColumn):
    """Counts down from the last estimate; when that has passed, shows how long the run has taken."""

    def render(self, task: RichTask) -> Text:
        if not task.fields["left_s"]:
            return Text()
        taken_s = time.monotonic() - task.fields["at"]
        left_s = task.fields["left_s"] - taken_s
        if left_s < 0:
            return Text(f"longer than estimated, {format_rough_time(taken_s)} so far", style="cyan")
        return Text(f"about {format_rough_time(left_s)} left", style="cyan")


class BarProgress(Progress):
    """A bar with the current run and the time that is left; finished runs are printed above it."""

    def __init__(self, console: Console, heading: str = "") -> None:
        console.file = _tolerant(console.file)
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
        """Print the sentence above the bar."""
        self._bar.console.print(Text(escape_text(sentence), style="yellow"))

    def preparing(self, program: str) -> None:
        """Show the program's name."""
        self._preparing = program
        self._bar.update(self._task, description=f"preparing {program}")

    def step(self, elapsed_s: float, line: str) -> None:
        """Show the compiler's last line behind the program's name."""
        shown = escape_text(line)[:_STEP_LENGTH]
        self._bar.update(self._task, description=f"preparing {self._preparing}, {so_far(elapsed_s, shown)}")

    def running(self, cell: Cell, sleep_s: float, attempt: int, left_s: float) -> None:
        """Show the run's name."""
        again = f", sleep {sleep_s:g} s" if attempt > 1 else ""
        name = f"{cell.program} {format_count(cell.tasks)}{again}"
        self._bar.update(self._task, description=name, left_s=left_s, at=time.monotonic())

    def finished(self, run: Run, took_s: float, done: int, total: int, left_s: float) -> None:
        """Print the result above the bar."""
        style = {"ok": "", "failed": "red", "skipped": "yellow"}[run.status]
        self._bar.console.print(Text(describe_run(run, took_s), style=style))
        self._bar.update(self._task, completed=done, left_s=left_s, at=time.monotonic())

    def end(self) -> None:
        """Remove the bar."""
        self._bar.stop()


def make_progress(console: Console, heading: str = "") -> Progress:
    """Return a bar if the console is a terminal, else lines, below the heading."""
    return BarProgress(console, heading) if console.is_terminal else LineProgress(console.file, heading)
