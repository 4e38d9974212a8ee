"""The records of a study: its programs, its runs, and the study itself."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal

import attrs
from attrs.validators import ge, le, optional

from concmem._escaping import escape_fields, escape_text
from concmem._files.names import NAME_RULE, check_name, is_name
from concmem.host import Host
from concmem.model import Exit, Figure, Measurement
from concmem.study.limits.kinds import MEMORY, Obstacle, is_near
from concmem.study.plan import MOST_TASKS, Cell, Plan, StudyError
from concmem.study.running.other_work import OtherWork

__all__ = ["Entry", "Run", "RunStatus", "Study", "run_path"]

RunStatus = Literal["ok", "failed", "skipped"]


@attrs.frozen(field_transformer=escape_fields)
class Entry:
    """
    One program of a study on one machine.

    Attributes:
        name, title, language, kind, variant, begins_together, remarks: As in its manifest.
        toolchain: The toolchain with its versions; "" if there is none.
        toolchain_name: The name of the toolchain in the language's manifest. Older files do not have it; then it is the
            first word of `toolchain`.
        missing: Why the program cannot run, with a command that helps; "" if it can run.
    """

    name: str = attrs.field(validator=check_name)
    title: str
    language: str
    kind: str
    variant: str
    begins_together: bool
    toolchain: str = ""
    missing: str = ""
    remarks: tuple[str, ...] = ()
    toolchain_name: str = attrs.field(
        default=attrs.Factory(lambda self: self.toolchain.partition(" ")[0], takes_self=True)
    )


@attrs.frozen(kw_only=True, field_transformer=escape_fields)
class Run:
    """
    One run of one program with one number of tasks.

    Attributes:
        program, tasks, index: The cell and the number of the repetition.
        status: ``ok`` (all tasks were alive at once, and it ended well), ``failed``, or ``skipped`` (never started).
        reason: One sentence, if the status is not ``ok``.
        reason_code: The kind of the reason, one of `ReasonCode`; "" if the status is ``ok``, and in older files.
        reason_limit: The limit that the reason names, in a few words; "" if it names none; None if the status is
            ``ok``, and in older files.
        sleep_s: How long the tasks slept: more than planned if launching took longer.
        attempts: How many times the program was started, with longer and longer sleeps.
        flags: Flags of the runtime that the table shows.
        launch_s: The time from the start of the program until it printed that all tasks are launched (with the workload
            ``spawn``: have ended), the start of the runtime included, or None.
        done_s: The time until it printed that all tasks are done, or None.
        alive: How many of its tasks were seen alive at once, if they are threads; others cannot be counted from
            outside.
        rate_per_s: Tasks started and ended per second (``spawn``), or messages handed over per second (``channel``);
            None if all took less than 10 ms, for which the arrival of lines is too inexact.
        plateau: The median RSS during the steady time: while all tasks sleep, after all have ended (``spawn``), while
            the message goes round (``channel``).
        left_over: How much more memory it held after its tasks than before them (``spawn``).
        peak_at_s: When the largest RSS was seen, from the start of the program.
        machine: The name of the machine (``uname -n``), which is its key in `Study.hosts`.
        instead_of: The planned number of tasks that could not run, for which this number was found.
        obstacles: Limits of the machine that this number of tasks would exceed, found before the start.
        last_lines: The last lines of both streams.
        exit: How it ended, or None if it was never started.
        other_work: The CPU time that others took during the run; None if unknown.
        measurement: The measurement, or None if it was never started. After a failed run it says nothing about
            `tasks` tasks: use `peak`.
    """

    program: str = attrs.field(validator=check_name)
    tasks: int = attrs.field(validator=[ge(1), le(MOST_TASKS)])
    index: int = attrs.field(validator=[ge(0), le(MOST_TASKS)])
    status: RunStatus
    reason: str = ""
    reason_code: str = ""
    reason_limit: str | None = attrs.field(default=None, converter=attrs.converters.optional(escape_text))
    sleep_s: float = attrs.field(validator=ge(0))
    attempts: int = attrs.field(default=0, validator=ge(0))
    flags: tuple[str, ...] = ()
    launch_s: float | None = attrs.field(default=None, validator=optional(ge(0)))
    done_s: float | None = attrs.field(default=None, validator=optional(ge(0)))
    alive: int | None = attrs.field(default=None, validator=optional(ge(0)))
    rate_per_s: float | None = attrs.field(default=None, validator=optional(ge(0)))
    plateau: Figure | None = None
    left_over: Figure | None = None
    peak_at_s: float | None = attrs.field(default=None, validator=optional(ge(0)))
    machine: str = ""
    instead_of: int | None = None
    obstacles: tuple[Obstacle, ...] = ()
    last_lines: tuple[str, ...] = ()
    exit: Exit | None = None
    other_work: OtherWork | None = None
    measurement: Measurement | None = attrs.field(default=None, repr=False)

    @property
    def was_busy(self) -> bool:
        """Whether the machine was busy with other work. Such a run judges no claim and has no rank."""
        return self.other_work is not None and self.other_work.is_busy

    @property
    def cell(self) -> Cell:
        """The run of the plan that this is."""
        return Cell(self.program, self.tasks, self.index)

    @property
    def overshoot_s(self) -> float | None:
        """By how much it ended later than the sleep of the task launched last; only for the workload ``sleep``."""
        if self.launch_s is None or self.done_s is None:
            return None
        return self.done_s - self.launch_s - self.sleep_s

    @property
    def named_limit(self) -> str:
        """The limit that the reason names, or ""; of a run in an older file, the one that its threads had reached."""
        if self.reason_limit is not None or self.status != "failed" or self.measurement is None:
            return self.reason_limit or ""
        threads = self.measurement.max_threads
        reached = (each for each in self.obstacles if each.name != MEMORY and is_near(threads, each.room))
        return next((f"{obstacle.name} is {obstacle.value}" for obstacle in reached), "")

    @property
    def peak(self) -> Figure | None:
        """The peak memory of exactly `tasks` tasks at once; None if the run did not have them."""
        return self.measurement.peak if self.status == "ok" and self.measurement is not None else None


def _check_time(_instance: object, field: attrs.Attribute[str], time: str) -> None:
    try:
        offset = datetime.datetime.fromisoformat(time).tzinfo
    except ValueError:
        offset = None
    if offset is None:
        raise ValueError(f"{field.name} must be an ISO 8601 time with its UTC offset, not {time!r}")


@attrs.frozen(kw_only=True, field_transformer=escape_fields)
class Study:
    """
    A stored study.

    Attributes:
        path: Its directory.
        plan: The plan, with its seed.
        host: The machine; with several, the first. All are of the same kind.
        hosts: The machines that took part, by their names.
        programs: The entry of each program.
        runs: The stored runs, in the order of the plan's programs, tasks and indexes.
        started_at: When the study was started, as ISO 8601 with its UTC offset.
        version: The version of concmem.
    """

    path: Path
    plan: Plan
    host: Host
    programs: tuple[Entry, ...]
    runs: tuple[Run, ...] = attrs.field(default=(), repr=False)
    started_at: str = attrs.field(validator=_check_time)
    version: str
    hosts: dict[str, Host] = attrs.field(factory=dict, repr=False)

    def timeline_path(self, run: Run) -> Path:
        """Return the path of a run's timeline."""
        return run_path(self.path, run.cell).with_suffix(".npz")


def run_path(directory: Path, cell: Cell) -> Path:
    """
    Return the path of a run's file; its timeline is beside it, with the ending ``.npz``.

    Raises:
        StudyError: The program's name is not a valid file name.
    """
    if not is_name(cell.program):
        raise StudyError(f"{cell.program!r} is not {NAME_RULE}")
    return directory / "runs" / f"{cell.program}-{cell.tasks}-{cell.index}.json"
