"""The figures of a study: for every number of tasks, one bar a program, the one that needs least on top."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from concmem import drivers
from concmem.errors import ConcmemError
from concmem.report._words import host_line, method_line, number_of
from concmem.study import Row, Study, rows
from concmem.units import format_bytes

__all__ = ["ReportExtraMissing", "finding", "need_extra", "write_figures"]

# Okabe and Ito's colours, which stay apart for every kind of colour vision, their black made lighter.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#4D4D4D", "#B8A900")
_INK, _PALE = "#222222", "#6B6B6B"
_WIDTH, _STEP = 560, 42
_REASON_COLUMNS, _REASON_LINES, _REASON_STEP = 100, 3, 13
_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


class ReportExtraMissing(ConcmemError, ImportError):
    """What draws the figures is not installed."""


def need_extra() -> Any:
    """
    Altair, with what turns its charts into files.

    Raises:
        ReportExtraMissing: It is not installed.
    """
    try:
        import altair
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise ReportExtraMissing(
            f"figures need the report extra, and {error.name} is missing: pip install 'concmem[report]'"
        ) from error
    return altair


def write_figures(study: Study, directory: Path) -> list[Path]:
    """
    Write ``figure-1.svg`` and ``.png``, ``figure-2`` ...: one for every number of tasks, in ascending order.

    Raises:
        ReportExtraMissing: Altair or vl-convert-python is not installed.
    """
    altair = need_extra()
    every = rows(study)
    colours = _colours(row.language for row in every)
    paths = []
    for number, tasks in enumerate(study.plan.tasks, 1):
        chart = _chart(altair, study, [row for row in every if row.tasks == tasks], colours)
        for ending, options in (("svg", {}), ("png", {"ppi": 144})):
            path = directory / f"figure-{number}.{ending}"
            chart.save(str(path), **options)
            paths.append(path)
    return paths


def _colours(languages: Iterable[str]) -> dict[str, str]:
    """
    A colour for each language. One of the article's has the same in every study, whatever else is in it.

    Beyond as many as there are, colours come again: every bar has its name beside it.
    """
    first = (program.language for program in drivers.load_programs().values() if program.variant == "article")
    return dict(zip(dict.fromkeys((*first, *languages)), itertools.cycle(_COLOURS), strict=False))


def finding(of_one_size: Sequence[Row]) -> str:
    """What one figure shows, in one sentence."""
    tasks = of_one_size[0].tasks
    good = _sorted([row for row in of_one_size if row.median_bytes is not None])
    if not good:
        return f"At {number_of(tasks)}, no program has a figure"
    least, most = good[0], good[-1]
    if least is most:
        return f"At {number_of(tasks)}, {least.title} needs {_amount(least)}"
    return f"At {number_of(tasks)}, {least.title} needs least: {_amount(least)}; {most.title} most: {_amount(most)}"


def _amount(row: Row) -> str:
    assert row.median_bytes is not None
    return format_bytes(row.median_bytes)


def _sorted(of_one_size: Sequence[Row]) -> list[Row]:
    """Least memory first; those without a figure last, as they were listed."""
    return sorted(of_one_size, key=lambda row: float("inf") if row.median_bytes is None else row.median_bytes)


def _instead(row: Row) -> str:
    """What stands in the place of a bar."""
    text = row.reason
    if not text.startswith(("could not", "not tried")):
        text = f"{'not run' if row.status == 'not run' else 'could not run'}: {text}"
    # No-break spaces keep a number together, with the word before it and with its unit.
    text = re.sub(r"(?<!;) (?=\d)|(?<=\d) (?=[KMGTP]?i?B\b)", "\u00a0", text)
    lines = textwrap.wrap(text, _REASON_COLUMNS)
    if len(lines) > _REASON_LINES:
        # What comes last in a reason is the limit that was met: where something is left out, it stays.
        last = text.rpartition("; ")[2]
        kept = f"; {last}" if 0 < len(last) <= _REASON_COLUMNS // 2 else ""
        placeholder = f" ...{kept} (see the table)"
        return "\n".join(textwrap.wrap(text, _REASON_COLUMNS, max_lines=_REASON_LINES, placeholder=placeholder))
    # The least width that gives no more lines makes them of about one length.
    widths = range(max(map(len, text.split(" "))), _REASON_COLUMNS)
    balanced = (textwrap.wrap(text, width) for width in widths)
    return "\n".join(next((shorter for shorter in balanced if len(shorter) == len(lines)), lines))


def _label(row: Row, planned_sleep_s: float) -> str:
    remarks = [_amount(row)]
    if row.sleep_s > planned_sleep_s:
        remarks.append(f"slept {row.sleep_s:g} s")
    if row.status == "partly":
        remarks.append(f"{row.good_runs} of {row.runs} runs")
    return ", ".join(remarks)


def _datum(row: Row, scale: int, planned_sleep_s: float) -> dict[str, object]:
    below = ", ".join(filter(None, [row.toolchain or row.language, " ".join(row.flags)]))
    shown = {"program": row.program, "title": row.title, "language": row.language, "below": _cut(below)}
    if row.median_bytes is None or row.min_bytes is None or row.max_bytes is None:
        return {**shown, "instead": _instead(row)}
    return {
        **shown,
        "peak": row.median_bytes / scale,
        "least": row.min_bytes / scale,
        "most": row.max_bytes / scale,
        "ranged": row.max_bytes > row.min_bytes,
        "label": _label(row, planned_sleep_s),
    }


def _cut(text: str, columns: int = 48) -> str:
    return text if len(text) <= columns else f"{text[: columns - 3].rstrip(' ,')}..."


def _chart(altair: Any, study: Study, of_one_size: Sequence[Row], colours: Mapping[str, str]) -> Any:
    ordered = _sorted(of_one_size)
    largest = max((row.max_bytes or 0 for row in ordered), default=0)
    scale, unit = next((u for u in _UNITS if largest >= u[0]), _UNITS[-1])
    data = [_datum(row, scale, study.plan.sleep_s) for row in ordered]
    good = [datum for datum in data if "peak" in datum]
    bad = [datum for datum in data if "peak" not in datum]
    y = altair.Y("program:N", sort=[row.program for row in ordered], axis=None, scale=altair.Scale(padding=0.25))
    domain = [0, largest / scale * 1.1 if largest else 1]
    x_axis = altair.Axis(title=f"peak memory, {unit}", tickCount=6) if good else None
    x_scale = altair.Scale(domain=domain, nice=False)

    def text(of: list[dict[str, object]], field: str, **mark: Any) -> Any:
        return altair.Chart(altair.Data(values=of)).mark_text(baseline="middle", lineBreak="\n", **mark).encode(
            y=y, text=f"{field}:N"
        )  # fmt: skip

    layers = [
        text(data, "title", align="right", x=-10, dy=-7, fontSize=13, color=_INK),
        text(data, "below", align="right", x=-10, dy=8, fontSize=10, color=_PALE),
    ]
    if good:
        bars = altair.Chart(altair.Data(values=good))
        # Unstacked: a stack is clipped, under a number that depends on what the process has drawn before.
        x = altair.X("peak:Q", axis=x_axis, scale=x_scale, stack=None)
        colour = altair.Color(
            "language:N",
            legend=None,
            scale=altair.Scale(domain=list(colours), range=list(colours.values())),
        )
        label_x = altair.X("most:Q", axis=x_axis, scale=x_scale)
        layers += [
            bars.mark_bar(cornerRadiusEnd=2).encode(y=y, x=x, color=colour),
            bars.mark_text(align="left", baseline="middle", dx=8, fontSize=12, color=_INK).encode(
                y=y, x=label_x, text="label:N"
            ),
        ]
        if any(datum["ranged"] for datum in good):
            ranges = altair.Chart(altair.Data(values=[datum for datum in good if datum["ranged"]]))
            ends = altair.X("least:Q", axis=x_axis, scale=x_scale)
            layers.append(ranges.mark_rule(color=_INK, strokeWidth=1.5).encode(y=y, x=ends, x2="most:Q"))
            layers += [
                ranges.mark_tick(color=_INK, thickness=1.5, size=9).encode(
                    y=y, x=altair.X(f"{end}:Q", axis=x_axis, scale=x_scale)
                )
                for end in ("least", "most")
            ]
    for lines in range(1, _REASON_LINES + 1):
        if alike := [datum for datum in bad if str(datum["instead"]).count("\n") == lines - 1]:
            # Only the first line is set at the middle of its row.
            middle = {"dy": -(lines - 1) * _REASON_STEP / 2, "lineHeight": _REASON_STEP}
            layers.append(
                text(alike, "instead", align="left", x=6, fontSize=11, fontStyle="italic", color=_PALE, **middle)
            )
    subtitle = [
        *textwrap.wrap(method_line(of_one_size, ranged="lines show their range"), 115),
        *textwrap.wrap(host_line(study), 115),
    ]
    title = altair.TitleParams(
        finding(of_one_size), subtitle=subtitle, anchor="start", frame="bounds", fontSize=16, subtitleFontSize=11,
        subtitleColor=_PALE, color=_INK, offset=14,
    )  # fmt: skip
    return (
        altair.layer(*layers)
        .properties(width=_WIDTH, height=altair.Step(_STEP), title=title, background="white", padding=16)
        .configure(font="Helvetica, Arial, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(labelColor=_PALE, titleColor=_PALE, domainColor=_PALE, tickColor=_PALE, grid=False)
    )
