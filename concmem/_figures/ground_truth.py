"""
The true amounts of programs of known size, and a pure function that checks a measurement against them.

A program of known size has exactly its bytes and the pages that any program needs to start. A run of the same program
with 0 bytes, its `base`, measures the start-up size. A figure holds if the true amount can lie within it:

    truth <= its high end    and    its low end <= truth + start-up size + slack
"""

from __future__ import annotations

import attrs

from concmem._figures.table import FIGURES
from concmem.model import Figure, Measurement
from concmem.units import format_bytes, format_seconds

__all__ = ["START_UP_JITTER_BYTES", "TRUTHS", "Truth", "Verdict", "judge"]

_KIB, _MIB = 1 << 10, 1 << 20
_HOLD_S = 0.13

START_UP_JITTER_BYTES = 384 * _KIB
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
        tree_pss_bytes: The largest footprint of the tree: shared pages count once.
        tree_rss_sum_bytes: The largest sum of RSS over the tree.
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
    tree_pss_bytes: int | None
    tree_rss_sum_bytes: int | None
    charged_bytes: int | None
    held_s: float = 0.1
    needs: str = ""

    def bytes_of(self, figure: str) -> int | None:
        """
        Return the true amount of a figure of a `Measurement`, or None if it is not known beforehand.

        For `tree_upper_bound` it is the footprint.
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
    """Return how long a size must be held to be read for certain: for two readings, the second of which may be late."""
    sampler = measurement.sampler
    return sampler.interval_s + sampler.longest_gap_s + (_PSS_WITHIN_S if name in ("peak", "tree_peak_pss") else 0)


def _slack_bytes(truth: Truth, name: str, measurement: Measurement) -> int:
    """Return by how much a run may need more than its bytes and the start-up size of the base run."""
    slack_bytes = START_UP_JITTER_BYTES * max(1, len(measurement.processes))
    if name == "cgroup_peak":
        slack_bytes += max(truth.tree_rss_sum_bytes or 0, truth.charged_bytes or 0) // _KERNEL_SHARE
    return slack_bytes


def _one(
    name: str, what: str, size: int, program: str, args: tuple[object, ...], base: tuple[object, ...],
    held_s: float = 0.1, needs: str = "",
) -> Truth:  # fmt: skip
    """Return the truth of a program in which only the root has bytes: all amounts are the same."""
    return Truth(name, what, program, args, base, size, size, size, size, size, held_s, needs)


def _child(name: str, what: str, size: int, program: str) -> Truth:
    """Return the truth of a program in which only one descendant of the root has bytes."""
    return Truth(name, what, program, (size, _HOLD_S), (0, _HOLD_S), 0, size, size, size, size)


TRUTHS: tuple[Truth, ...] = (
    _one("hold", "64 MiB touched by one thread", 64 * _MIB, "hold", (64 * _MIB, 1, _HOLD_S), (0, 1, _HOLD_S)),
    _one("threads", "64 MiB touched by 8 threads", 64 * _MIB, "hold", (64 * _MIB, 8, _HOLD_S), (0, 8, _HOLD_S)),
    # Ends as soon as all pages are touched, and changes the CPU every 7 pages. So only high-water marks show it, and
    # their error is large.
    _one(
        "migrate", "32 MiB touched by 4 threads from CPU to CPU", 32 * _MIB,
        "hold", (32 * _MIB, 4, 0, 7), (0, 4, 0.05, 7), held_s=0,
    ),
    _one("ramp", "0 to 32 MiB in 20 steps", 32 * _MIB, "ramp", (32 * _MIB, 0.2, 20), (0, 0.2, 20), held_s=0.01),
    _one(
        "spike", "16 MiB, and a spike of 32 MiB", 48 * _MIB,
        "spike", (16 * _MIB, 32 * _MIB, 0.05), (0, 0, 0.05), held_s=0,
    ),
    # No page fault, and the spike ends at once: the kernel fills the mapping while it holds the lock of the address
    # space.
    _one(
        "populate", "the same, populated by the kernel", 48 * _MIB,
        "spike", (16 * _MIB, 32 * _MIB, 0.05, 0, 1), (0, 0, 0.05, 0, 1), held_s=0,
    ),
    _one(
        "spikes", "16 MiB, and 10 spikes of 16 MiB for 2 ms", 32 * _MIB,
        "spikes", (10, 16 * _MIB, 2, 16 * _MIB), (10, 0, 2, 0), held_s=0.002,
    ),
    _one("huge", "64 MiB of huge pages, if available", 64 * _MIB, "huge", (64 * _MIB, _HOLD_S), (0, _HOLD_S)),
    _one(
        "locked", "4 MiB locked into memory", 4 * _MIB, "locked", (4 * _MIB, _HOLD_S), (0, _HOLD_S),
        needs="a limit of locked memory (ulimit -l) of 4 MiB",
    ),
    _one(
        "dontneed", "32 MiB freed, then 32 MiB more", 32 * _MIB, "give-back", (32 * _MIB, 0, _HOLD_S), (0, 0, _HOLD_S)
    ),
    # After MADV_FREE, pages stay resident until the kernel reclaims them.
    _one(
        "free", "32 MiB free to reclaim, 32 MiB more", 64 * _MIB,
        "give-back", (32 * _MIB, 1, _HOLD_S), (0, 1, _HOLD_S),
    ),
    # A file in memory that is written but not mapped is in no RSS. Only a control group counts it.
    Truth(
        "memfd", "a file of 32 MiB in memory", "memfd", (32 * _MIB, 0, _HOLD_S), (0, 0, _HOLD_S),
        0, 0, 0, 0, 32 * _MIB,
    ),
    _one("memfd-mapped", "the same, mapped and read", 32 * _MIB, "memfd", (32 * _MIB, 1, _HOLD_S), (0, 1, _HOLD_S)),
    _one(
        "mapped-file", "a file of 32 MiB, mapped and read", 32 * _MIB,
        "mapped-file", (32 * _MIB, _HOLD_S), (0, _HOLD_S), needs="32 MiB in $TMPDIR or /var/tmp",
    ),
    _one("exec-small", "32 MiB, then a small program", 32 * _MIB, "exec-small", (32 * _MIB, _HOLD_S), (0, _HOLD_S)),
    _one("leader-exit", "32 MiB without a main thread", 32 * _MIB, "leader-exit", (32 * _MIB, _HOLD_S), (0, _HOLD_S)),
    _child("daemonize", "32 MiB held by a daemon", 32 * _MIB, "daemonize"),
    _child("sigchld-ignored", "32 MiB, the parent ignores SIGCHLD", 32 * _MIB, "sigchld-ignored"),
    _child("thread-fork", "32 MiB held by the child of a thread", 32 * _MIB, "thread-fork"),
    _child("zombie-keeper", "32 MiB held by a child, never reaped", 32 * _MIB, "zombie-keeper"),
    Truth(
        "fork-share", "32 MiB shared by 5 processes (fork)", "fork-share", (32 * _MIB, 4, _HOLD_S), (0, 4, _HOLD_S),
        32 * _MIB, 32 * _MIB, 32 * _MIB, 160 * _MIB, 32 * _MIB,
    ),
    Truth(
        "shared", "32 MiB that 5 processes share and write", "shared", (32 * _MIB, 4, _HOLD_S), (0, 4, _HOLD_S),
        32 * _MIB, 32 * _MIB, 32 * _MIB, 160 * _MIB, 32 * _MIB,
    ),
    Truth(
        "chain", "16, 24, 32 MiB: parent, child, grandchild",
        "chain", (_HOLD_S, 16 * _MIB, 24 * _MIB, 32 * _MIB), (_HOLD_S, 0, 0, 0),
        16 * _MIB, 32 * _MIB, 72 * _MIB, 72 * _MIB, 72 * _MIB,
    ),
    # How many spikes coincide is known only afterwards: the program prints it.
    Truth(
        "workers", "16 MiB shared, 4 with spikes of 8 MiB", "workers", (4, 16 * _MIB, 8 * _MIB), (4, 0, 0),
        16 * _MIB, 24 * _MIB, None, None, None, held_s=0.01,
    ),
)  # fmt: skip
"""The truths that `judge` can check concmem, or any other tool, against. All runs together take about 5 seconds."""
