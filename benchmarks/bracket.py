"""
Show how wide the range of `peak` is, and whether the truth lies in it.

All programs of known size run RUNS times with three sets of options: as root with those of ``concmem run`` (a control
group, and taskstats), as root with ``--exact`` too, and as an ordinary user without a control group. A user other than
root has only the last set. A width is the upper end less the lower end, in percent of the truth. A run is outside if
its upper end is below the truth, or its lower end above the truth and the start-up size.

Then two trees of processes: 8 workers that share 100 MiB and each spike 50 MiB at random times, which print what they
needed, and ``make -j4`` of the 32 C files of Brotli, whose source pip downloads from PyPI.

Usage: python benchmarks/bracket.py [RUNS] [--load] [--only NAME,...] [--sets root,exact,user] [--no-trees]
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
from measurer import OTHER_UID, SETS, Measurer, Range
from trees import MAKE, PROJECT, WORKERS, download_project

from concmem.testing import TRUTHS, Truth

NAME_WIDTH, CELL_WIDTH = 16, 26
STARTS_A_SECOND = 300
LOAD = f"""
import os, time
due = time.monotonic()
while True:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {{}}), 0)
    due += 1 / {STARTS_A_SECOND}
    time.sleep(max(0, due - time.monotonic()))
"""

Results = dict[str, list[Range]]
"""All runs of one command, by the set of options."""


def command_of(program: str, args: Sequence[object]) -> list[str]:
    """Return a command for `Measurer.measure`."""
    return [program, *map(str, args)]


def percent(share: float) -> str:
    """Format a width."""
    return "none" if math.isinf(share) else f"{share * 100:.1f}" if share < 1 else f"{share * 100:.0f}"


def quantile(widths: Sequence[float], share: float) -> float:
    """Return the smallest width that at least this share of all do not exceed."""
    return sorted(widths)[max(0, math.ceil(share * len(widths)) - 1)]


def row(name: str, truth: str, cells: Sequence[str]) -> str:
    """Return one line of the table."""
    return f"{name:{NAME_WIDTH}} {truth:>9}" + "".join(f"{cell:>{CELL_WIDTH}}" for cell in cells)


def cell(*words: object) -> str:
    """Return the three columns of a set of options."""
    return "".join(f"{word:>8}" for word in words)


def largest_truth(results: Results) -> str:
    """Return the truth for the table: the same in all runs, except for programs that print it."""
    return f"{max(run.most_bytes for runs in results.values() for run in runs) / 2**20:.1f}"


def program_row(truth: Truth, results: Results) -> str:
    """Return the line of a program: median width, largest width, and the number of runs outside."""
    cells = []
    for runs in results.values():
        if any(run.failed for run in runs):
            cells.append("refused" if truth.needs else "failed")
            continue
        widths = [run.width for run in runs]
        outside = sum(bool(run.outside) for run in runs)
        cells.append(cell(percent(statistics.median(widths)), percent(max(widths)), outside or "-"))
    return row(truth.name, largest_truth(results), cells)


def print_summary(results: dict[str, Results]) -> None:
    """Print the widths over all runs of all programs, and why runs were outside."""
    machine_bytes = psutil.virtual_memory().total + psutil.swap_memory().total
    sets = next(iter(results.values()))
    judged = {
        options: [(name, run) for name, by_set in results.items() for run in by_set[options] if not run.failed]
        for options in sets
    }
    print()
    for title, share in (("median", 0.5), ("nine in ten", 0.9), ("largest", 1.0)):
        widths = ([run.width for _, run in runs] for runs in judged.values())
        print(row(title, "", [percent(quantile(each, share)) for each in widths]))
    print(row("runs", "", [str(len(runs)) for runs in judged.values()]))
    print(row("outside", "", [str(sum(bool(run.outside) for _, run in runs)) for runs in judged.values()]))
    print(row("no upper end", "", [str(sum(run.high_bytes is None for _, run in runs)) for runs in judged.values()]))
    above = (sum((run.high_bytes or 0) > machine_bytes for _, run in runs) for runs in judged.values())
    print(row("above RAM + swap", "", list(map(str, above))))
    reasons = [(o, name, run.outside) for o, runs in judged.items() for name, run in runs if run.outside]
    if reasons:
        print("\nOutside, the first of each program and set:")
    for options, name in dict.fromkeys((options, name) for options, name, _ in reasons):
        print(f"  {options}, {name}: {next(why for o, n, why in reasons if (o, n) == (options, name))}")


def compare_programs(truths: Sequence[Truth], measurers: dict[str, Measurer], count: int) -> None:
    """Run all programs with each set of options in turn, and print the table."""
    print(row("", "truth", [cell(f"{options}:", "", "") for options in measurers]))
    print(row("program", "MiB", [cell("median", "largest", "outside") for _ in measurers]))
    results: dict[str, Results] = {}
    for truth in truths:
        # In these the truth is known afterwards only: the program prints it.
        args, base = (command_of(truth.program, args) for args in (truth.args, truth.base))
        runs: Results = {options: [] for options in measurers}
        for _ in range(count):
            for options, measurer in measurers.items():
                if not any(run.failed for run in runs[options]):
                    runs[options].append(measurer.measure(args, base, truth.footprint_bytes))
        results[truth.name] = runs
        print(program_row(truth, runs), flush=True)
    print_summary(results)


def print_tree(title: str, results: Results) -> None:
    """Print the medians of one tree."""
    print(f"\n{title}; medians in MiB")
    print(row("options", "truth", [f"{'lower':>8}{'upper':>9}{'width':>9}", f"{'largest width':>16}{'ratio':>9}"]))
    for options, runs in results.items():
        if failed := next((run.failed for run in runs if run.failed), ""):
            print(f"{options:{NAME_WIDTH}} {failed}")
            continue
        lows = [run.low_bytes / 2**20 for run in runs]
        highs = [math.inf if run.high_bytes is None else run.high_bytes / 2**20 for run in runs]
        widths, ratios = (
            [high - low for low, high in zip(lows, highs, strict=True)],
            [high / low for low, high in zip(lows, highs, strict=True)],
        )
        least, most = (
            statistics.median(x) / 2**20 for x in zip(*((r.least_bytes, r.most_bytes) for r in runs), strict=True)
        )
        truth = f"{least:.0f}-{most:.0f}" if most else "unknown"
        low, high, width = map(statistics.median, (lows, highs, widths))
        outside = sum(bool(run.outside) for run in runs)
        cells = [f"{low:8.0f}{high:9.0f}{width:9.0f}", f"{max(widths):16.0f}{statistics.median(ratios):9.2f}"]
        print(row(options, truth, cells) + (f"   {outside} outside" if outside else ""))


def compare_trees(measurers: dict[str, Measurer], count: int, folder: Path) -> None:
    """Measure both trees with each set of options in turn."""
    base = [*WORKERS[:2], 0, 0, *WORKERS[4:]]
    workers: Results = {options: [] for options in measurers}
    for _ in range(count):
        for options, measurer in measurers.items():
            workers[options].append(measurer.measure([*map(str, WORKERS)], [*map(str, base)]))
    print_tree("8 workers that share 100 MiB and spike 50 MiB each", workers)
    source = download_project(folder)
    make: Results = {options: [] for options in measurers}
    for options in measurers:
        shutil.copytree(source, folder / options)
        if options == "user" and os.geteuid() == 0:
            for path in (folder / options, *(folder / options).rglob("*")):
                os.chown(path, OTHER_UID, OTHER_UID)
    for _ in range(count):
        for options, measurer in measurers.items():
            make[options].append(measurer.measure([*MAKE, str(folder / options)]))
    print_tree(f"make -j4 of {PROJECT}", make)


@contextlib.contextmanager
def other_programs(wanted: bool) -> Iterator[None]:
    """Start other programs all the time, if wanted."""
    process = subprocess.Popen([sys.executable, "-c", LOAD]) if wanted else None
    try:
        yield
    finally:
        if process is not None:
            process.kill()
            process.wait()


def main() -> None:
    """Measure all programs, then both trees."""
    names = {truth.name: truth for truth in TRUTHS}
    sets = list(SETS) if os.geteuid() == 0 else ["user"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", metavar="RUNS", nargs="?", type=int, default=5, help="runs of each (default: 5)")
    parser.add_argument(
        "--load", action="store_true", help=f"beside a process that starts {STARTS_A_SECOND} programs a second"
    )
    parser.add_argument("--only", metavar="NAME,...", help="these programs of known size")
    parser.add_argument(
        "--sets", metavar="SET,...", default=",".join(sets), help=f"of {', '.join(sets)} (default: all)"
    )
    parser.add_argument("--no-trees", action="store_true", help="the programs of known size only")
    options = parser.parse_args()
    truths = [names[name] for name in options.only.split(",")] if options.only else TRUTHS
    with tempfile.TemporaryDirectory() as folder, other_programs(options.load):
        Path(folder).chmod(0o755)
        measurers = {each: Measurer(each, Path(folder)) for each in options.sets.split(",")}
        try:
            compare_programs(truths, measurers, options.runs)
            if not options.no_trees:
                compare_trees(measurers, options.runs, Path(folder))
        finally:
            for measurer in measurers.values():
                measurer.close()


if __name__ == "__main__":
    main()
