"""Compare two studies cell by cell: of two machines, of two versions, or the same study repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import attrs

from concmem.comparison.intervals import Interval, Sample, ratio_interval
from concmem.study.cluster.machines import MEMORY_TOLERANCE
from concmem.study.plan import WHICH_RUNS, StudyError, differences
from concmem.study.results.results import Results
from concmem.study.results.row import Row
from concmem.study.results.table import counted_runs
from concmem.study.stats import WIDE_SPREAD
from concmem.study.store.records import Run, Study
from concmem.units import format_bytes

__all__ = ["Comparison", "Difference", "Pair", "Verdict", "compare"]

Verdict = Literal["same", "more", "less"]
ReasonCode = Literal["", "no_figure", "explained", "unexplained"]

_NO_CAUSE = {"distribution", "swap_bytes", "cgroup", "limits", "kernel_stack_bytes"}
"""Attributes of a machine that affect whether a program runs, not its memory."""


@attrs.frozen
class Difference:
    """
    A difference of two studies.

    Attributes:
        what: What differs, such as ``kernel``.
        a, b: Its value in each study.
        can_explain: Whether the memory of programs may depend on it.
    """

    what: str
    a: str
    b: str
    can_explain: bool = True

    def __str__(self) -> str:
        return f"{self.what}: {self.a} in A, {self.b} in B"


@attrs.frozen(kw_only=True)
class Pair:
    """
    One program at one number of tasks in both studies.

    Attributes:
        program, tasks: The program and the number of tasks.
        a, b: The rows; None if a study's plan has no such cell.
        ratio: The median of `b` over that of `a`; None unless both have a figure.
        ratio_low, ratio_high: The interval of the ratio (`concmem.comparison.intervals.ratio_interval`); None with
            fewer than two runs on either side.
        ratio_confidence: How often such an interval holds the ratio: 0.9 with three runs on each side.
        verdict: What `b` needs compared to `a`: ``same`` if not `is_far`, or if the interval contains 1; None without a
            ratio.
        unlike: Other differences of the rows: toolchain, flags, sleep.
        reason: If the medians are far apart, the known possible causes. If one has no figure, why.
        reason_code: What the reason says: there is ``no_figure``, the difference is ``explained`` or ``unexplained``;
            "" without a reason. No column.
    """

    program: str
    tasks: int
    a: Row | None
    b: Row | None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    ratio_confidence: float | None = None
    verdict: Verdict | None = None
    unlike: tuple[Difference, ...] = ()
    reason: str = ""
    reason_code: ReasonCode = attrs.field(default="", metadata={"column": ""})

    @property
    def is_far(self) -> bool:
        """Whether the larger median exceeds the smaller one by more than 10 %."""
        return self.ratio is not None and _excess(self.ratio) > WIDE_SPREAD


@attrs.frozen(kw_only=True)
class Comparison:
    """
    Two studies side by side.

    Attributes:
        a, b: The studies.
        differences: The differences of their machines, plans and versions of concmem.
        pairs: All cells of both studies; programs by their memory in `a`, sizes in ascending order.
    """

    a: Study = attrs.field(repr=False)
    b: Study = attrs.field(repr=False)
    differences: tuple[Difference, ...]
    pairs: tuple[Pair, ...]


def compare(a: Study | Results, b: Study | Results) -> Comparison:
    """
    Compare two studies cell by cell, by the medians of their peaks.

    Raises:
        StudyError: Their workloads differ.
    """
    results_a, results_b = Results.of(a), Results.of(b)
    one, other = results_a.study, results_b.study
    if one.plan.workload != other.plan.workload:
        raise StudyError(
            f"{one.path} and {other.path} cannot be compared: the workload of the first is {one.plan.workload}, "
            f"that of the second {other.plan.workload}"
        )
    rows_a, rows_b = _by_cell(results_a), _by_cell(results_b)
    peaks_a, peaks_b = _peaks(one), _peaks(other)
    found = tuple(_differences(one, other))
    order = {program: i for i, program in enumerate(dict.fromkeys(program for program, _ in (*rows_a, *rows_b)))}
    return Comparison(
        a=one,
        b=other,
        differences=found,
        pairs=tuple(
            _pair(cell, rows_a.get(cell), rows_b.get(cell), _interval(peaks_b.get(cell), peaks_a.get(cell)), found)
            for cell in sorted({**rows_a, **rows_b}, key=lambda cell: (order[cell[0]], cell[1]))
        ),
    )


def _by_cell(results: Results) -> dict[tuple[str, int], Row]:
    return {(row.program, row.tasks): row for _, program_rows in results.by_memory for row in program_rows}


def _peaks(study: Study) -> dict[tuple[str, int], Sample]:
    of_cell: dict[tuple[str, int], list[Run]] = {}
    for run in study.runs:
        of_cell.setdefault((run.program, run.tasks), []).append(run)
    return {
        cell: Sample.of_figures(run.peak for run in counted_runs(runs) if run.peak is not None)
        for cell, runs in of_cell.items()
    }


def _interval(over: Sample | None, under: Sample | None) -> Interval | None:
    return None if over is None or under is None else ratio_interval(over, under)


def _excess(ratio: float) -> float:
    """Return by which fraction of the smaller one the larger one exceeds it."""
    return max(ratio, 1 / ratio) - 1


def _pair(
    cell: tuple[str, int],
    a: Row | None,
    b: Row | None,
    interval: Interval | None,
    found: Sequence[Difference],
) -> Pair:
    pair = Pair(program=cell[0], tasks=cell[1], a=a, b=b)
    if a is None or b is None or not a.median_bytes or not b.median_bytes:
        return attrs.evolve(pair, reason=_why_missing(a, b), reason_code="no_figure")
    ratio = b.median_bytes / a.median_bytes
    pair = attrs.evolve(pair, ratio=ratio, unlike=tuple(_unlike(a, b)))
    if interval is not None:
        low, high, confidence = attrs.astuple(interval)
        pair = attrs.evolve(pair, ratio_low=low, ratio_high=high, ratio_confidence=confidence)
    holds_1 = interval is not None and interval.holds(1)
    verdict: Verdict = "same" if holds_1 or not pair.is_far else "more" if ratio > 1 else "less"
    pair = attrs.evolve(pair, verdict=verdict)
    if not pair.is_far:
        return pair
    if causes := _causes(a, b, pair, found):
        return attrs.evolve(pair, reason="; ".join(causes), reason_code="explained")
    reason = "unexplained" + ("" if pair.ratio_low is not None else "; one run does not show how far runs scatter")
    return attrs.evolve(pair, reason=reason, reason_code="unexplained")


def _why_missing(a: Row | None, b: Row | None) -> str:
    why = {
        name: "not in its plan" if row is None else row.reason
        for name, row in (("A", a), ("B", b))
        if row is None or not row.median_bytes
    }
    if len(set(why.values())) < len(why):
        return f"no figure in either: {why['A']}"
    return "; ".join(f"no figure in {name}: {text}" for name, text in why.items())


def _unlike(a: Row, b: Row) -> Iterator[Difference]:
    for each in (
        Difference("toolchain", a.toolchain or "none", b.toolchain or "none"),
        Difference("flags", " ".join(a.flags) or "none", " ".join(b.flags) or "none"),
        sleep_difference(a.sleep_s, b.sleep_s),
        Difference("machine", _rest(a), _rest(b)),
    ):
        if each.a != each.b:
            yield each


def _rest(row: Row) -> str:
    return "busy with other work" if row.is_busy else "idle"


def sleep_difference(a_s: float, b_s: float) -> Difference:
    """Return how long tasks slept in each study."""
    return Difference("sleep", f"{a_s:g} s", f"{b_s:g} s")


def _causes(a: Row, b: Row, pair: Pair, found: Sequence[Difference]) -> list[str]:
    """Return the known possible causes of a difference."""
    assert pair.ratio is not None and a.median_bytes and b.median_bytes
    known = []
    scatter = max(a.spread or 0.0, b.spread or 0.0)
    if pair.verdict == "same" or scatter > _excess(pair.ratio):
        known.append(f"runs within one study differ by up to {scatter:.0%}")
    smaller, larger = (a, b) if a.median_bytes < b.median_bytes else (b, a)
    assert smaller.median_bytes and larger.median_bytes
    if smaller.median_bytes + smaller.error_bytes >= larger.median_bytes - larger.over_bytes:
        known.append("the margins of the two figures overlap")
    if names := [each.what for each in (*pair.unlike, *found) if each.can_explain]:
        known.append(f"not the same {', '.join(dict.fromkeys(names))}")
    return known


def _differences(a: Study, b: Study) -> Iterator[Difference]:
    if a.version != b.version:
        yield Difference("concmem", a.version, b.version)
    here = attrs.asdict(b.host)
    for name, there in attrs.asdict(a.host).items():
        if name == "limits":
            for limit in sorted({*there, *here[name]}):
                yield from _changed(limit, there.get(limit), here[name].get(limit), can_explain=False)
        elif name != "memory_bytes" or abs(there - here[name]) > MEMORY_TOLERANCE * max(there, here[name]):
            yield from _changed(name, there, here[name], can_explain=name not in _NO_CAUSE)
    for name, (one, other) in differences(a.plan, b.plan).items():
        if name not in WHICH_RUNS:
            yield Difference(name, one, other, can_explain=False)  # the rows show it


def _changed(name: str, a: int | str | None, b: int | str | None, *, can_explain: bool) -> Iterator[Difference]:
    if a != b:
        is_size = name.endswith("_bytes")
        texts = [format_bytes(v) if is_size and isinstance(v, int) else str(v or "none") for v in (a, b)]
        yield Difference(name.removesuffix("_bytes"), texts[0], texts[1], can_explain)
