"""The results of a gate in the formats of services that plot them over time: Bencher, github-action-benchmark."""

from __future__ import annotations

import json
from typing import Any

from concmem.comparison.change import Estimate
from concmem.comparison.gate import Gate
from concmem.report.tables.commands import span_text

__all__ = ["bmf", "github_action_benchmark"]


def _medians(gate: Gate) -> list[tuple[str, str, Estimate]]:
    found = [(each.name, each.result.figure, each.result.median) for each in gate.results]
    return [(name, figure, median) for name, figure, median in found if median is not None]


def bmf(gate: Gate) -> str:
    """
    Return Bencher Metric Format: for each check the median and its interval, in bytes, or in nanoseconds for time.

    The measure has the name of the figure, such as ``peak``; time is Bencher's ``latency``.
    """
    metrics: dict[str, Any] = {}
    for name, figure, median in _medians(gate):
        unit = 1e9 if figure == "wall" else 1
        metric = {"value": median.value * unit}
        if median.low is not None and median.high is not None:
            metric |= {"lower_value": median.low * unit, "upper_value": median.high * unit}
        metrics[name] = {"latency" if figure == "wall" else figure.replace("_", "-"): metric}
    return json.dumps(metrics, indent=1) + "\n"


def github_action_benchmark(gate: Gate) -> str:
    """Return what github-action-benchmark reads as ``customSmallerIsBetter``: a list of amounts with their ranges."""
    entries = []
    for name, figure, median in _medians(gate):
        entry: dict[str, Any] = {"name": name, "unit": "s" if figure == "wall" else "bytes", "value": median.value}
        if median.low is not None and median.high is not None:
            entry["range"] = span_text(figure, median.low, median.high)
        entries.append(entry | {"extra": figure})
    return json.dumps(entries, indent=1) + "\n"
