"""What one unit of a parameter costs: lines through the medians of a scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from concmem.comparison.candidates import number
from concmem.comparison.intervals import Sample
from concmem.comparison.line import Line, fit_line

__all__ = ["Point", "Slope", "slopes_of"]


@attrs.frozen(kw_only=True)
class Point:
    """
    One command of a scan.

    Attributes:
        template: The position of its template among those given.
        parameters: The value of each parameter, as text.
        sample: The figures of its runs.
    """

    template: int
    parameters: Mapping[str, str]
    sample: Sample


@attrs.frozen(kw_only=True)
class Slope:
    """
    The cost of one unit of a parameter. ``str()`` says it in a line.

    Attributes:
        parameter: The name of the parameter.
        of: What is scanned: the command, and the values of all other parameters; "" if there is only one scan.
        line: The line through the medians.
    """

    parameter: str
    of: str
    line: Line
    _text: Callable[[float], str] = attrs.field(repr=False, eq=False, alias="text")

    def __str__(self) -> str:
        def text(amount: float) -> str:
            return ("-" if amount < 0 else "") + self._text(abs(amount))

        line, of = self.line, f"{self.of}: " if self.of else ""
        shown = f"{of}{text(line.floor)} and {text(line.each)} per {self.parameter}"
        if line.each_low is None or line.each_high is None:
            return f"{shown}; two values of {self.parameter} give no interval"
        worst = f"farthest from the line: {line.worst:.1%} at {self.parameter}={line.worst_units:g}"
        return f"{shown} ({text(line.each_low)} to {text(line.each_high)}); {worst}"


def slopes_of(points: Sequence[Point], text: Callable[[float], str]) -> tuple[Slope, ...]:
    """
    Return a line for each parameter that has numbers as values, and each combination of the others.

    Args:
        points: The commands of a comparison.
        text: Formats an amount.
    """
    return tuple(_slopes(points, text))


def _slopes(points: Sequence[Point], text: Callable[[float], str]) -> Iterator[Slope]:
    for name in points[0].parameters if points else ():
        groups: dict[tuple[int, tuple[str, ...]], list[Point]] = {}
        for each in points:
            rest = tuple(f"{key}={value}" for key, value in each.parameters.items() if key != name)
            groups.setdefault((each.template, rest), []).append(each)
        several = len({template for template, _ in groups}) > 1
        for (template, rest), group in groups.items():
            of = ", ".join([*([f"command {template + 1}"] if several else []), *rest])
            if line := _line(name, group):
                yield Slope(parameter=name, of=of, line=line, text=text)


def _line(name: str, group: Sequence[Point]) -> Line | None:
    medians: dict[float, float] = {}
    errors: dict[float, float] = {}
    for each in group:
        units, sample = number(each.parameters[name]), each.sample
        if units is None:
            return None
        if len(sample) and sample.median > 0:
            medians[units] = sample.median
            pairs = zip(sample.lows, sample.values, sample.highs, strict=True)
            errors[units] = max(max(value - low, high - value) for low, value, high in pairs)
    if len(medians) < 2:
        return None
    grows = min(medians) >= 0 and medians[max(medians)] >= medians[min(medians)]
    return fit_line(medians, errors, bounded=grows)
