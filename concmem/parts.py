"""The parts of a measurement: a figure with its error, how the command ended, one process, what memory consisted of."""

from __future__ import annotations

from typing import Literal, Union

import attrs

from concmem._escaping import escape_fields, escape_text

__all__ = [
    "Composition",
    "Exit",
    "Figure",
    "Limit",
    "OutOfMemory",
    "Process",
    "Reason",
    "Status",
    "Verdict",
    "cpu_percent",
]

Status = Literal["exact", "bounded", "sampled", "upper_bound", "unavailable"]
Reason = Literal[
    "exited",
    "signaled",
    "timeout",
    "cpu_limit",
    "memory_limit",
    "cgroup_limit",
    "processes_limit",
    "interrupted",
    "oom",
]


Verdict = Literal["over", "under", "undecided"]
"""What `Figure.compare` returns."""

Limit = Union[int, float, str, "Figure"]
"""What a figure can be compared with: bytes, a text such as ``"200 MB"`` or ``"1.5 GiB"``, or another figure."""


@attrs.frozen(order=False)
class Figure:
    """
    One amount of memory with its source and its error.

    ``figure > "200 MB"`` and the other comparisons answer if every amount in the range gives the same answer, and raise
    `Undecided` otherwise. `compare` has a third answer instead. ``==`` compares all attributes.

    Attributes:
        bytes: The amount, or None if the status is ``unavailable``.
        status: ``exact`` (the kernel's own maximum, exact to the page), ``bounded`` (the true amount lies between
            `low_bytes` and `high_bytes`), ``sampled`` (the largest reading: a lower bound), ``upper_bound`` (the true
            amount is not larger), or ``unavailable``.
        source: The kernel interfaces that it was read from.
        error_bytes: By how much the true amount can exceed `bytes`.
        note: One sentence: why it is unavailable, or what a reader should know about it.
        over_bytes: By how much `bytes` can exceed the true amount. The kernel's high-water marks come from per-CPU
            counters, which can be too high as well as too low.
        high_source: The source of `high_bytes`; "" if it is `source`.
    """

    bytes: int | None
    status: Status
    source: str
    error_bytes: int = 0
    note: str = ""
    over_bytes: int = 0
    high_source: str = ""

    @property
    def low_bytes(self) -> int | None:
        """The smallest possible true amount; None if nothing is known."""
        if self.bytes is None:
            return None
        return 0 if self.status == "upper_bound" else max(0, self.bytes - self.over_bytes)

    @property
    def high_bytes(self) -> int | None:
        """The largest possible true amount; None if nothing is known, or if `bytes` is only a lower bound."""
        if self.bytes is None or self.status == "sampled":
            return None
        return self.bytes + self.error_bytes

    def compare(self, limit: Limit) -> Verdict:
        """
        Compare the true amount with a limit.

        Args:
            limit: Bytes, a text such as ``"200 MB"`` or ``"1.5 GiB"`` (see `concmem.units.parse_bytes`), or a figure.

        Returns:
            ``over`` if the true amount is certainly larger than the limit, ``under`` if it is certainly not, and
            ``undecided`` if the limit lies in the range from `low_bytes` to `high_bytes`, or nothing is known.

        Raises:
            InvalidRequest: The limit is not an amount.
        """
        from concmem._figures.comparing import limit_range, verdict

        return verdict(self, *limit_range(limit))

    def __gt__(self, limit: Limit) -> bool:
        from concmem._figures.comparing import is_larger

        return is_larger(self, limit)

    def __ge__(self, limit: Limit) -> bool:
        from concmem._figures.comparing import is_larger

        return is_larger(self, limit, or_equal=True)

    def __le__(self, limit: Limit) -> bool:
        return not self > limit

    def __lt__(self, limit: Limit) -> bool:
        return not self >= limit

    def __str__(self) -> str:
        from concmem.units import format_bytes

        if self.bytes is None:
            return f"unavailable: {self.note}"
        margins = (("-", self.over_bytes), ("+", self.error_bytes))
        shown = " ".join(f"{sign}{format_bytes(size)}" for sign, size in margins if size)
        error = f" ({shown})" if shown else ""
        return f"{format_bytes(self.bytes)}{error}, {self.status.replace('_', ' ')}, from {self.source}"

    def _checked(self) -> Figure:
        if (self.bytes is None) != (self.status == "unavailable"):
            raise ValueError(f"a figure of {self.bytes} bytes cannot have the status {self.status}")
        if self.error_bytes < 0 or self.over_bytes < 0:
            raise ValueError("error_bytes and over_bytes must not be negative")
        return attrs.evolve(
            self,
            source=escape_text(self.source),
            note=escape_text(self.note),
            high_source=escape_text(self.high_source),
        )


