"""How much more or less one command needs than another: a ratio with its interval, and a verdict in words."""

from __future__ import annotations

from typing import Literal

import attrs

from concmem.comparison.intervals import MOST_EXACT, Interval, Sample, p_value, ratio_interval

__all__ = ["LEAST_CONFIDENCE", "Change", "Estimate", "Verdict", "compare_samples", "percentages"]

Verdict = Literal["less", "more", "same", "within_error", "too_few", "no_figure"]

LEAST_CONFIDENCE = 0.9
"""An interval with less confidence shows no difference. Three runs against three have this much."""

_FEWEST = 3
_TIMES = 2.0
"""From this ratio on, a change is said in times, not in percent."""


@attrs.frozen
class Estimate:
    """
    A value with its interval.

    Attributes:
        value: The value.
        low, high: The ends of its interval; None with fewer than two runs.
        confidence: How often such an interval holds the true value; None likewise.
    """

    value: float
    low: float | None = None
    high: float | None = None
    confidence: float | None = None

    def __float__(self) -> float:
        return self.value

    @classmethod
    def of(cls, value: float, interval: Interval | None) -> Estimate:
        """Return a value with its interval, if it has one."""
        return cls(value) if interval is None else cls(value, interval.low, interval.high, interval.confidence)


@attrs.frozen(kw_only=True)
class Change:
    """
    One command compared with another. ``str()`` says it in a sentence.

    Attributes:
        name: The command.
        reference: The other command.
        verb: ``needs`` for memory, ``takes`` for time.
        runs: The numbers of runs with a figure of the command and of the other.
        ratio: The median of the command over that of the other, with its interval; None if one has no figure.
        as_read: The same ratio with the interval of the figures as they were read, without their errors.
        p_value: That of the exact permutation test of rank sums, from the figures without their errors; None
            without a ratio, or with very many runs.
        verdict: ``less`` or ``more`` if the interval does not contain 1; ``same`` if the runs show no difference;
            ``within_error`` if they do, but it is not larger than the errors of the figures; ``too_few`` if so few runs
            can show none; ``no_figure``.
    """

    name: str
    reference: str
    verb: str
    runs: tuple[int, int]
    ratio: Estimate | None
    as_read: Estimate | None
    p_value: float | None
    verdict: Verdict

    def __str__(self) -> str:
        both = f"{self.name} and {self.reference}"
        if self.ratio is None:
            missing = self.name if not self.runs[0] else self.reference
            return f"{missing} has no figure, so {both} cannot be compared"
        if self.verdict == "too_few" or self.ratio.low is None or self.ratio.high is None:
            counted = "one run shows" if max(self.runs) == 1 else f"{min(self.runs)} runs show"
            seen = percentages(self.ratio.value)
            return f"{counted} no difference between {both} (measured: {seen} %); at least {_FEWEST} of each can"
        span = percentages(self.ratio.low, self.ratio.high)
        if self.verdict == "same":
            return f"no difference between {both} that {min(self.runs)} runs show ({span} %)"
        if self.verdict == "within_error":
            assert self.as_read is not None
            return f"by what was read, {self._more_or_less(self.as_read)}, but the errors of the figures allow {span} %"
        return self._more_or_less(self.ratio)

    def _more_or_less(self, ratio: Estimate) -> str:
        """Say how much more or less it is, by a ratio of which the interval does not contain 1."""
        assert ratio.low is not None and ratio.high is not None
        of_time = self.verb == "takes"
        ends = ratio.low, ratio.high
        if ratio.value >= _TIMES:
            value, low, high = (f"{each:.{1 if each >= 9.95 else 2}f}" for each in (ratio.value, *ends))
            as_much = "long" if of_time else "much"
            return f"{self.name} {self.verb} {value} times as {as_much} as {self.reference} ({low} to {high})"
        if ratio.value < 1:
            seen = percentages(2 - ratio.value, signed=False)
            span = percentages(2 - ends[1], 2 - ends[0], signed=False)
            what = "less time" if of_time else "less"
        else:
            seen, span = percentages(ratio.value, signed=False), percentages(*ends, signed=False)
            what = "longer" if of_time else "more"
        return f"{self.name} {self.verb} {seen} % {what} than {self.reference} ({span} %)"


def percentages(*ratios: float, signed: bool = True) -> str:
    """Return ratios as changes in percent, such as ``+3.2`` or ``-1 to +12``."""
    shown = [100 * (ratio - 1) for ratio in ratios]
    digits = 0 if max(map(abs, shown)) >= 9.95 and (len(shown) == 1 or shown[-1] - shown[0] >= 2) else 1
    return " to ".join(f"{each:{'+' if signed else ''}.{digits}f}" for each in shown)


def compare_samples(one: tuple[str, Sample], other: tuple[str, Sample], verb: str) -> Change:
    """
    Compare two commands.

    Args:
        one: Name and figures of the command.
        other: Name and figures of the command that it is compared with.
        verb: ``needs`` or ``takes``.
    """
    (name, over), (reference, under) = one, other
    runs = len(over), len(under)
    if not all(runs) or not under.median:
        none = Change(
            name=name, reference=reference, verb=verb, runs=runs, ratio=None, as_read=None, p_value=None,
            verdict="no_figure",
        )  # fmt: skip
        return none
    interval = ratio_interval(over, under)
    read = ratio_interval(Sample.exact(over.values), Sample.exact(under.values))
    return Change(
        name=name,
        reference=reference,
        verb=verb,
        runs=runs,
        ratio=Estimate.of(over.median / under.median, interval),
        as_read=Estimate.of(over.median / under.median, read),
        p_value=p_value(over.values, under.values) if runs[0] * runs[1] <= MOST_EXACT**2 else None,
        verdict=_verdict(interval, read),
    )


def _verdict(interval: Interval | None, read: Interval | None) -> Verdict:
    if interval is None or interval.confidence < LEAST_CONFIDENCE - 1e-9:
        return "too_few"
    if not interval.holds(1):
        return "more" if interval.low > 1 else "less"
    return "same" if read is None or read.holds(1) else "within_error"
