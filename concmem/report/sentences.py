"""Sentences about a study that tables, charts and page share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from concmem.study import Row, Study
from concmem.study.limits.kinds import MEMORY, commands
from concmem.study.results.row import joined
from concmem.units import format_bytes, format_count, format_error

__all__ = ["STATUS_WORDS", "errors_text", "host_line", "lift_line", "method_line", "missing_line", "number_of"]

STATUS_WORDS = {
    "exact": "the kernel's own maximum, exact to the page",
    "bounded": "the true amount lies between two ends. The lower end is the figure less the error with a minus sign, "
    "the upper end is the figure plus the error with a plus sign. An error that is not shown is 0",
    "sampled": "the largest reading. The true amount is the figure or more. If an error with a minus sign is shown, it "
    "is the figure less this error, or more",
    "upper_bound": "the true amount is at most the figure plus the error with a plus sign",
    "unavailable": "there is no figure",
}


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
        ranged: What shows the range of several runs, such as "lines show their range"; "" if nothing does.
    """
    good = [row for row in among if row.median_bytes is not None]
    sources = sorted({source for row in good for source in row.sources})
    counts = {row.good_runs for row in good}
    times = "one run each"
    if max(counts, default=0) > 1:
        times = f"median of {'up to ' if len(counts) > 1 else ''}{max(counts)} runs"
        times += f" ({ranged})" if ranged else ""
    read = f", read from {'; '.join(sources)}" if sources else ""
    return f"Peak memory, {times}{read}"


def errors_text(row: Row) -> str:
    """Return by how much the truth may differ from a row's figure: one text for each of its statuses."""
    return joined(format_error(status, row.error_bytes, row.over_bytes) for status in row.figure_statuses)


def number_of(tasks: int) -> str:
    """Return a number of tasks as text: ``1 task``, ``10 000 tasks``."""
    return f"{format_count(tasks)} task{'' if tasks == 1 else 's'}"


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
        # Memory is reached first: it stops the program, so the limits after it do not matter.
        for obstacle in itertools.takewhile(lambda obstacle: obstacle.name != MEMORY, run.obstacles)
    )
    if not lifts:
        return ""
    return f"To allow more tasks: {'; '.join(lifts)}. concmem bench --lift-limits does this for one study"
