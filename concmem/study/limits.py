"""
What of the machine stops N threads: found out before they are started.

A thread takes a number from `kernel.pid_max` and counts against `kernel.threads-max`, against ``pids.max`` of every
control group around it and, of an ordinary user, against ``RLIMIT_NPROC``; its stack and the guard pages beside it
take mappings, of which an address space has `vm.max_map_count`. And it takes memory, most of it the kernel's own, which
no figure of RSS shows. Tasks of other kinds meet none of these.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

from concmem.facts import Host
from concmem.host import control_groups
from concmem.units import format_bytes

__all__ = ["KERNEL_BYTES_EACH", "MEMORY", "Limit", "Obstacle", "limits_here", "memory_limit", "obstacles"]

MEMORY = "memory"

KERNEL_BYTES_EACH = 28 << 10
"""
What the kernel keeps for a thread, measured with 10,000 of them: its stack (16 KiB), its task structures and the page
tables of a stack of its own.
"""
_MOST_PIDS = 1 << 22
_MOST = (1 << 30) - 1
_SLACK = 2048
"""What a runtime and the machine may start besides."""


@attrs.frozen
class Limit:
    """
    One limit on how many threads there can be.

    Attributes:
        name: As in documentation: ``kernel.pid_max``.
        value: What it is set to.
        file: Where it is set, or None where it is no file.
        most: What it can be set to.
        each: How many a thread takes.
        taken: How many are taken by others.
    """

    name: str
    value: int
    file: Path | None
    most: int
    each: int = 1
    taken: int = 0

    @property
    def room(self) -> int:
        """How many threads fit below it."""
        return max(0, self.value - self.taken) // self.each

    def needed(self, tasks: int) -> int:
        """What it must be for so many, and for what is started besides."""
        return tasks * self.each + self.taken + _SLACK


@attrs.frozen
class Obstacle:
    """
    What keeps a program from having N threads.

    Attributes:
        name: Of the limit.
        value: What it is set to.
        needed: What it would have to be.
        lift: The command that sets it to that; "" where nothing can.
    """

    name: str
    value: int
    needed: int
    lift: str = ""

    def __str__(self) -> str:
        if self.name == MEMORY:
            return f"{format_bytes(self.needed)} of memory are needed, {format_bytes(self.value)} are free"
        return f"{self.name} is {self.value}, {self.needed} are needed"


def limits_here(host: Host, mappings_each: int, root: str = "/", threads_of_others: int = 0) -> list[Limit]:
    """
    The limits of this machine that threads meet.

    Args:
        host: The machine, for the limits that are the process's own.
        mappings_each: How many mappings a thread of the program takes.
        root: What stands for the root of the file system.
        threads_of_others: How many threads the machine has already.
    """
    kernel, vm = Path(root, "proc/sys/kernel"), Path(root, "proc/sys/vm")
    found = [
        *_from_file("kernel.pid_max", kernel / "pid_max", _MOST_PIDS, taken=threads_of_others),
        *_from_file("kernel.threads-max", kernel / "threads-max", _MOST, taken=threads_of_others),
        *_from_file("vm.max_map_count", vm / "max_map_count", (1 << 31) - 1, each=mappings_each),
    ]
    for group, _ in control_groups("pids", str(Path(root, "proc/self"))):
        taken = _number(group / "pids.current") or 0
        found += _from_file(f"pids.max of {group}", group / "pids.max", _MOST, taken=taken)
    nproc = host.limits.get("nproc")
    if nproc is not None and os.geteuid() != 0:
        found.append(Limit("RLIMIT_NPROC", nproc, None, _MOST, taken=threads_of_others))
    return found


def memory_limit(each_bytes: int, free_bytes: int) -> Limit:
    """
    What is free, as a limit on threads.

    Args:
        each_bytes: What one has resident; what the kernel keeps for it (`KERNEL_BYTES_EACH`) comes on top.
        free_bytes: What can be used.
    """
    return Limit(MEMORY, free_bytes, None, free_bytes, each=each_bytes + KERNEL_BYTES_EACH)


def obstacles(limits: Sequence[Limit], tasks: int) -> list[Obstacle]:
    """Which of these limits so many threads would meet, the narrowest first."""
    met = [limit for limit in limits if limit.room < tasks]
    return [
        Obstacle(limit.name, limit.value, limit.needed(tasks), _command(limit, tasks))
        for limit in sorted(met, key=lambda limit: limit.room)
    ]


def _command(limit: Limit, tasks: int) -> str:
    needed = limit.needed(tasks)
    if needed > limit.most:
        return ""
    if limit.file is None:
        return f"ulimit -u {needed}"
    if limit.name.startswith(("kernel.", "vm.")):
        return f"sudo sysctl -w {limit.name}={needed}"
    return f"echo {needed} | sudo tee {limit.file}"


def _from_file(name: str, file: Path, most: int, *, each: int = 1, taken: int = 0) -> Iterator[Limit]:
    value = _number(file)
    if value is not None:
        yield Limit(name, value, file, most, each, taken)


def _number(file: Path) -> int | None:
    """None where there is no such file, or where it says "max"."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
