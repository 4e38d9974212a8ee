"""
The limits of the machine that stop N tasks, found before these are started.

A thread takes a PID below `kernel.pid_max`. It counts against `kernel.threads-max`, against ``pids.max`` of every
enclosing control group (systemd's ``TasksMax``) and, without root, against ``RLIMIT_NPROC``. It also takes memory, most
of it the kernel's own, which RSS does not show. The stack of a thread or of a fiber, with its guard pages, takes
mappings; an address space has at most `vm.max_map_count`. Tasks of other kinds meet none of these limits.
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

__all__ = [
    "KERNEL_BYTES_EACH",
    "MEMORY",
    "Limit",
    "Obstacle",
    "commands",
    "is_near",
    "limits_here",
    "memory_limit",
    "obstacles",
]

MEMORY = "memory"

KERNEL_BYTES_EACH = 28 << 10
"""
Kernel memory of one thread, measured with 10,000 threads: its kernel stack (16 KiB), its task structures and the page
tables of its user stack.
"""
_MOST_PIDS = 1 << 22
_MOST_THREADS = (1 << 30) - 1
_MOST = (1 << 31) - 1
_NEAR = 0.98
_SLACK = 2048
"""Allowance for other threads and mappings of the runtime and the machine."""


def is_near(used: int, limit: int) -> bool:
    """Return whether a limit has been reached: what is used is within 2 % of it."""
    return _NEAR * limit <= used <= limit / _NEAR


@attrs.frozen
class Limit:
    """
    One limit on the number of tasks.

    Attributes:
        name: The name in its documentation: ``kernel.pid_max``.
        value: Its current value.
        file: The file that sets it, or None if no file does.
        most: The highest value that it can be set to.
        each: How much of it a task takes.
        taken: How much of it others have taken.
        slack: An allowance for anything else that takes from it.
        of_machine: Whether it counts every thread of the machine.
        is_sysctl: Whether sysctl(8) sets it.
    """

    name: str
    value: int
    file: Path | None
    most: int
    each: int = 1
    taken: int = 0
    slack: int = _SLACK
    of_machine: bool = False
    is_sysctl: bool = False

    @property
    def room(self) -> int:
        """The number of tasks that fit under it."""
        return max(0, self.value - self.taken) // self.each

    def needed(self, tasks: int) -> int:
        """Return the value that this number of tasks needs, others and the allowance included."""
        return tasks * self.each + self.taken + self.slack


@attrs.frozen(field_transformer=escape_fields)
class Obstacle:
    """
    A limit that N tasks of a program would exceed.

    Attributes:
        name: The name of the limit.
        value: Its current value.
        needed: The value that N tasks need.
        room: The number of tasks that fit under it.
        lift: The command that sets it to `needed`; "" if it cannot be set so high.
    """

    name: str
    value: int
    needed: int
    room: int
    lift: str = ""

    def __str__(self) -> str:
        if self.name == MEMORY:
            return f"{format_bytes(self.needed)} of memory is needed, {format_bytes(self.value)} is free"
        return f"{self.name} is {self.value}, but {self.needed} is needed"


def limits_here(programs: Iterable[Program], *, of_others: int, root: str = "/") -> list[Limit]:
    """
    Return the limits of this machine that apply to tasks of any of these programs.

    Args:
        programs: The programs.
        of_others: The number of threads that the machine has already.
        root: The root of the file system; tests give another folder.
    """
    programs = list(programs)
    threads = any(program.kind == "thread" for program in programs)
    mappings = max((program.mappings for program in programs), default=0)
    kernel, vm = Path(root, "proc/sys/kernel"), Path(root, "proc/sys/vm")
    limits: list[Limit] = []
    if threads:
        for name, most in (("pid_max", _MOST_PIDS), ("threads-max", _MOST_THREADS)):
            limits += _from_file(
                f"kernel.{name}", kernel / name, most, taken=of_others, of_machine=True, is_sysctl=True
            )
    if mappings:
        limits += _from_file("vm.max_map_count", vm / "max_map_count", _MOST, each=mappings, is_sysctl=True)
    if threads:
        for group, _ in control_groups("pids", str(Path(root, "proc/self"))):
            taken = _number(group / "pids.current") or 0
            limits += _from_file(f"pids.max of {group}", group / "pids.max", _MOST_PIDS, taken=taken)
        limits += _of_user()
    return limits


def _of_user() -> Iterator[Limit]:
    """Yield the limit on the threads of the user. The kernel does not apply it to root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    if os.geteuid() == 0 or soft == resource.RLIM_INFINITY:
        return
    processes = [process.info for process in psutil.process_iter(["uids", "num_threads"])]
    taken = sum(info["num_threads"] or 0 for info in processes if info["uids"] and info["uids"].real == os.getuid())
    yield Limit("RLIMIT_NPROC", soft, None, _MOST if hard == resource.RLIM_INFINITY else hard, taken=taken)


def memory_limit(each_bytes: int, free_bytes: int) -> Limit:
    """
    Return the free memory as a limit on threads.

    Args:
        each_bytes: The resident memory of one thread; its kernel memory (`KERNEL_BYTES_EACH`) is added.
        free_bytes: The memory that can be used.
    """
    return Limit(MEMORY, free_bytes, None, free_bytes, each=each_bytes + KERNEL_BYTES_EACH, slack=0)


def obstacles(limits: Sequence[Limit], tasks: int) -> list[Obstacle]:
    """Return the limits that this number of tasks would exceed, the narrowest first."""
    exceeded = [limit for limit in limits if limit.room < tasks]
    return [
        Obstacle(limit.name, limit.value, limit.needed(tasks), limit.room, _command(limit, tasks))
        for limit in sorted(exceeded, key=lambda limit: limit.room)
    ]


def commands(found: Iterable[Obstacle]) -> list[str]:
    """Return the commands that raise these limits, one for each limit that can be raised."""
    highest: dict[str, Obstacle] = {}
    for obstacle in found:
        if obstacle.lift and (obstacle.name not in highest or obstacle.needed > highest[obstacle.name].needed):
            highest[obstacle.name] = obstacle
    return [obstacle.lift for obstacle in highest.values()]


def _command(limit: Limit, tasks: int) -> str:
    needed = limit.needed(tasks)
    if needed > limit.most:
        return ""
    if limit.file is None:
        return f"ulimit -u {needed}"
    if limit.is_sysctl:
        return f"sudo sysctl -w {limit.name}={needed}"
    return f"echo {needed} | sudo tee {limit.file}"


def _from_file(
    name: str,
    file: Path,
    most: int,
    *,
    each: int = 1,
    taken: int = 0,
    of_machine: bool = False,
    is_sysctl: bool = False,
) -> Iterator[Limit]:
    value = _number(file)
    if value is not None:
        yield Limit(name, value, file, most, each, taken, of_machine=of_machine, is_sysctl=is_sysctl)


def _number(file: Path) -> int | None:
    """Return the number in a file; None if there is no such file or it holds "max"."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
