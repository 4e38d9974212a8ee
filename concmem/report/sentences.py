"""Sentences about a study that tables, charts and page share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import attrs

from concmem.study import Row, Study, largest_rows, rows
from concmem.study.limits.kinds import MEMORY, commands
from concmem.units import format_bytes, format_count

__all__ = ["STATUS_WORDS", "Note", "by_memory", "host_line", "lift_line", "method_line", "notes", "number_of"]

STATUS_WORDS = {
    "exact": "the kernel's own maximum, exact to the page",
    "bounded": "the truth lies between the figure minus the amount after the minus sign and the figure plus the amount "
    "after the plus sign; an amount that is not shown is 0",
    "sampled": "the largest reading: the truth is this or more; with a minus sign, this minus that amount or more",
    "upper_bound": "the truth is at most the figure plus the amount after the plus sign",
    "unavailable": "there is no figure",
}


def by_memory(study: Study) -> list[tuple[str, list[Row]]]:
    """
    Return the programs with their rows, least memory first.

    Programs are compared at the largest number of tasks, then at the next smaller one. At each size, programs that were
    only measured on a busy machine come after the others, and programs without a figure come last.
    """
    grouped: dict[str, list[Row]] = {}
    for row in rows(study):
        grouped.setdefault(row.program, []).append(row)

    def key(item: tuple[str, list[Row]]) -> list[tuple[bool, float]]:
        return [(not row.has_rank, row.median_bytes or float("inf")) for row in reversed(item[1])]

    return sorted(grouped.items(), key=key)


def host_line(study: Study) -> str:
    """Return the machine in one line."""
    host = study.host
    cpus = f"{host.cpus_allowed} CPU{'s' if host.cpus_allowed != 1 else ''}"
    if host.cpu_model:
        cpus += f" ({' '.join(host.cpu_model.split())})"
    parts = [f"Linux {host.kernel} {host.machine}", cpus, f"{format_bytes(host.memory_bytes)} of memory"]
    if host.distribution:
        parts.insert(0, host.distribution)
    parts.append(f"{format_bytes(host.swap_bytes)} of swap" if host.swap_bytes else "no swap")
    if host.memory_limit_bytes is not None:
        parts.append(f"control group limited to {format_bytes(host.memory_limit_bytes)}")
    return ", ".join(parts)


def method_line(among: Iterable[Row], *, ranged: str = "") -> str:
    """
    Return the number of runs of these rows, and the kernel interfaces that they were read from.

    Args:
        among: The rows.
        ranged: The words that say what shows the range of several runs, if anything does.
    """
    good = [row for row in among if row.median_bytes is not None]
    sources = sorted({source for row in good for source in row.source.split(" / ")})
    counts = {row.good_runs for row in good}
    times = "one run each"
    if max(counts, default=0) > 1:
        times = f"median of {'up to ' if len(counts) > 1 else ''}{max(counts)} runs"
        times += f" ({ranged})" if ranged else ""
    read = f", read from {'; '.join(sources)}" if sources else ""
    return f"Peak memory, {times}{read}"


def number_of(tasks: int) -> str:
    """Return a number of tasks as text: ``1 task``, ``10 000 tasks``."""
    return f"{format_count(tasks)} task{'' if tasks == 1 else 's'}"


@attrs.frozen
class Note:
    """
    A note on some cells of one program.

    Attributes:
        number: From 1, in order of appearance.
        program: The program's name.
        tasks: The numbers of tasks of these cells.
        text: The sentence.
    """

    number: int
    program: str
    tasks: tuple[int, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.program} at {', '.join(map(format_count, self.tasks))}: {self.text}"


def notes(study: Study, programs: Sequence[tuple[str, list[Row]]]) -> list[Note]:
    """Return why cells have no figure, and remarks on those that have one. Equal sentences are one note."""
    found: dict[tuple[str, str], list[int]] = {}
    largest = {(row.program, row.instead_of): row for row in largest_rows(study)}
    for program, program_rows in programs:
        for row in program_rows:
            for text in _remarks(row, study.plan.sleep_s, largest.get((program, row.tasks))):
                found.setdefault((program, text), []).append(row.tasks)
    return [Note(i, program, tuple(tasks), text) for i, ((program, text), tasks) in enumerate(found.items(), 1)]


def missing_line(study: Study) -> str:
    """Return which selected programs could not be built or run here at all, or ""."""
    missing = [entry.name for entry in study.programs if entry.missing]
    if not missing:
        return ""
    count = f"{len(missing)} of {len(study.programs)} selected programs"
    return f"Incomplete: {count} could not be run here: {', '.join(missing)}. The notes give the reasons"


def lift_line(study: Study) -> str:
    """Return the commands that raise the limits of the machine that stopped programs, or ""."""
    lifts = commands(
        obstacle
        for run in study.runs
        if run.status != "ok"
        # Limits that are reached after memory stop nothing.
        for obstacle in itertools.takewhile(lambda obstacle: obstacle.name != MEMORY, run.obstacles)
    )
    if not lifts:
        return ""
    return f"To allow more tasks: {'; '.join(lifts)}. concmem bench --lift-limits does this for one study"


def _busy_remark(row: Row) -> str:
    """Return a remark on runs that were made while the machine was busy, or ""."""
    if not row.busy_runs:
        return ""
    if row.is_busy:
        taken = f", which took up to {row.other_share:.0%} of the CPU time" if row.other_share else ""
        return f"the machine was busy with other work{taken}; the figure has no rank and is not used for claims"
    made = "made while the machine was busy with other work"
    if row.busy_runs == 1:
        return f"1 more run was {made}, and is not counted"
    return f"{row.busy_runs} more runs were {made}, and are not counted"


def _remarks(row: Row, planned_sleep_s: float, largest: Row | None) -> list[str]:
    remarks = []
    if row.status == "partly":
        remarks.append(f"{row.figure_runs} of {row.runs} runs have a figure; {row.reason}")
    elif row.reason:
        remarks.append(row.reason)
    if largest is not None and largest.median_bytes is not None:
        remarks.append(
            f"the largest number that ran is {format_count(largest.tasks)}, with {format_bytes(largest.median_bytes)}"
        )
    if busy := _busy_remark(row):
        remarks.append(busy)
    if row.is_wide and row.spread is not None:
        remarks.append(f"its runs range over {row.spread:.0%} of the median")
    if row.median_bytes is not None and row.sleep_s > planned_sleep_s:
        remarks.append(f"slept {row.sleep_s:g} s instead of {planned_sleep_s:g} s, so that all were alive at once")
    if row.flags:
        remarks.append(f"with {' '.join(row.flags)}")
    return [*remarks, *row.remarks]
