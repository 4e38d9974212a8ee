"""A gate for CI: commands measured and judged against a baseline."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import attrs

from concmem._version import __version__
from concmem.comparison.baseline import Baseline, BaselineMissing, StoredFigures, read_baseline, write_baseline
from concmem.comparison.candidates import Hooks
from concmem.comparison.change import LEAST_CONFIDENCE, Change, compare_samples, percentages
from concmem.comparison.engine import compare
from concmem.comparison.intervals import Sample
from concmem.comparison.result import CommandResult, FigureName
from concmem.comparison.session import Progress
from concmem.errors import InvalidRequest
from concmem.host import Host, describe
from concmem.options import Command, Options

__all__ = ["Check", "CheckResult", "Gate", "GateVerdict", "check", "judge"]

GateVerdict = Literal["ok", "larger", "undecided", "no_baseline", "other_machine", "failed", "updated"]

_LARGER, _UNDECIDED, _FAILED = 3, 4, 125


@attrs.frozen(kw_only=True)
class Check:
    """
    What is measured, and when the check fails.

    Attributes:
        command: As for `concmem.measure`.
        runs: The number of runs.
        warmup: The number of runs before them that do not count.
        fail_above: By which part the command may need more than the baseline, such as 0.05.
        figure: What is judged, see `concmem.comparison.result.FIGURES`.
        prepare: A command to run before each run, not measured.
        options: Options of `concmem.measure`.
    """

    command: Command
    runs: int = 5
    warmup: int = 0
    fail_above: float = 0.05
    figure: FigureName = "peak"
    prepare: str = ""
    options: Options = attrs.field(factory=lambda: cast(Options, {}))

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.fail_above < 1000:
            raise InvalidRequest(f"fail_above must be a share of at least 0, such as 0.05, not {self.fail_above!r}")


@attrs.frozen(kw_only=True)
class CheckResult:
    """
    The result of one check.

    Attributes:
        name: Its name.
        result: All its runs.
        fail_above: By which part the command may need more than the baseline.
        baseline: What it is judged by; None if the baseline has no such check.
        change: The runs compared with the baseline; None without one, or if a run failed.
        verdict: ``ok``: not shown to be larger, or by less than the limit; ``larger``: the whole interval of the ratio
            is above the limit; ``undecided``: so many runs, or the errors of the figures, do not allow a judgement;
            ``no_baseline``; ``other_machine``: the baseline is from a different machine or kernel; ``failed``: a run
            failed; ``updated``: the baseline was written.
        sentence: The verdict with its reason.
    """

    name: str
    result: CommandResult
    fail_above: float
    baseline: StoredFigures | None
    change: Change | None
    verdict: GateVerdict
    sentence: str

    @property
    def status(self) -> int:
        """The exit status: 0, that of a failed run, 3 (larger) or 4 (cannot be judged)."""
        if self.verdict == "failed":
            return next((run.exit_code for run in self.result.failed if run.exit_code), _FAILED)
        if self.verdict == "larger":
            return _LARGER
        return 0 if self.verdict in ("ok", "updated") else _UNDECIDED


@attrs.frozen(kw_only=True)
class Gate:
    """
    The results of all checks.

    Attributes:
        results: One for each check.
        host: The machine.
    """

    results: tuple[CheckResult, ...]
    host: Host = attrs.field(repr=False)

    @property
    def status(self) -> int:
        """The exit status: that of a failed run, else 3 if one is larger, else 4 if one cannot be judged, else 0."""
        failed = [each.status for each in self.results if each.verdict == "failed"]
        others = [each.status for each in self.results]
        return next(iter(failed), next((status for status in (_LARGER, _UNDECIDED) if status in others), 0))


def check(
    checks: Mapping[str, Check],
    baseline: str | Path,
    *,
    update: bool = False,
    any_machine: bool = False,
    progress: Progress | None = None,
) -> Gate:
    """
    Measure commands, and judge each by the ratio of its median to that of the baseline.

    Args:
        checks: The checks by name.
        baseline: The file of the baseline.
        update: Write the figures into the baseline instead of judging them. Other checks in the file are kept, and so
            are the figures of a check of which a run failed.
        any_machine: Judge by a baseline from another machine or kernel, too.
        progress: See `concmem.compare`.

    Raises:
        InvalidRequest: There is no check, or an argument is invalid.
        RecordingError: The file is not a baseline.
        HookFailed: A command of `Check.prepare` failed.
        OSError: The file cannot be written.
    """
    if not checks:
        raise InvalidRequest("there is nothing to check")
    path = Path(baseline)
    try:
        stored = dict(read_baseline(path).checks)
    except BaselineMissing:
        stored = {}
    host = describe()
    recorded_at = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    results = []
    for name, each in checks.items():
        found = compare(
            {name: each.command},
            runs=each.runs,
            warmup=each.warmup,
            figure=each.figure,
            hooks=Hooks(prepare=each.prepare),
            progress=progress,
            **each.options,
        )
        results.append(judge(name, found.results[0], stored.get(name), each.fail_above, host, any_machine=any_machine))
    if update:
        results = [_updated(each) for each in results]
        written = {
            each.name: StoredFigures.of(each.result, recorded_at, host) for each in results if each.verdict == "updated"
        }
        write_baseline(path, Baseline(version=__version__, checks=stored | written))
    return Gate(results=tuple(results), host=host)


def _updated(result: CheckResult) -> CheckResult:
    if result.verdict == "failed":
        return result
    return attrs.evolve(result, verdict="updated", sentence=f"{result.name}: the baseline was written")


def judge(
    name: str, result: CommandResult, stored: StoredFigures | None, limit: float, host: Host, *, any_machine: bool
) -> CheckResult:
    """
    Judge the runs of one check.

    Args:
        name: The name of the check.
        result: Its runs.
        stored: The figures of the baseline, or None.
        limit: By which part they may be larger.
        host: This machine.
        any_machine: Judge by a baseline from another machine, too.
    """

    def answer(verdict: GateVerdict, sentence: str, change: Change | None = None) -> CheckResult:
        return CheckResult(
            name=name,
            result=result,
            fail_above=limit,
            baseline=stored,
            change=change,
            verdict=verdict,
            sentence=f"{name}: {sentence}",
        )

    if result.failed:
        why = "; ".join(dict.fromkeys(run.failure for run in result.failed))
        return answer("failed", f"{len(result.failed)} of {len(result.runs)} runs failed: {why}")
    if stored is None:
        return answer("no_baseline", "the baseline has no figures of it yet; --update writes them")
    if stored.figure != result.figure:
        return answer("no_baseline", f"the baseline has {stored.figure}, not {result.figure}; --update replaces it")
    change = compare_samples((name, result.sample), ("the baseline", stored.sample), "needs")
    if (differences := stored.differences(host)) and not any_machine:
        said = (
            f"the baseline is from another machine: {', '.join(differences)}; --any-machine judges by it nevertheless"
        )
        return answer("other_machine", said, change)
    verdict, sentence = _judged(change, result.sample, stored.sample, limit, result.figure)
    return answer(verdict, sentence, change)


def _judged(change: Change, now: Sample, before: Sample, limit: float, figure: FigureName) -> tuple[GateVerdict, str]:
    most, ratio = f"the limit is {percentages(1 + limit)} %", change.ratio
    if ratio is None or ratio.low is None or ratio.high is None or (ratio.confidence or 0) < LEAST_CONFIDENCE - 1e-9:
        return "undecided", f"{len(now)} runs against {len(before)} of the baseline are too few to judge; 3 each can"
    seen = f"{percentages(ratio.value)} % ({percentages(ratio.low, ratio.high)} %), {most}"
    if ratio.low > 1 + limit:
        return "larger", f"larger than the baseline: {seen}"
    # Growth that is not shown passes, unless even twice the limit could have gone unnoticed.
    if ratio.high <= 1 + limit or (ratio.low <= 1 and ratio.high <= (1 + limit) ** 2):
        return (
            "ok",
            f"not shown to be above the limit: {seen}" if ratio.high > 1 + limit else f"within the limit: {seen}",
        )
    read = change.as_read
    if read is None or read.low is None or read.high is None or read.low <= 1 + limit < read.high:
        return "undecided", f"{len(now)} runs do not decide it: {seen}; more runs can (-r)"
    said = f"too small or too short to judge: the errors of its figures are as large as what is looked for: {seen}; "
    said += f"by what was read {percentages(read.low, read.high)} %"
    return "undecided", said + ("; the error of largest_peak_rss is smaller (--figure)" if figure == "peak" else "")