@attrs.frozen
class Exit:
    """
    How the root process ended, and why.

    Attributes:
        code: Its exit code, or None if a signal ended it.
        signal: The number of the signal, or None if it exited. Both are None if it still runs, because it belongs to
            another user and could not be killed.
        reason: ``exited``; ``signaled``; ``oom``: a SIGKILL that concmem did not send, while the kernel's OOM killer
            killed processes (`OutOfMemory.certain` says whether that is proved); ``cgroup_limit``: the same, because
            of `cgroup_limit_bytes`; or concmem ended the tree: ``timeout`` (also if SIGTERM was enough, see
            `timeout_grace_s`), ``cpu_limit``, ``memory_limit``, ``processes_limit``, ``interrupted``.
    """

    code: int | None
    signal: int | None
    reason: Reason

    @property
    def status(self) -> int:
        """The exit code, or 128 + the number of the signal, as a shell's ``$?``; 125 if the root still runs."""
        from concmem.units import exit_status

        return exit_status(self.code, self.signal)

    @property
    def returncode(self) -> int | None:
        """As `subprocess.Popen.returncode`: the exit code, or -n if signal n ended it; None if the root still runs."""
        return self.code if self.signal is None else -self.signal

    @property
    def ok(self) -> bool:
        """Whether the root exited by itself with code 0."""
        return self.reason == "exited" and self.code == 0

    def __str__(self) -> str:
        from concmem.units import signal_name

        if self.signal is None:
            how = "could not be killed" if self.code is None else f"exit code {self.code}"
        else:
            number, name = f"signal {self.signal}", signal_name(self.signal)
            how = number if name == number else f"{number} ({name})"
        why = {
            "timeout": "timed out",
            "cpu_limit": "over the limit on CPU time",
            "processes_limit": "over the limit on processes",
            "memory_limit": "over the memory limit",
            "cgroup_limit": "over the limit of its control group",
            "interrupted": "interrupted",
            "oom": "out of memory",
        }
        return f"{how}, {why[self.reason]}" if self.reason in why else how


@attrs.frozen(field_transformer=escape_fields)
class OutOfMemory:
    """
    The processes of the tree that the kernel's OOM killer killed.

    Attributes:
        kills: How many.
        source: The counter: ``memory.events oom_kill`` or ``memory.oom_control oom_kill`` of the command's own control
            group, else ``/proc/vmstat oom_kill``.
        certain: False if the counter is that of the whole machine. A process of the tree then ended by a SIGKILL that
            concmem did not send.
        limit_bytes: The limit that concmem set for the command's own control group, if the group reached it; else None.
    """

    kills: int
    source: str
    certain: bool
    limit_bytes: int | None = None


@attrs.frozen
class Composition:
    """
    What the memory of the tree consisted of when the sum over its processes was largest. A page that several processes
    share counts for each of them.

    Kernel sources: statm, and ``RssShmem``, ``HugetlbPages`` and ``VmSwap`` of status.

    Attributes:
        anonymous_bytes: Heap, stacks, and other memory that belongs to no file; transparent huge pages included.
        file_bytes: Pages of files that are mapped: programs, libraries, data.
        shared_memory_bytes: Shared memory and files in memory (tmpfs, memfd) that are mapped.
        huge_pages_bytes: Pages of hugetlbfs. RSS does not include them.
        swapped_bytes: What was swapped out. RSS does not include it.
    """

    anonymous_bytes: int
    file_bytes: int
    shared_memory_bytes: int
    huge_pages_bytes: int
    swapped_bytes: int


def cpu_percent(cpu_s: float, wall_s: float) -> float:
    """Return CPU time as a percentage of a time: 100 is one CPU that was always busy. 0 if the time is 0."""
    return 100 * cpu_s / wall_s if wall_s > 0 else 0.0


@attrs.frozen
class Process:
    """
    One process of the tree.

    Attributes:
        pid, ppid: Its PID, and that of its parent when it was first seen.
        comm: Its name in the kernel (at most 15 bytes), after its last exec.
        argv: Its arguments, after its last exec; empty if it ended before they could be read.
        start_s: When it was first seen, in seconds from the start of the measurement.
        end_s: When its end was noticed; the end of the measurement if it still runs.
        peak: Its own high-water mark.
        user_s, system_s: Its CPU time and that of the children it waited for; None if the sampler neither reaped it nor
            received its exit record.
        argv_is_cut: Whether `argv` is incomplete: at most 4 KiB of arguments are kept of each process.
        minor_faults, major_faults: Its page faults and those of the children it waited for; None if the sampler neither
            reaped it nor received its exit record, like the next four. The exit record has no children.
        voluntary_switches, involuntary_switches: Its context switches: it waited, or another task had to run.
        read_bytes, written_bytes: What it read from storage and wrote to it. What the page cache had is not read.
        peak_uss_bytes: The largest reading of its own memory that no other process maps (USS); None if it was not read.
        peak_vms_bytes: The largest size of its address space (VMS), resident or not; None if it was not read.
    """

    pid: int
    ppid: int
    comm: str
    argv: tuple[str, ...]
    start_s: float
    end_s: float
    peak: Figure
    user_s: float | None = None
    system_s: float | None = None
    argv_is_cut: bool = False
    minor_faults: int | None = None
    major_faults: int | None = None
    voluntary_switches: int | None = None
    involuntary_switches: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    peak_uss_bytes: int | None = None
    peak_vms_bytes: int | None = None

    @property
    def cpu_percent(self) -> float | None:
        """Its CPU time as a percentage of the time from `start_s` to `end_s`; None if the CPU time is unknown."""
        if self.user_s is None or self.system_s is None:
            return None
        return cpu_percent(self.user_s + self.system_s, self.end_s - self.start_s)
