"""
What is known of a program of known size, and a pure function that checks a measurement against it.

A program of known size has exactly its bytes and the pages that any program needs to start. A run of the same program
with 0 bytes, its `base`, measures the start-up size. A figure holds if the true amount can lie within it:

    truth <= its high end    and    its low end <= truth + start-up size + slack

A figure without a high end must have read the true amount if it was held long enough. For the headline its low end
alone is judged: what it says is only that it was at least so much. The table of programs is in `truths`.
"""

from __future__ import annotations

import attrs

from concmem._figures.table import FIGURES
from concmem.model import Figure, Measurement
from concmem.options import DEFAULTS
from concmem.units import format_bytes, format_seconds

__all__ = ["START_UP_JITTER_BYTES", "Truth", "Verdict", "judge"]

START_UP_JITTER_BYTES = 384 << 10
"""By how much two starts of one process differ. The kernel maps up to 16 pages around each touched page of a file. How
many depends on where the loader put the file and on what is in the page cache."""

_KERNEL_SHARE = 32
"""A control group is also charged for kernel memory: page tables are 1/512 of what is mapped, and many file systems
keep 104 bytes (`struct buffer_head`) for each 4 KiB of a file, which is 1/39."""

_PSS_WITHIN_S = 0.1
"""How long a size must be held so that smaps_rollup is certain to be read in that time."""


@attrs.frozen
class Truth:
    """
    What is known of one run of a program of known size before it runs. No amount includes start-up pages.

    Attributes:
        name: Unique.
        what: A short phrase for a table.
        program: Its name in ``programs/known``.
        args: Its arguments.
        base: The arguments for a run of the same program with 0 bytes, which measures the start-up size.
        root_rss_bytes: The largest RSS of the root. This and the other amounts are None if not known beforehand.
        largest_rss_bytes: The largest RSS of the largest process.
        footprint_bytes: The largest footprint of the tree: each page once that its processes map, or that is in a file
            in memory that they made, or that they have pinned.
        tree_pss_bytes: The largest PSS of the tree: the footprint without pages of hugetlbfs, files in memory that no
            process maps, and pinned pages that no process maps.
        tree_rss_sum_bytes: The largest sum of RSS over the tree. An address space of several processes counts once.
        charged_bytes: The charge of the program's own control group: anonymous memory, shared memory and page cache.
        held_s: How long at least all of it is held at once. The kernel's high-water marks include the shortest spike;
            readings include what is held longer than the time between two of them.
        needs: What the system may refuse, so that the program exits with 1 and no figure can be judged; or "".
    """

    name: str
    what: str
    program: str
    args: tuple[object, ...]
    base: tuple[object, ...]
    root_rss_bytes: int | None
    largest_rss_bytes: int | None
    footprint_bytes: int | None
    tree_pss_bytes: int | None
    tree_rss_sum_bytes: int | None
    charged_bytes: int | None
    held_s: float = 0.1
    needs: str = ""

    def bytes_of(self, figure: str) -> int | None:
        """
        Return the true amount of a figure of a `Measurement`, or None if it is not known beforehand.

        For `peak` and `tree_upper_bound` it is the footprint.
        """
        truth = FIGURES[figure].truth if figure in FIGURES else None
        return None if truth is None else truth(self)


@attrs.frozen
class Verdict:
    """
    Whether one figure of one measurement holds.

    Attributes:
        figure: Its name.
        truth_bytes: The true amount without start-up pages, or None if it is not known beforehand.
        start_up_bytes: What the program needs with 0 bytes, or None if it is not known.
        reading: The measured figure.
        ok: Whether it holds; None if this run cannot decide it.
        reason: One sentence if `ok` is not True, else "".
    """

    figure: str
    truth_bytes: int | None
    start_up_bytes: int | None
    reading: Figure
    ok: bool | None
    reason: str = ""

    @property
    def error_bytes(self) -> int | None:
        """The measured amount less the true amount and the start-up size."""
        if self.reading.bytes is None or self.truth_bytes is None or self.start_up_bytes is None:
            return None
        return self.reading.bytes - self.truth_bytes - self.start_up_bytes


