"""What the tasks of a program do, and what the program says meanwhile."""

from __future__ import annotations

import re
from collections.abc import Collection

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

    def parse(self, line: str) -> tuple[str, str] | None:
        """One of the words and the number behind it; None for any other line."""
        word, _, count = line.partition(" ")
        return (word, count) if word in self.words and re.fullmatch(r"[0-9]{1,18}", count) else None

    def wrong(self, word: str, count: str, tasks: int, said: Collection[str]) -> str:
        """What is wrong with that, once these words have been said; "" where it had to come."""
        if len(said) == len(self.words):
            return f"said '{word} {count}' after it was done"
        expected = self.words[len(said)]
        if word != expected or (word != _COUNTED and count != str(tasks)):
            return f"said '{word} {count}' where '{self.line(expected, tasks)}' had to come"
        return ""


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
