"""The result of a comparison: frozen, with every run."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Literal, get_args

import attrs

from concmem._escaping import escape_fields
from concmem._files.stored_form import NOT_STORED
from concmem.comparison.change import Change, Estimate, compare_samples
from concmem.comparison.intervals import Sample, median_interval
from concmem.comparison.slope import Point, Slope, slopes_of
from concmem.host import Host
from concmem.units import format_bytes, format_seconds

__all__ = ["FIGURES", "CommandResult", "CommandRun", "Comparison", "FigureName", "amount_text"]

FigureName = Literal["peak", "largest_peak_rss", "tree_peak_pss", "cgroup_peak", "wall"]
FIGURES: tuple[FigureName, ...] = get_args(FigureName)
"""What commands can be compared by: figures of a measurement, or the time from start to end of the root."""

_OUTLIER_FROM = 5
"""The fewest runs among which one can be an outlier."""
_OUTLIER_DEVIATIONS = 5.0
_NORMAL_MAD = 1.4826
_OUTLIER_LEAST = 0.02
"""
An outlier is at least this part of the median away from it, and more than the error of a figure, whatever the scatter
of the others.
"""


def amount_text(figure: str, amount: float) -> str:
    """Return an amount of a figure as text: memory, or time for ``wall``."""
    return format_seconds(amount) if figure == "wall" else format_bytes(amount)


@attrs.frozen(kw_only=True, field_transformer=escape_fields)
class CommandRun:
    """
    One run of a command.

    Attributes:
        position: Its position among all runs of the comparison, from 0.
        value: The figure, in bytes or seconds; None if the run has none.
        low, high: The ends between which the true value lies; None likewise.
        status: The status of the figure, see `concmem.Figure`.
        peak_bytes: The headline figure, whatever is compared.
        wall_s, user_s, system_s: Times, as in `concmem.Measurement`.
        exit_code: The exit status, as a shell's ``$?``: 127 if the command does not exist.
        failure: Why the run does not count; "" if it does.
    """

    position: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    status: str = "unavailable"
    peak_bytes: int | None = None
    wall_s: float = 0.0
    user_s: float = 0.0
    system_s: float = 0.0
    exit_code: int | None = None
    failure: str = ""

    def _checked(self) -> CommandRun:
        ends = (self.low, self.value, self.high)
        known = [end for end in ends if end is not None]
        if len(known) not in (0, 3) or known != sorted(known):
            raise ValueError("the value of a run must lie between its low and its high")
        return self


@attrs.frozen(kw_only=True, field_transformer=escape_fields)
class CommandResult:
    """
    All runs of one command.

    Attributes:
        name: Its name.
        command: The command as a shell reads it.
        template: The position of its template among the commands that were given.
        parameters: The value of each parameter, as text.
        figure: What is compared, see `FIGURES`.
        runs: Its runs in their order, failed ones included.
        stopped: Why it was not run again after its first run; "" if it was.
    """

    name: str
    command: str
    template: int
    parameters: dict[str, str] = attrs.field(factory=dict)
    figure: FigureName
    runs: tuple[CommandRun, ...]
    stopped: str = ""
    _siblings: Mapping[str, CommandResult] = attrs.field(
        factory=dict, repr=False, eq=False, alias="siblings", metadata=NOT_STORED
    )

    @property
    def good(self) -> tuple[CommandRun, ...]:
        """The runs that count."""
        return tuple(run for run in self.runs if not run.failure and run.value is not None)

    @property
    def failed(self) -> tuple[CommandRun, ...]:
        """The runs that do not count."""
        return tuple(run for run in self.runs if run.failure)

    @property
    def sample(self) -> Sample:
        """The figures of the runs that count, each with its ends."""
        values = [(run.value, run.low, run.high) for run in self.good]
        columns = [tuple(float(each or 0) for each in column) for column in zip(*values, strict=True)]
        return Sample(*columns) if columns else Sample((), (), ())

    @property
    def median(self) -> Estimate | None:
        """The median of the figures with its interval, which contains their errors; None without a run that counts."""
        sample = self.sample
        return Estimate.of(sample.median, median_interval(sample)) if len(sample) else None

    @property
    def outliers(self) -> tuple[CommandRun, ...]:
        """Runs that count and are far from the others. They are in every figure; no run is ever left out."""
        values = self.sample.values
        if len(values) < _OUTLIER_FROM:
            return ()
        middle = statistics.median(values)
        scatter = _NORMAL_MAD * statistics.median(abs(value - middle) for value in values)
        error = statistics.median((run.high or 0) - (run.low or 0) for run in self.good)
        far = max(_OUTLIER_DEVIATIONS * scatter, _OUTLIER_LEAST * middle, error)
        return tuple(run for run in self.good if abs((run.value or 0) - middle) > far)

    @property
    def wall_s(self) -> float | None:
        """The median time from start to end of the root, in seconds; None without a run that counts."""
        return statistics.median(run.wall_s for run in self.good) if self.good else None

    @property
    def cpu_s(self) -> float | None:
        """The median CPU time of all its processes, in seconds; likewise."""
        return statistics.median(run.user_s + run.system_s for run in self.good) if self.good else None

    def over(self, other: CommandResult | str) -> Change:
        """
        Compare it with another command of the same comparison.

        Args:
            other: The other command, or its name.

        Raises:
            KeyError: There is no command with that name.
        """
        against = self._siblings[other] if isinstance(other, str) else other
        verb = "takes" if self.figure == "wall" else "needs"
        return compare_samples((self.name, self.sample), (against.name, against.sample), verb)


@attrs.frozen(kw_only=True)
class Comparison:
    """
    Several commands, run in turn and measured.

    Attributes:
        results: One for each command, in the order in which they were given.
        reference: The name of the command that the others are compared with.
        figure: What is compared.
        seed: The seed of the order of the runs.
        interleaved: Whether the commands took turns. They do not if `setup` or `cleanup` differ between them.
        host: The machine.
        started_at: The time of the start, as ISO 8601 with a UTC offset.
        version: The version of concmem.
    """

    results: tuple[CommandResult, ...]
    reference: str
    figure: FigureName
    seed: int
    interleaved: bool
    host: Host = attrs.field(repr=False)
    started_at: str
    version: str

    def __attrs_post_init__(self) -> None:
        siblings: dict[str, CommandResult] = {}
        joined = tuple(attrs.evolve(each, siblings=siblings) for each in self.results)
        siblings |= {each.name: each for each in joined}
        object.__setattr__(self, "results", joined)

    def _checked(self) -> Comparison:
        names = [each.name for each in self.results]
        if self.reference not in names or len(set(names)) < len(names):
            raise ValueError("the reference must be one of the commands, and these must have different names")
        return self

    def __getitem__(self, name: str) -> CommandResult:
        for each in self.results:
            if each.name == name:
                return each
        raise KeyError(name)

    def __iter__(self) -> Iterator[CommandResult]:
        return iter(self.results)

    @property
    def changes(self) -> tuple[Change, ...]:
        """Each command compared with the reference."""
        return tuple(each.over(self.reference) for each in self.results if each.name != self.reference)

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each command of which runs failed."""
        return tuple(_failure(each) for each in self.results if each.failed)

    @property
    def slopes(self) -> tuple[Slope, ...]:
        """The floor and the cost of one unit, for each parameter that has numbers as values."""
        medians = [
            Point(template=each.template, parameters=each.parameters, sample=each.sample) for each in self.results
        ]
        return slopes_of(medians, lambda amount: amount_text(self.figure, amount))


def _failure(result: CommandResult) -> str:
    why = "; ".join(dict.fromkeys(run.failure for run in result.failed))
    if result.stopped and len(result.failed) == 1:
        return f"{result.name} failed in its first run, and was not run again: {why}"
    return f"{len(result.failed)} of {len(result.runs)} runs of {result.name} failed, and do not count: {why}"
