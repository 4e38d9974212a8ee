"""
Find out what can be measured here, how exactly and at what cost, and prove it with programs of known size.

No result depends on a version number. Each source is tried, statm is checked for whether it counts single pages,
readings are timed on this machine, and each usable source must find the size of every program of known size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import attrs

from concmem._figures.table import FIGURES
from concmem.doctor.costs import reading_costs
from concmem.host import Host, counter_error_bytes, describe
from concmem.model import Figure, Measurement
from concmem.options import DEVNULL, Options, switches_of
from concmem.running import measure
from concmem.sources import Source, probe
from concmem.testing import TRUTHS, Truth, Verdict, judge, known
from concmem.units import format_error

__all__ = ["Check", "Checkup", "Clock", "examine"]

_CLOCK_S = 0.5
_INTERVAL_S = 0.001
_TOO_LONG_S = 30.0
_AT_ONCE = 2
"""How many programs run at the same time: more would make readings late, fewer would take too long."""

_PLAIN = {name: entry.proves for name, entry in FIGURES.items() if entry.proves}
_SPECIAL = {name: entry.proves_on_request for name, entry in FIGURES.items() if entry.proves_on_request}


@attrs.frozen
class Clock:
    """
    How late readings are here, at an interval of 1 ms.

    Attributes:
        median_late_s, p99_late_s: How late a reading was: median and 99th percentile.
        longest_gap_s: The longest time between two readings.
        sampler_cpu_share: The sampler's share of one CPU.
    """

    median_late_s: float
    p99_late_s: float
    longest_gap_s: float
    sampler_cpu_share: float


@attrs.frozen
class Check:
    """
    One figure of one run of a program of known size.

    Attributes:
        program: The name of the truth.
        what: What the program does.
        source: The source of the figure: a name, ``marks`` for the kernel's high-water marks (VmHWM and
            ``ru_maxrss``), or ``headline`` for figures computed from several sources.
        figure: The name of the figure.
        run: The number of the repetition, from 0.
        truth_bytes, reading_bytes, error_bytes: The true amount, the measured amount, and the measured amount less the
            true amount and the start-up size; None if not known.
        allowed: The error that the figure itself states, as text.
        ok: Whether it holds; None if this source cannot measure this program.
        reason: One sentence if `ok` is not True.
    """

    program: str
    what: str
    source: str
    figure: str
    run: int
    truth_bytes: int | None
    reading_bytes: int | None
    error_bytes: int | None
    allowed: str
    ok: bool | None
    reason: str


@attrs.frozen
class Checkup:
    """
    The result of `examine`.

    Attributes:
        host: The machine.
        sources: Every source, with whether it can be used.
        statm_exact: Whether statm counts every page immediately.
        mark_error_bytes: The error of the kernel's high-water marks of a process here, in both directions.
        costs_s: The seconds of one reading, by source.
        clock: How late readings are.
        checks: Every figure of every run.
    """

    host: Host
    sources: tuple[Source, ...]
    statm_exact: bool
    mark_error_bytes: int
    costs_s: dict[str, float]
    clock: Clock
    checks: tuple[Check, ...]

    @property
    def wrong(self) -> tuple[Check, ...]:
        """The checks that did not hold."""
        return tuple(check for check in self.checks if check.ok is False)

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.wrong

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        from concmem._files.stored_form import to_plain

        return to_plain(self) | {"ok": self.ok}


def _clock() -> tuple[Clock, bool]:
    import numpy as np

    m = measure(["/bin/sleep", str(_CLOCK_S)], interval_s=_INTERVAL_S)
    late_s = m.timeline.t_s % _INTERVAL_S  # each reading was due at a multiple of the interval
    clock = Clock(
        median_late_s=float(np.median(late_s)),
        p99_late_s=float(np.percentile(late_s, 99)),
        longest_gap_s=m.sampler.longest_gap_s,
        sampler_cpu_share=m.sampler.cpu_s / m.tree_wall_s,
    )
    return clock, m.sampler.statm_exact


def _run(truth: Truth, args: Sequence[object], usable: frozenset[str]) -> Measurement:
    quiet: Options = {"stdout": DEVNULL, "stderr": DEVNULL, "timeout_s": _TOO_LONG_S}
    options: Options = {**quiet, **switches_of(usable)}
    return measure(known(truth.program, *args), **options)


def _allowed(figure: Figure) -> str:
    return "" if figure.bytes is None else format_error(figure.status, figure.error_bytes, figure.over_bytes)


def _checks(truth: Truth, run: int, verdicts: Sequence[Verdict], sources: dict[str, str]) -> Iterator[Check]:
    for verdict in verdicts:
        if verdict.figure in sources:
            source = sources[verdict.figure]
            truth_bytes, reading_bytes = verdict.truth_bytes, verdict.reading.bytes
            yield Check(
                truth.name, truth.what, source, verdict.figure, run, truth_bytes, reading_bytes,
                verdict.error_bytes, _allowed(verdict.reading), verdict.ok, verdict.reason,
            )  # fmt: skip


def _by_records(m: Measurement) -> Measurement:
    """Return the measurement with its largest process taken from the exit records."""
    own = [process.peak for process in m.processes if process.peak.bytes is not None]
    return attrs.evolve(m, largest_peak_rss=max(own, key=lambda figure: figure.bytes or 0, default=m.largest_peak_rss))


def _examine(truth: Truth, run: int, usable: frozenset[str]) -> list[Check]:
    """Run a program with each set of sources, and once with 0 bytes; return the checks."""
    base, plain = (_run(truth, args, usable & {"cgroup", "taskstats"}) for args in (truth.base, truth.args))
    skipped = {"cgroup"} - usable
    checks = list(_checks(truth, run, judge(truth, plain, base), {f: s for f, s in _PLAIN.items() if s not in skipped}))
    if "taskstats" in usable:
        judged = judge(truth, _by_records(plain), base)
        checks += _checks(truth, run, judged, {"largest_peak_rss": "taskstats"})
    special = {figure: source for figure, source in _SPECIAL.items() if source in usable}
    if special:
        m = _run(truth, truth.args, frozenset(special.values()))
        checks += _checks(truth, run, judge(truth, m, base), special)
    return checks


def _prove(usable: frozenset[str], runs: int, progress: Callable[[int, int], None]) -> list[Check]:
    done = 0
    checks: list[Check] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        waiting = [pool.submit(_examine, truth, run, usable) for run in range(runs) for truth in TRUTHS]
        for future in as_completed(waiting):
            checks += future.result()
            done += 1
            progress(done, len(waiting))
    order = {truth.name: i for i, truth in enumerate(TRUTHS)}
    return sorted(checks, key=lambda check: (order[check.program], check.run))


def examine(*, runs: int = 1, progress: Callable[[int, int], None] = lambda done, total: None) -> Checkup:
    """
    Examine the machine, and prove every usable source with every program of known size. One run takes about 20 s.

    Args:
        runs: How often each program is run with each set of sources.
        progress: Called with the number of finished programs and the total number.

    Raises:
        UnsupportedPlatform: This is not Linux, or /proc is missing or shows another PID namespace.
    """
    host = describe()
    sources = probe()
    usable = frozenset(source.name for source in sources if source.usable)
    clock, statm_exact = _clock()
    checks = _prove(usable, runs, progress)
    return Checkup(
        host=host,
        sources=sources,
        statm_exact=statm_exact,
        mark_error_bytes=counter_error_bytes(host),
        costs_s=reading_costs(usable),
        clock=clock,
        checks=tuple(checks),
    )
