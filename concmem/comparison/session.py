"""The runs of one comparison: in turn, in a random order, each measured."""

from __future__ import annotations

import math
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any

import attrs

from concmem._escaping import escape_bytes
from concmem.comparison.candidates import Candidate
from concmem.comparison.result import CommandRun, FigureName
from concmem.errors import CommandError, ConcmemError
from concmem.options import DEVNULL
from concmem.running import measure

if TYPE_CHECKING:
    from concmem.model import Measurement
    from concmem.options import Options

__all__ = ["HookFailed", "Progress", "Session", "Step"]

_ENOUGH_S = 3.0
"""With a range of runs, so much time is filled with runs."""
_LAST_BYTES = 4096


@attrs.frozen
class Step:
    """
    What a comparison does next.

    Attributes:
        done, total: The number of runs that are finished, and of all runs.
        name: The command that is run now; "" at the end.
        left_s: About how long the rest will take, in seconds; None if unknown.
    """

    done: int
    total: int
    name: str
    left_s: float | None


Progress = Callable[[Step], None]


class HookFailed(ConcmemError):
    """A command around the runs (setup, prepare, conclude, cleanup) did not exit with 0."""

    exit_code = 1


class Session:
    """The runs of one comparison."""

    def __init__(
        self,
        found: Sequence[Candidate],
        rounds: tuple[int, int],
        warmup: int,
        figure: FigureName,
        ignore_failure: bool,
        seed: int,
        progress: Progress | None,
        options: Options,
    ) -> None:
        self._all = found
        self._least, self._most = rounds
        self._warmup = warmup
        self._figure = figure
        self._ignore_failure = ignore_failure
        self._shuffle = random.Random(seed)
        self._progress = progress
        self._options = options
        self._took_s: dict[str, list[float]] = {each.name: [] for each in found}
        self._planned = {each.name: self._least + warmup for each in found}
        self._done = 0
        self._position = 0
        self.runs: dict[str, list[CommandRun]] = {each.name: [] for each in found}
        self.stopped: dict[str, str] = {}

    def run(self) -> bool:
        """Make all runs. Return whether the commands took turns."""
        alike = len({(each.hooks.setup, each.hooks.cleanup) for each in self._all}) == 1
        blocks = [list(self._all)] if alike else [[each] for each in self._all]
        for block in blocks:
            for text in dict.fromkeys(each.hooks.setup for each in block):
                self._hook("setup", text)
            try:
                self._run_block(block)
            finally:
                for text in dict.fromkeys(each.hooks.cleanup for each in block):
                    self._hook("cleanup", text)
        self._say("", None)
        return alike or len(blocks) == 1

    def _run_block(self, block: Sequence[Candidate]) -> None:
        for _ in range(self._warmup):
            for each in self._active(block):
                self._run_one(each, counts=False)
        begun_s = time.monotonic()
        rounds, index = self._least, 0
        while index < rounds:
            order = self._active(block)
            self._shuffle.shuffle(order)
            for each in order:
                self._run_one(each, counts=True)
            index += 1
            if index == 1 and self._most > self._least:
                round_s = max(time.monotonic() - begun_s, 1e-6)
                rounds = min(self._most, max(self._least, math.ceil(_ENOUGH_S / round_s)))
                self._planned |= {each.name: rounds + self._warmup for each in block}

    def _active(self, block: Sequence[Candidate]) -> list[Candidate]:
        return [each for each in block if each.name not in self.stopped]

    def _run_one(self, candidate: Candidate, *, counts: bool) -> None:
        self._say(candidate.name, self._left_s())
        begun_s = time.monotonic()
        self._hook("prepare", candidate.hooks.prepare)
        run = self._measured(candidate)
        self._hook("conclude", candidate.hooks.conclude)
        self._took_s[candidate.name].append(time.monotonic() - begun_s)
        self._done += 1
        mine = self.runs[candidate.name]
        if counts or run.failure:
            mine.append(run)
            self._position += 1
        if run.failure and len(self._took_s[candidate.name]) == 1:
            self.stopped[candidate.name] = run.failure

    def _measured(self, candidate: Candidate) -> CommandRun:
        with tempfile.TemporaryFile() as errors:
            streams: dict[str, Any] = {"stdin": DEVNULL, "stdout": DEVNULL, "stderr": errors, **self._options}
            try:
                measurement = measure(candidate.command, **streams)
            except CommandError as error:
                return CommandRun(position=self._position, exit_code=error.exit_code, failure=str(error))
            return self._run_of(measurement, errors)

    def _run_of(self, m: Measurement, errors: IO[bytes]) -> CommandRun:
        run = CommandRun(
            position=self._position,
            peak_bytes=m.peak.bytes,
            wall_s=m.wall_s,
            user_s=m.user_s,
            system_s=m.system_s,
            exit_code=m.exit.status,
        )
        if not m.exit.ok and not (self._ignore_failure and m.exit.reason in ("exited", "signaled")):
            last = _last_line(errors)
            return attrs.evolve(run, failure=f"{m.exit}: {last}" if last else str(m.exit))
        if self._figure == "wall":
            return attrs.evolve(run, value=m.wall_s, low=m.wall_s, high=m.wall_s, status="exact")
        figure = m.figures[self._figure]
        if figure.bytes is None:
            return attrs.evolve(run, failure=f"{self._figure} is unavailable: {figure.note}")
        return attrs.evolve(
            run,
            value=float(figure.bytes),
            low=float(max(0, figure.bytes - figure.over_bytes)),
            high=float(figure.bytes + figure.error_bytes),
            status=figure.status,
        )

    def _hook(self, name: str, text: str) -> None:
        if not text:
            return
        with tempfile.TemporaryFile() as errors:
            done = subprocess.run(
                ["/bin/sh", "-c", text], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, check=False
            )
            if done.returncode:
                last = _last_line(errors)
                raise HookFailed(f"{name} ended with {done.returncode}: {text}" + (f" ({last})" if last else ""))

    def _left_s(self) -> float | None:
        known = {name: statistics.fmean(took) for name, took in self._took_s.items() if took}
        if not known:
            return None
        guess_s = statistics.fmean(known.values())
        return sum(
            max(0, self._planned[each.name] - len(self._took_s[each.name])) * known.get(each.name, guess_s)
            for each in self._active(self._all)
        )

    def _say(self, name: str, left_s: float | None) -> None:
        if self._progress is not None:
            left_out = sum(
                max(0, self._planned[stopped] - len(self._took_s[stopped])) for stopped in self.stopped
            )  # a stopped command has no further runs
            self._progress(Step(self._done, sum(self._planned.values()) - left_out, name, left_s))


def _last_line(errors: IO[bytes]) -> str:
    """Return the last line that a command wrote to standard error."""
    errors.seek(0, 2)
    errors.seek(max(0, errors.tell() - _LAST_BYTES))
    lines = [line for line in errors.read().splitlines() if line.strip()]
    return escape_bytes(lines[-1].strip()) if lines else ""
