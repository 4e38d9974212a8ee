"""
A comparison in the form that hyperfine writes, so that scripts that read its files read ours. Our figures are beside.

In ``results[]`` the fields up to `parameters` are hyperfine's: times are in seconds, and ``memory_usage_byte`` is the
headline figure of each run. Only runs that count are in its lists. ``concmem`` has everything that we know beyond that.
"""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from concmem._escaping import csv_cell
from concmem.comparison.change import Estimate
from concmem.comparison.result import CommandResult, Comparison
from concmem.comparison.stored import COMMANDS_SCHEMA, WHAT

__all__ = ["commands_csv", "commands_json", "result_record"]


def _times(result: CommandResult) -> dict[str, Any]:
    """Return hyperfine's fields of the times; null without a run that counts."""
    runs = result.good
    times = [run.wall_s for run in runs]

    def over(values: Sequence[float], function: Callable[[Sequence[float]], float]) -> float | None:
        return function(values) if values else None

    return {
        "mean": over(times, statistics.fmean),
        "stddev": statistics.stdev(times) if len(times) > 1 else None,
        "median": over(times, statistics.median),
        "user": over([run.user_s for run in runs], statistics.fmean),
        "system": over([run.system_s for run in runs], statistics.fmean),
        "min": over(times, min),
        "max": over(times, max),
    }


def _estimate(estimate: Estimate | None) -> dict[str, float | None] | None:
    return None if estimate is None else attrs.asdict(estimate)


def result_record(result: CommandResult) -> dict[str, Any]:
    """Return one command as a dict: hyperfine's fields, then ours under ``concmem``."""
    good = result.good
    sample = result.sample
    return {
        "command": result.name,
        **_times(result),
        "times": [run.wall_s for run in good],
        "memory_usage_byte": [run.peak_bytes for run in good],
        "exit_codes": [run.exit_code for run in good],
        "parameters": dict(result.parameters),
        "concmem": {
            "command": result.command,
            "template": result.template,
            "stopped": result.stopped,
            "median": _estimate(result.median),
            "smallest": min(sample.values, default=None),
            "largest": max(sample.values, default=None),
            "outliers": [run.position for run in result.outliers],
            "runs": [attrs.asdict(run) for run in result.runs],
        },
    }


def commands_json(comparison: Comparison) -> str:
    """Return a comparison as JSON in hyperfine's form."""
    return (
        json.dumps(
            {
                "results": [result_record(each) for each in comparison],
                "concmem": {
                    "what": WHAT,
                    "schema": COMMANDS_SCHEMA,
                    "version": comparison.version,
                    "started_at": comparison.started_at,
                    "figure": comparison.figure,
                    "reference": comparison.reference,
                    "seed": comparison.seed,
                    "interleaved": comparison.interleaved,
                    "host": attrs.asdict(comparison.host),
                    "changes": [attrs.asdict(each) | {"sentence": str(each)} for each in comparison.changes],
                    "slopes": [
                        {"parameter": each.parameter, "of": each.of, "line": attrs.asdict(each.line)}
                        | {"sentence": str(each)}
                        for each in comparison.slopes
                    ],
                },
            },
            indent=1,
        )
        + "\n"
    )


_OURS = ("median", "low", "high", "confidence", "smallest", "largest", "ratio", "ratio_low", "ratio_high", "failed")


def commands_csv(comparison: Comparison) -> str:
    """Return one line for each command: hyperfine's columns, then ours, which have the name of the figure in front."""
    parameters = list(dict.fromkeys(name for each in comparison for name in each.parameters))
    changes = {each.name: each.ratio for each in comparison.changes}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    times = ("mean", "stddev", "median", "user", "system", "min", "max")
    ours = [f"{comparison.figure}_{name}" if name != "failed" else name for name in _OURS]
    writer.writerow(["command", *times, *(f"parameter_{name}" for name in parameters), *ours])
    for each in comparison:
        record, median, ratio = _times(each), each.median, changes.get(each.name)
        values = each.sample.values
        cells = [each.name, *(record[name] for name in times), *(each.parameters.get(name, "") for name in parameters)]
        cells += [None] * 4 if median is None else [_whole(end) for end in attrs.astuple(median)]
        cells += [_whole(min(values, default=None)), _whole(max(values, default=None))]
        cells += [None] * 3 if ratio is None else [ratio.value, ratio.low, ratio.high]
        writer.writerow([csv_cell(cell) for cell in [*cells, len(each.failed)]])
    return out.getvalue()


def _whole(amount: float | None) -> float | int | None:
    """Return bytes as a whole number, which is written with all its digits."""
    return int(amount) if amount is not None and amount >= 1 and amount == int(amount) else amount
