"""What tables and figures say alike about a study."""

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
    "bounded": "the truth lies between the figure less the amount after the minus sign and the figure plus the one "
    "after the plus sign; an amount that is not there is 0",
    "sampled": "the largest reading: the truth is that or more, where a minus sign stands less the amount after it",
    "upper_bound": "the truth is that, and the amount after the plus sign, or less",
    "unavailable": "there is no figure",
}


def by_memory(study: Study) -> list[tuple[str, list[Row]]]:
    """
    Programs with their rows, the one that needs least first.

    Compared at the largest number of tasks, then at the next smaller one. A program that has no figure at a size comes
    last there; before it, those that were measured on a busy machine alone.
    """
    grouped: dict[str, list[Row]] = {}
    for row in rows(study):
        grouped.setdefault(row.program, []).append(row)

    def key(item: tuple[str, list[Row]]) -> list[tuple[bool, float]]:
        return [(not row.has_rank, row.median_bytes or float("inf")) for row in reversed(item[1])]

    return sorted(grouped.items(), key=key)


def host_line(study: Study) -> str:
    """The machine in one line."""
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
    How often, and from which kernel interfaces, these rows were read.

    Args:
        among: The rows.
        ranged: What shows the range of several runs, if anything does.
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
    """``1 task``, ``10 000 tasks``."""
    return f"{format_count(tasks)} task{'' if tasks == 1 else 's'}"


@attrs.frozen
class Note:
    """
    What a reader must know about some cells of one program.

    Attributes:
        number: From 1, in order of appearance.
        program: The program's name.
        tasks: The numbers of tasks that it is about.
        text: The sentence.
    """

    number: int
    program: str
    tasks: tuple[int, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.program} at {', '.join(map(format_count, self.tasks))}: {self.text}"


def notes(study: Study, programs: Sequence[tuple[str, list[Row]]]) -> list[Note]:
    """Why cells have no figure, and what is special about those that have one; equal sentences are put together."""
    found: dict[tuple[str, str], list[int]] = {}
    largest = {(row.program, row.instead_of): row for row in largest_rows(study)}
    for program, program_rows in programs:
        for row in program_rows:
            for text in _remarks(row, study.plan.sleep_s, largest.get((program, row.tasks))):
                found.setdefault((program, text), []).append(row.tasks)
    return [Note(i, program, tuple(tasks), text) for i, ((program, text), tasks) in enumerate(found.items(), 1)]


def missing_line(study: Study) -> str:
    """Which programs that were asked for could not be made or run here at all; "" where all could."""
    missing = [entry.name for entry in study.programs if entry.missing]
    if not missing:
        return ""
    count = f"{len(missing)} of the {len(study.programs)} programs that were asked for"
    return f"Incomplete: {count} could not be run here: {', '.join(missing)}. The notes say why"


def lift_line(study: Study) -> str:
    """The commands that would let more tasks run, where limits of the machine stopped some; "" where none did."""
    lifts = commands(
        obstacle
        for run in study.runs
        if run.status != "ok"
        # Limits wider than memory stop nothing.
        for obstacle in itertools.takewhile(lambda obstacle: obstacle.name != MEMORY, run.obstacles)
    )
    if not lifts:
        return ""
    return f"To let more tasks run: {'; '.join(lifts)}. concmem bench --lift-limits does it for one study"


def _busy_remark(row: Row) -> str:
    """What a reader must know of runs that were made while the machine was busy; "" where none was."""
    if not row.busy_runs:
        return ""
    taken = f": others took up to {row.other_share:.0%} of the CPU time" if row.is_busy and row.other_share else ""
    if row.is_busy:
        return f"the machine was busy with other work{taken}; it has no rank and judges no claim"
    were = "1 more run was" if row.busy_runs == 1 else f"{row.busy_runs} more runs were"
    return f"{were} made while the machine was busy with other work, and count for nothing"


def _remarks(row: Row, planned_sleep_s: float, largest: Row | None) -> list[str]:
    remarks = []
    if row.status == "partly":
        remarks.append(f"{row.figure_runs} of {row.runs} runs have a figure; {row.reason}")
    elif row.reason:
        remarks.append(row.reason)
    if largest is not None and largest.median_bytes is not None:
        remarks.append(
            f"the largest number that ran is {format_count(largest.tasks)}: {format_bytes(largest.median_bytes)}"
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
