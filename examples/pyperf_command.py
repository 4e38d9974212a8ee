"""
The command runner of pyperf, with concmem's figures: peak memory by default, ``--wall`` for the time.

    python pyperf_command.py -o old.json -- ./program 1000
    python -m pyperf compare_to old.json new.json
"""

from __future__ import annotations

import argparse

import pyperf

import concmem


def measured(loops: int, command: list[str], is_wall: bool) -> float:
    """Return the sum of a figure over runs of a command; pyperf divides it by their number."""
    total = 0.0
    for _ in range(loops):
        m = concmem.measure(command, stdin=concmem.DEVNULL, stdout=concmem.DEVNULL, check=True)
        total += m.wall_s if is_wall else m.peak.bytes or 0
    return total


def worker_arguments(command: list[str], args: argparse.Namespace) -> None:
    """Add what the worker processes need to know to their command line."""
    command += [*(["--wall"] if args.wall else []), "--", *args.program]


def main() -> None:
    """Run the benchmark. pyperf starts this program again as its workers."""
    runner = pyperf.Runner(add_cmdline_args=worker_arguments)
    runner.argparser.add_argument("--wall", action="store_true", help="Measure the time instead of the memory.")
    runner.argparser.add_argument("program", nargs="+", help="The command.")
    args = runner.parse_args()
    unit = "second" if args.wall else "byte"
    name = f"{args.program[0]}: {'time' if args.wall else 'peak memory'}"
    runner.bench_time_func(name, measured, args.program, args.wall, metadata={"unit": unit})


if __name__ == "__main__":
    main()
