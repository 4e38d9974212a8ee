"""Whether a run fits into the free memory of this machine, and how much of it the run may use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from concmem.drivers.programs import Program
from concmem.study.limits.kinds import KERNEL_BYTES_EACH, Limit, memory_limit
from concmem.study.limits.memory import available_bytes, each_bytes, estimate_bytes, margin_bytes
from concmem.study.plan import Cell
from concmem.study.running.reasons import Reason
from concmem.study.store.records import Run
from concmem.units import format_bytes, format_count

__all__ = ["thread_memory_limit", "too_large", "tree_limit_bytes"]


def tree_limit_bytes(tasks: int, kind: str) -> int:
    """Return the memory limit of the tree; threads must leave memory for their kernel stacks and structures."""
    kernel_bytes = tasks * KERNEL_BYTES_EACH if kind == "thread" else 0
    return max(1, available_bytes() - margin_bytes() - min(kernel_bytes, available_bytes() // 2))


def thread_memory_limit(program: Program, earlier_runs: Sequence[Run]) -> Iterator[Limit]:
    """Yield the free memory as a limit if the tasks are threads, whose kernel memory RSS does not show."""
    if program.kind == "thread":
        yield memory_limit(each_bytes(earlier_runs, program.name), max(0, available_bytes() - margin_bytes()))


def too_large(cell: Cell, earlier_runs: Sequence[Run]) -> Reason | None:
    """Return why a run would not fit into the machine's memory; None if it fits or no estimate is possible."""
    estimate = estimate_bytes(earlier_runs, cell.program, cell.tasks)
    if estimate is None:
        return None
    needed, basis = estimate
    free = available_bytes()
    if needed <= free - margin_bytes():
        return None
    if failed := _failed_before(cell, earlier_runs):
        # An estimate from smaller runs says nothing about a size that fails for another reason.
        sentence = f"not tried: it failed with {format_count(failed.tasks)} tasks: {failed.reason}"
        return Reason("smaller_failed", sentence, failed.named_limit)
    needs = f"{format_count(cell.tasks)} tasks would need about {format_bytes(needed)}, estimated from {basis}"
    limit = f"{format_bytes(free)} is free, and {format_bytes(margin_bytes())} of it must stay free"
    return Reason("too_large", f"{needs}; {limit}", limit)


def _failed_before(cell: Cell, earlier_runs: Sequence[Run]) -> Run | None:
    """Return a failed run of the largest smaller size at which no run of the program succeeded, or None."""
    runs = [run for run in earlier_runs if run.program == cell.program and run.tasks < cell.tasks]
    good = {run.tasks for run in runs if run.status == "ok"}
    failed = [run for run in runs if run.status == "failed" and run.tasks not in good]
    return max(failed, key=lambda run: run.tasks, default=None)
