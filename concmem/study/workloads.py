"""What the tasks of a program do, and the lines that the program prints."""

from __future__ import annotations

import re
from collections.abc import Collection

import attrs

from concmem.errors import InvalidRequest

__all__ = ["WORKLOADS", "Workload", "workload"]


@attrs.frozen
class Workload:
    """
    One kind of work for a program's tasks.

    A program is started with the number of tasks and a number of seconds. It prints one line for each of `words`, the
    word and a count, in this order, and nothing else. It exits with 0.

    Attributes:
        name: Its name on the command line.
        title: What the tasks do, with ``{seconds}`` in it.
        words: The words. The count is the number of tasks; for ``passed`` it is the number of messages.
        launched: The word that is printed when all tasks have been launched.
        begins: The word that begins the steady time, over which `plateau` is taken.
        ends: The word that ends the steady time, if nothing ends it earlier.
        rate: The two words between which time is taken for `Run.rate_per_s`; the count is that of the second.
        rate_of: What the rate counts; "" without a rate.
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
        """Return the line with that word in a run with this number of tasks."""
        return f"{word} {'M' if word == _COUNTED else tasks}"

    def parse(self, line: str) -> tuple[str, str] | None:
        """Return the word and the number of a line; None if the line does not belong to the workload."""
        word, _, count = line.partition(" ")
        return (word, count) if word in self.words and re.fullmatch(r"[0-9]{1,18}", count) else None

    def wrong(self, word: str, count: str, tasks: int, printed: Collection[str]) -> str:
        """Say why this line is wrong after the words that were printed before; "" if it is the expected one."""
        if len(printed) == len(self.words):
            return f"printed '{word} {count}' after its last expected line"
        expected = self.words[len(printed)]
        if word != expected or (word != _COUNTED and count != str(tasks)):
            return f"printed '{word} {count}' where '{self.line(expected, tasks)}' was expected"
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
"""The workloads by name. Every language has a program for ``sleep``."""


def workload(name: str) -> Workload:
    """
    Return the workload of that name.

    Raises:
        InvalidRequest: There is no such workload.
    """
    if name not in WORKLOADS:
        raise InvalidRequest(f"there is no workload {name!r}; there are: {', '.join(WORKLOADS)}")
    return WORKLOADS[name]
