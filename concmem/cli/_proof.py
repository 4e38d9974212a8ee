"""The table of programs of known size: one row per program, one column per source, the worst error in each cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from concmem._native.source_table import source_entries
from concmem.units import format_bytes, format_count

if TYPE_CHECKING:
    from concmem.doctor.checkup import Check, Checkup

__all__ = ["by_program", "markdown_table", "proof_columns", "signed", "truth_of", "worst_error"]

_MARKS = {"status": "marks"}
"""What doctor calls figures from the kernel's high-water marks: VmHWM in ``status``, and ``ru_maxrss``."""


def proof_columns() -> dict[str, str]:
    """Return the sources that known programs prove, as `Check.source` names them, with the titles of their columns."""
    table = source_entries().values()
    return {_MARKS.get(entry.name, entry.name): entry.proof_column for entry in table if entry.proof_column}


_UNITS = ((1 << 20, "M"), (1 << 10, "K"))


def signed(size_bytes: int) -> str:
    """Format a signed size for a cell: ``-28_672`` -> ``"-28K"``."""
    for unit, letter in _UNITS:
        if abs(size_bytes) >= unit:
            count = size_bytes / unit
            return f"{count:+.1f}{letter}" if letter == "M" and abs(count) < 10 else f"{count:+.0f}{letter}"
    return "0" if size_bytes == 0 else f"{size_bytes:+d}"


def by_program(checkup: Checkup) -> dict[str, list[Check]]:
    """Group checks by program, in the order of the programs."""
    found: dict[str, list[Check]] = {}
    for check in checkup.checks:
        found.setdefault(check.program, []).append(check)
    return found


def truth_of(checks: Sequence[Check]) -> str:
    """Return the known footprint of the whole tree, or "-"."""
    truths = {check.figure: check.truth_bytes for check in checks}
    size = truths.get("peak")
    return "-" if size is None else format_bytes(size)


def worst_error(checks: Sequence[Check]) -> tuple[str, bool | None]:
    """Return the largest error (in brackets if no check was judged), and whether all checks held; None: none judged."""
    with_error = [check for check in checks if check.error_bytes is not None]
    if not with_error:
        return "-", None if all(check.ok is None for check in checks) else all(
            check.ok is not False for check in checks
        )
    wrong = [check for check in checks if check.ok is False]
    judged = [check for check in with_error if check.ok is not None]
    worst = max(wrong or judged or with_error, key=lambda check: abs(check.error_bytes or 0))
    error = signed(worst.error_bytes or 0)
    if wrong:
        return f"{error}!", False
    return (error, True) if judged else (f"({error})", None)


def _range(checks: Sequence[Check]) -> str:
    """Return the smallest and the largest error over all runs, and how many were wrong."""
    judged = [check for check in checks if check.ok is not None]
    errors = [check.error_bytes for check in judged or checks if check.error_bytes is not None]
    if not errors:
        return "-"
    least, most = signed(min(errors)), signed(max(errors))
    text = least if least == most else f"{least} .. {most}"
    wrong = sum(check.ok is False for check in judged)
    return f"**{text}: {wrong} wrong**" if wrong else text if judged else f"({text})"


def markdown_table(checkup: Checkup) -> str:
    """Return a table of all runs: smallest and largest error of each program with each source."""
    runs = 1 + max((check.run for check in checkup.checks), default=-1)
    judged = [check for check in checkup.checks if check.ok is not None]
    sources = proof_columns()
    rows = [
        f"{runs} runs of each on Linux {checkup.host.kernel}, {checkup.host.cpus} CPUs:"
        f" {format_count(len(judged))} figures judged, {len(checkup.wrong)} outside of their stated range.",
        "",
        "| program | footprint | " + " | ".join(sources) + " |",
        "|---|---:|" + "---:|" * len(sources),
    ]
    for program, checks in by_program(checkup).items():
        cells = [_range([check for check in checks if check.source == source]) for source in sources]
        rows.append(f"| {program}: {checks[0].what} | {truth_of(checks)} | " + " | ".join(cells) + " |")
    return "\n".join(rows)
