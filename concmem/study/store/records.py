"""What a study keeps: of each program, of each run, and of all together."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Literal

import attrs
from attrs.validators import ge, le, optional

from concmem._escaping import escape_fields
from concmem._files.names import NAME_RULE, check_name, is_name
from concmem.host import Host
from concmem.model import Exit, Figure, Measurement
from concmem.study.limits.kinds import Obstacle
from concmem.study.plan import MOST_TASKS, Cell, Plan, StudyError
from concmem.study.running.other_work import OtherWork

__all__ = ["Entry", "Run", "RunStatus", "Study", "run_path"]

RunStatus = Literal["ok", "failed", "skipped"]


@attrs.frozen(field_transformer=escape_fields)
class Entry:
    """
    One program of a study, as it was found on this machine.

    Attributes:
        name, title, language, kind, variant, begins_together, remarks: As in its manifest.
        toolchain: What builds and runs it, with versions; "" where there is none.
        missing: Why it cannot run here, with the command that would change that; "" where it can.
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


@attrs.frozen(kw_only=True, field_transformer=escape_fields)
class Run:
    """
    One run of one program with one number of tasks.

    Attributes:
        program, tasks, index: Which run.
        status: ``ok`` (all tasks were alive at once, and it ended well), ``failed``, or ``skipped`` (never started).
        reason: One sentence, where the status is not ``ok``.
        sleep_s: How long the tasks slept in the end: more than planned where launching took longer.
        attempts: How many times it was started for that.
        flags: Flags of the runtime that belong to the row.
        launch_s: From the start of the program until it said that all tasks are launched (of the workload ``spawn``:
            have ended): the time that launching took, the runtime's own start included, or None.
        done_s: Until it said that all tasks are done, or None.
        alive: How many of its tasks were seen alive at once, where they can be counted from outside: threads.
        rate_per_s: Tasks started and ended a second (``spawn``), messages handed over a second (``channel``); None
            where all took less than 10 ms, for which the arrival of lines is no clock.
        plateau: The median RSS while nothing should happen: while all tasks sleep, after all have ended
            (``spawn``), while the message goes round (``channel``).
        left_over: How much more it held after its tasks than before them (``spawn``).
        peak_at_s: When the largest RSS was seen, from the start of the program.
        machine: The name of the machine that made it (``uname -n``), by which `Study.hosts` describes it.
        instead_of: The planned number of tasks in whose place, as it could not run, this number was found.
        obstacles: Limits of the machine that so many threads would meet, found before the start.
        last_lines: The end of what it wrote, both streams.
        exit: How it ended, or None where it was never started.
        other_work: What others took of the CPUs meanwhile; None where that is not known.
        measurement: What it needed, or None where it was never started. Of a failed run it says nothing about
            `tasks` tasks: use `peak`.
    """

    program: str = attrs.field(validator=check_name)
    tasks: int = attrs.field(validator=[ge(1), le(MOST_TASKS)])
    index: int = attrs.field(validator=[ge(0), le(MOST_TASKS)])
    status: RunStatus
    reason: str = ""
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
        """Whether the machine was busy with other work meanwhile: then it judges no claim, and has no rank."""
        return self.other_work is not None and self.other_work.is_busy

    @property
    def cell(self) -> Cell:
        """Which run of the plan this is."""
        return Cell(self.program, self.tasks, self.index)

    @property
    def overshoot_s(self) -> float | None:
        """By how much its end came later than the last launched task's sleep allows; only of the workload ``sleep``."""
        if self.launch_s is None or self.done_s is None:
            return None
        return self.done_s - self.launch_s - self.sleep_s

    @property
    def peak(self) -> Figure | None:
        """What `tasks` tasks needed at once; None unless the run is one of exactly so many."""
        return self.measurement.peak if self.status == "ok" and self.measurement is not None else None


def _check_time(_instance: object, field: attrs.Attribute[str], time: str) -> None:
    try:
        offset = datetime.datetime.fromisoformat(time).tzinfo
    except ValueError:
        offset = None
    if offset is None:
        raise ValueError(f"{field.name}: {time!r} is not a time of ISO 8601 with its UTC offset")


@attrs.frozen(kw_only=True, field_transformer=escape_fields)
class Study:
    """
    A stored study.

    Attributes:
        path: Its directory.
        plan: What was to be run, the seed included.
        host: The machine; of several, which are all of its kind, the first.
        hosts: The machines that took part, by their names.
        programs: What was found of each program.
        runs: The runs that are there, in the order of the plan's programs, tasks and indexes.
        started_at: When it was begun, as ISO 8601 with its UTC offset.
        version: Of concmem.
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
        """Where the timeline of a run is stored."""
        return run_path(self.path, run.cell).with_suffix(".npz")


def run_path(directory: Path, cell: Cell) -> Path:
    """
    Where a run is stored; its timeline lies beside it, with the ending ``.npz``.

    Raises:
        StudyError: The program's name would lead to another folder.
    """
    if not is_name(cell.program):
        raise StudyError(f"{cell.program!r} is not {NAME_RULE}")
    return directory / "runs" / f"{cell.program}-{cell.tasks}-{cell.index}.json"
