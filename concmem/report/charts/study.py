"""The charts of a study: one for each number of tasks, one bar per program, least memory on top."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from concmem._files.atomic import replace_whole
from concmem.report.charts.bars import BESIDE, bar_chart
from concmem.report.charts.base import ReportExtraMissing, need_extra, unchecked
from concmem.report.charts.theme import LIGHT
from concmem.report.sentences import host_line, method_line, number_of
from concmem.report.ties import ends, in_words, named, need, not_in_order, of_rows
from concmem.study import Row
from concmem.study.results.results import Results
from concmem.units import format_bytes

__all__ = ["ReportExtraMissing", "finding", "need_extra", "write_charts"]

_PPI = 144
"""The resolution of PNG files, in pixels per inch."""


def write_charts(results: Results, directory: Path) -> list[Path]:
    """
    Write ``figure-1.svg`` and ``.png``, ``figure-2`` ...: one chart for each number of tasks, in ascending order.

    Raises:
        ReportExtraMissing: Altair or vl-convert-python is not installed.
    """
    need_extra()
    import vl_convert

    paths = []
    for number, tasks in enumerate(results.study.plan.tasks, 1):
        of_one_size = results.rows_at(tasks)
        method = method_line(of_one_size, ranged="lines show their range")
        subtitle = [line for text in (method, host_line(results.study)) for line in textwrap.wrap(text, 115)]
        with unchecked():
            chart = bar_chart(results, of_one_size, BESIDE, LIGHT, title=finding(of_one_size), subtitle=subtitle)
            svg = vl_convert.vegalite_to_svg(chart.to_dict(validate=False))
        for ending, content in (("svg", svg.encode()), ("png", vl_convert.svg_to_png(svg, ppi=_PPI))):
            path = directory / f"figure-{number}.{ending}"
            replace_whole(path, content)
            paths.append(path)
    return paths


def finding(of_one_size: Sequence[Row]) -> str:
    """Return what one chart shows, in one sentence."""
    tasks = of_one_size[0].tasks
    good = of_rows([row for row in of_one_size if row.has_rank])
    if not good and any(row.is_busy for row in of_one_size):
        return f"At {number_of(tasks)}, no program was measured on an idle machine"
    if not good:
        return f"At {number_of(tasks)}, no program has a figure"
    if len(good) == 1:
        return f"At {number_of(tasks)}, {good[0].title} needs {format_bytes(good[0].amount)}"
    if (both := ends(good)) is None:
        return not_in_order(good, tasks, format_bytes)
    least, most = both
    lowest = f"At {number_of(tasks)}, {need(least)} least: {in_words(least, format_bytes)}"
    return f"{lowest}; {named(most)} most: {in_words(most, format_bytes)}"
