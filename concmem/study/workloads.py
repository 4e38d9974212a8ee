"""What the tasks of a program do, and what the program says meanwhile."""

from __future__ import annotations

import re

import attrs

from concmem.errors import InvalidRequest

__all__ = ["WORKLOADS", "Workload", "workload"]


@attrs.frozen
class Workload:
    """
    One way to use a program's tasks.

    A program is started with the number of tasks and a number of seconds; it says one line for each of `words`, the
    word and a count, in this order, and nothing else; it exits with 0.

    Attributes:
        name: What the command line calls it.
        title: What the tasks do, with ``{seconds}`` in it.
        words: What it says. The count is the number of tasks, but of ``passed`` the number of messages.
        launched: The word with which all that the tasks' start needs is over.
        begins: The word with which the steady time begins, over which `plateau` is taken.
        ends: The word with which it ends at the latest.
        rate: The words between which time is taken for `Run.rate_per_s`, the count being that of the second.
        rate_of: What that counts; "" where there is no rate.
    """

    name: str
    title: str
    words: tuple[str, ...]
    launched: str
    begins: str
    ends: str
    rate: tuple[str, str] | None = None
    rate_of: str = ""

    def line(self, word: str, tasks: int) -> str:
        """The line with that word in a run with so many tasks."""
        return f"{word} {'M' if word == _COUNTED else tasks}"

    def parse(self, line: str, tasks: int) -> tuple[str, int] | None:
        """The word and the count of a line that belongs to a run with so many tasks; None for any other line."""
        word, _, count = line.partition(" ")
        if word not in self.words or not re.fullmatch(r"[0-9]{1,18}", count):
            return None
        return (word, int(count)) if word == _COUNTED or count == str(tasks) else None


_COUNTED = "passed"
WORKLOADS = {
    each.name: each
    for each in (
        Workload(
            name="sleep",
            title="tasks that sleep {seconds:g} s, all alive at once",
            words=("started", "done"),
            launched="started",
            begins="started",
            ends="done",
        ),
        Workload(
            name="spawn",
            title="tasks that end at once; then {seconds:g} s of rest",
            words=("ready", "ended", "done"),
            launched="ended",
            begins="ended",
            ends="done",
            rate=("ready", "ended"),
            rate_of="tasks",
        ),
        Workload(
            name="channel",
            title="tasks that pass a message round a ring for {seconds:g} s",
            words=("started", "passed", "done"),
            launched="started",
            begins="started",
            ends="passed",
            rate=("started", "passed"),
            rate_of="messages",
        ),
    )
}
"""By name; a program that sleeps is what every language has."""


def workload(name: str) -> Workload:
    """
    The workload of that name.

    Raises:
        InvalidRequest: There is none.
    """
    if name not in WORKLOADS:
        raise InvalidRequest(f"there is no workload {name!r}; there are: {', '.join(WORKLOADS)}")
    return WORKLOADS[name]
