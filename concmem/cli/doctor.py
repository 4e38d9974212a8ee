"""``concmem doctor``: test each source on programs of known size."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from concmem.cli._console import PipeConsole
from concmem.cli._streams import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table
    from rich.text import Text

    from concmem.doctor.checkup import Check, Checkup
    from concmem.sources import Source

__all__ = ["doctor"]

_PIPED_WIDTH = 120
_AMOUNTS = ("truth", "reading", "error")
_OUTCOME = (*_AMOUNTS, "may be off by", "verdict")
_VERDICTS = {True: "right", False: "WRONG", None: "cannot tell"}


@click.command(short_help="Test what can be measured here, and how exactly.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--markdown", is_flag=True, help="Print the table of programs of known size as Markdown.")
@click.option(
    "--all", "every", is_flag=True, help="Print every figure of every program: truth, reading, error, verdict."
)
@click.option(
    "--runs", metavar="K", type=click.IntRange(1, 1000), default=1, show_default=True, help="Run each program K times."
)
def doctor(as_json: bool, markdown: bool, every: bool, runs: int) -> int:
    """
    Test every source that concmem can read, time its readings, and compare them with programs of known size.

    Takes about 20 seconds and needs no special rights. The exit status is 0 if every figure holds, and 1 if a figure of
    a program of known size is wrong.
    """
    from concmem.doctor import examine
    from concmem.study.limits.lift import PUT_BACK, restore

    for change in restore():
        say(f"{PUT_BACK}: {change}")

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\rprograms of known size: {done} of {total} ", err=True, nl=done == total)

    checkup = examine(runs=runs, progress=progress)
    if as_json:
        click.echo(json.dumps(checkup.to_dict(), indent=1, allow_nan=False))
    elif markdown:
        from concmem.cli._proof import markdown_table

        click.echo(markdown_table(checkup))
    else:
        _print(checkup, every)
    return 0 if checkup.ok else 1


def _sources(checkup: Checkup) -> Table:
    from rich.table import Table
    from rich.text import Text

    from concmem.units import format_seconds

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("source", no_wrap=True)
    table.add_column("usable", no_wrap=True)
    table.add_column("per reading", justify="right", no_wrap=True)
    table.add_column("needs; or why it is not usable, and how to get it", overflow="fold")
    for source in checkup.sources:
        cost_s = checkup.costs_s.get(source.name)
        cost = f"{cost_s * 1e6:.1f} us" if cost_s is not None and cost_s < 1e-4 else format_seconds(cost_s or 0)
        words = source.needs if source.usable else _how_to_get(source)
        usable = Text("yes", "green") if source.usable else Text("no", "red")
        table.add_row(source.name, usable, cost if cost_s is not None else "-", words)
    return table


def _how_to_get(source: Source) -> str:
    """Return why a source is not usable, and the command that makes it usable. For root, return only the reason."""
    if source.remedy and os.geteuid() != 0:
        return f"{source.why_not}; to get it: {source.remedy}"
    return source.why_not


def _facts(checkup: Checkup) -> list[str]:
    from concmem.units import format_bytes, format_seconds

    host, clock = checkup.host, checkup.clock
    statm = "counts every page" if checkup.statm_exact else "lags: the kernel adds pages up in batches"
    swap = f"{format_bytes(host.swap_bytes)} of swap" if host.swap_bytes else "no swap"
    return [
        f"Linux {host.kernel}, {host.machine}, {host.cpus_allowed} of {host.cpus} CPUs,"
        f" {format_bytes(host.memory_bytes)}, {swap}, cgroup {host.cgroup}, huge pages: {host.thp or 'none'}",
        f"statm {statm}; the kernel's high-water marks can be off by {format_bytes(checkup.mark_error_bytes)}",
        f"at 1 ms, readings are {format_seconds(clock.median_late_s)} late in the median and"
        f" {format_seconds(clock.p99_late_s)} at the 99th percentile; longest gap"
        f" {format_seconds(clock.longest_gap_s)}; {clock.sampler_cpu_share:.1%} of a CPU",
    ]


def _proof(checkup: Checkup) -> Table:
    """Return the worst errors against truth plus start-up size: one row per program, one column per source."""
    from rich.table import Table

    from concmem.cli._proof import by_program, proof_columns

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("program", no_wrap=True)
    columns = proof_columns()
    for source in columns.values():
        table.add_column(source, justify="right", no_wrap=True)
    for program, checks in by_program(checkup).items():
        cells = [_cell([check for check in checks if check.source == source]) for source in columns]
        table.add_row(program, *cells)
    return table


def _cell(checks: list[Check]) -> Text:
    from rich.text import Text

    from concmem.cli._proof import worst_error

    error, ok = worst_error(checks)
    return Text(error, style="red bold" if ok is False else "dim" if ok is None else "")


def _rows(checks: Sequence[Check], columns: Sequence[str]) -> Table:
    from rich.table import Table

    from concmem.cli._proof import signed
    from concmem.units import format_bytes

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, justify="right" if name in _AMOUNTS else "left", no_wrap=name != "verdict")
    for check in checks:
        cells = {
            "program": check.program,
            "figure": check.figure,
            "source": check.source,
            "truth": "-" if check.truth_bytes is None else format_bytes(check.truth_bytes),
            "reading": "-" if check.reading_bytes is None else format_bytes(check.reading_bytes),
            "error": "-" if check.error_bytes is None else signed(check.error_bytes),
            "may be off by": check.allowed,
            "verdict": _VERDICTS[check.ok] + (f": {check.reason}" if check.reason else ""),
        }
        table.add_row(*(cells[name] for name in columns), style="red" if check.ok is False else None)
    return table


def _verdict(checkup: Checkup) -> list[str]:
    judged = [check for check in checkup.checks if check.ok is not None]
    if checkup.ok:
        return [f"All {len(judged)} figures that could be judged hold."]
    lines = [f"{len(checkup.wrong)} of {len(judged)} figures do NOT hold:"]
    return lines + [f"  {c.program}, {c.figure} from {c.source}: {c.reason}" for c in checkup.wrong]


def _print(checkup: Checkup, every: bool) -> None:
    console = PipeConsole(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    console.print(_sources(checkup))
    console.print()
    for fact in _facts(checkup):
        console.print(fact)
    console.print()
    if every:
        console.print(_rows(checkup.checks, ("program", "figure", "source", *_OUTCOME)))
    else:
        console.print("Programs of known size; each reading includes the start-up size of the program:")
        console.print(_rows([check for check in checkup.checks if check.figure == "peak"], ("program", *_OUTCOME)))
        console.print()
        console.print("Difference of each source from truth plus start-up size:")
        console.print(_proof(checkup))
        console.print("(in brackets: this source is not required to see this memory; -: no reading)", style="dim")
    console.print()
    for line in _verdict(checkup):
        console.print(line, style="bold" if checkup.ok else "red")