def judge(truth: Truth, measurement: Measurement, base: Measurement) -> tuple[Verdict, ...]:
    """
    Check every figure of a measurement against the known amounts.

    Args:
        truth: The known amounts.
        measurement: The measurement of the truth's program with its `args`.
        base: The measurement of the same program with the truth's `base`.

    Returns:
        One verdict for each figure, first that of the headline.
    """
    return tuple(_verdict(truth, name, measurement, base) for name in measurement.figures)


def _verdict(truth: Truth, name: str, measurement: Measurement, base: Measurement) -> Verdict:
    reading, start_up_bytes = measurement.figures[name], base.figures[name].bytes
    truth_bytes = truth.bytes_of(name)
    ok, reason = _check_exit(truth, measurement)
    if ok:
        if truth_bytes is None:
            ok, reason = None, "the true amount is not known beforehand"
        elif reading.bytes is None:
            ok, reason = None, reading.note
        else:
            ok, reason = _check_figure(truth, name, truth_bytes, start_up_bytes, measurement)
    return Verdict(name, truth_bytes, start_up_bytes, reading, ok, reason)


def _check_exit(truth: Truth, measurement: Measurement) -> tuple[bool | None, str]:
    if measurement.exit.ok:
        return True, ""
    if truth.needs and measurement.exit.code == 1:
        return None, f"the system refused what the program needs: {truth.needs}"
    return False, f"{truth.program} failed: {measurement.exit}"


def _check_figure(
    truth: Truth, name: str, truth_bytes: int, start_up_bytes: int | None, measurement: Measurement
) -> tuple[bool | None, str]:
    reading = measurement.figures[name]
    assert reading.bytes is not None and reading.low_bytes is not None
    if reading.high_bytes is not None and reading.high_bytes < truth_bytes:
        return False, f"its upper end is {format_bytes(truth_bytes - reading.high_bytes)} below the true amount"
    if reading.status == "sampled" and reading.bytes < truth_bytes:
        short = f"the largest reading is {format_bytes(truth_bytes - reading.bytes)} below the true amount"
        if name == "peak":
            return None, f"{short}, and there is no upper end"
        needed_s = _needed_s(name, measurement)
        if truth.held_s <= needed_s:
            return None, f"{short}, which can be missed if it is held for less than {format_seconds(needed_s)}"
        return False, f"{short}, which was held for {format_seconds(truth.held_s)}"
    if reading.status == "upper_bound":
        return True, ""
    if start_up_bytes is None:
        return None, "the start-up size is not known, so a figure that is too large cannot be detected"
    most_bytes = truth_bytes + start_up_bytes + _slack_bytes(truth, name, measurement)
    if reading.low_bytes > most_bytes:
        return (
            False,
            f"its lower end is {format_bytes(reading.low_bytes - most_bytes)} above the largest possible amount",
        )
    return True, ""


def _needed_s(name: str, measurement: Measurement) -> float:
    """Return how long a size must be held to be read for certain: for two readings."""
    sampler = measurement.sampler
    slower = max(1, DEFAULTS["cpu_budget"] / (sampler.cpu_budget or 1))
    return 2 * sampler.longest_gap_s + (_PSS_WITHIN_S * slower if name in ("peak", "tree_peak_pss") else 0)


def _slack_bytes(truth: Truth, name: str, measurement: Measurement) -> int:
    """Return by how much a run may need more than its bytes and the start-up size of the base run."""
    slack_bytes = START_UP_JITTER_BYTES * max(1, len(measurement.processes))
    if name == "cgroup_peak":
        slack_bytes += max(truth.tree_rss_sum_bytes or 0, truth.charged_bytes or 0) // _KERNEL_SHARE
    return slack_bytes
