"""
What of the machine stops N tasks: found out before they are started.

A thread takes a number from `kernel.pid_max` and counts against `kernel.threads-max`, against ``pids.max`` of every
control group around it (systemd's ``TasksMax``) and, of an ordinary user, against ``RLIMIT_NPROC``. And it takes
memory, most of it the kernel's own, which no figure of RSS shows. A stack with guard pages beside it, of a thread or of
a fiber, takes mappings, of which an address space has `vm.max_map_count`. Tasks of other kinds meet none of these.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs
import psutil

from concmem._cgroup.limits import control_groups
from concmem._escaping import escape_fields
from concmem.drivers.programs import Program
from concmem.units import format_bytes

__all__ = ["KERNEL_BYTES_EACH", "MEMORY", "Limit", "Obstacle", "commands", "limits_here", "memory_limit", "obstacles"]

MEMORY = "memory"

KERNEL_BYTES_EACH = 28 << 10
"""
What the kernel keeps for a thread, measured with 10,000 of them: its stack (16 KiB), its task structures and the page
tables of a stack of its own.
"""
_MOST_PIDS = 1 << 22
_MOST_THREADS = (1 << 30) - 1
_MOST = (1 << 31) - 1
_SLACK = 2048
"""What a runtime and the machine may start or map besides."""


@attrs.frozen
class Limit:
    """
    One limit on how many tasks there can be.

    Attributes:
        name: As in documentation: ``kernel.pid_max``.
        value: What it is set to.
        file: Where it is set, or None where it is no file.
        most: What it can be set to.
        each: How many a task takes.
        taken: How many are taken by others.
        slack: How many are taken besides.
        of_machine: Whether it counts every thread of the machine.
    """

    name: str
    value: int
    file: Path | None
    most: int
    each: int = 1
    taken: int = 0
    slack: int = _SLACK
    of_machine: bool = False

    @property
    def room(self) -> int:
        """How many tasks fit below it."""
        return max(0, self.value - self.taken) // self.each

    def needed(self, tasks: int) -> int:
        """What it must be for so many, and for what there is besides."""
        return tasks * self.each + self.taken + self.slack


@attrs.frozen(field_transformer=escape_fields)
class Obstacle:
    """
    What keeps a program from having N tasks.

    Attributes:
        name: Of the limit.
        value: What it is set to.
        needed: What it would have to be.
        room: How many tasks fit below it.
        lift: The command that sets it to what is needed; "" where nothing can.
    """

    name: str
    value: int
    needed: int
    room: int
    lift: str = ""

    def __str__(self) -> str:
        if self.name == MEMORY:
            return f"{format_bytes(self.needed)} of memory are needed, {format_bytes(self.value)} are free"
        return f"{self.name} is {self.value}, {self.needed} are needed"


def limits_here(programs: Iterable[Program], *, of_others: int, root: str = "/") -> list[Limit]:
    """
    The limits of this machine that tasks of any of these programs meet.

    Args:
        programs: Which.
        of_others: How many threads the machine has already.
        root: What stands for the root of the file system.
    """
    meant = list(programs)
    threads = any(program.kind == "thread" for program in meant)
    mappings = max((program.mappings for program in meant), default=0)
    kernel, vm = Path(root, "proc/sys/kernel"), Path(root, "proc/sys/vm")
    found: list[Limit] = []
    if threads:
        for name, most in (("pid_max", _MOST_PIDS), ("threads-max", _MOST_THREADS)):
            found += _from_file(f"kernel.{name}", kernel / name, most, taken=of_others, of_machine=True)
    if mappings:
        found += _from_file("vm.max_map_count", vm / "max_map_count", _MOST, each=mappings)
    if threads:
        for group, _ in control_groups("pids", str(Path(root, "proc/self"))):
            taken = _number(group / "pids.current") or 0
            found += _from_file(f"pids.max of {group}", group / "pids.max", _MOST_PIDS, taken=taken)
        found += _of_user()
    return found


def _of_user() -> Iterator[Limit]:
    """What an ordinary user may have; the kernel holds nobody to it who is root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if os.geteuid() == 0 or soft == resource.RLIM_INFINITY:
        return
    own = [each.info for each in psutil.process_iter(["uids", "num_threads"])]
    taken = sum(info["num_threads"] or 0 for info in own if info["uids"] and info["uids"].real == os.getuid())
    yield Limit("RLIMIT_NPROC", soft, None, _MOST if hard == resource.RLIM_INFINITY else hard, taken=taken)


def memory_limit(each_bytes: int, free_bytes: int) -> Limit:
    """
    What is free, as a limit on threads.

    Args:
        each_bytes: What one has resident; what the kernel keeps for it (`KERNEL_BYTES_EACH`) comes on top.
        free_bytes: What can be used.
    """
    return Limit(MEMORY, free_bytes, None, free_bytes, each=each_bytes + KERNEL_BYTES_EACH, slack=0)


def obstacles(limits: Sequence[Limit], tasks: int) -> list[Obstacle]:
    """Which of these limits so many tasks would meet, the narrowest first."""
    met = [limit for limit in limits if limit.room < tasks]
    return [
        Obstacle(limit.name, limit.value, limit.needed(tasks), limit.room, _command(limit, tasks))
        for limit in sorted(met, key=lambda limit: limit.room)
    ]


def commands(met: Iterable[Obstacle]) -> list[str]:
    """What lifts all of these, a command a limit; empty where nothing does."""
    widest: dict[str, Obstacle] = {}
    for obstacle in met:
        if obstacle.lift and (obstacle.name not in widest or obstacle.needed > widest[obstacle.name].needed):
            widest[obstacle.name] = obstacle
    return [obstacle.lift for obstacle in widest.values()]


def _command(limit: Limit, tasks: int) -> str:
    needed = limit.needed(tasks)
    if needed > limit.most:
        return ""
    if limit.file is None:
        return f"ulimit -u {needed}"
    if limit.name.startswith(("kernel.", "vm.")):
        return f"sudo sysctl -w {limit.name}={needed}"
    return f"echo {needed} | sudo tee {limit.file}"


def _from_file(
    name: str, file: Path, most: int, *, each: int = 1, taken: int = 0, of_machine: bool = False
) -> Iterator[Limit]:
    value = _number(file)
    if value is not None:
        yield Limit(name, value, file, most, each, taken, of_machine=of_machine)


def _number(file: Path) -> int | None:
    """None where there is no such file, or where it says "max"."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
