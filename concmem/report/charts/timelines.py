"""The timelines of all runs of a study, reduced for one page without losing a maximum or a minimum."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from concmem.report.charts.base import ABOVE_AXIS, BYTES, CROSS, CROSS_STYLE, configured, names_beside, need_extra
from concmem.report.charts.theme import Look, Theme, program_channels
from concmem.study import Run, Study
from concmem.study.store.directory import read_timeline

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["differences", "overview", "pack_run", "select_points", "timeline", "together"]

_BUCKETS = 400
"""Each gives up to four points. A chart is about as many pixels wide as there are points."""
_PER_SECOND = 10_000
"""Times are stored in units of 0.1 ms."""
_UNIT = 1 << 10
_EXTENT = 62
"""Width of the labels of amounts in pixels, so that both charts begin at the same place."""


def select_points(t_s: NDArray[np.float64], values: NDArray[np.int64], buckets: int = _BUCKETS) -> NDArray[np.int64]:
    """
    Select the points of a curve to draw: the first, least, largest and last of each of `buckets` equal spans of time.

    Up to a width of `buckets` pixels, the reduced curve covers the same pixels as the full one. A point between two
    points of the same value is left out.

    Args:
        t_s: Ascending times.
        values: The readings, one for each time.
        buckets: The number of spans. At most four times as many points are returned.

    Returns:
        The indexes of the points, ascending. They contain the first, the last and the first of the largest.
    """
    import numpy as np

    if not len(t_s):
        return np.empty(0, dtype=np.int64)
    span = max(float(t_s[-1] - t_s[0]), 1e-9)
    bucket = np.minimum(((t_s - t_s[0]) / span * buckets).astype(np.int64), buckets - 1)
    starts = np.flatnonzero(np.diff(bucket, prepend=-1))
    found: set[int] = {int(values.argmax())}
    for start, end in zip(starts, [*starts[1:], len(t_s)], strict=True):
        part = values[start:end]
        found |= {int(start), int(end) - 1, int(start + part.argmin()), int(start + part.argmax())}
    indexes = np.array(sorted(found), dtype=np.int64)
    there = values[indexes]
    flat = np.zeros(len(indexes), dtype=bool)
    flat[1:-1] = (there[1:-1] == there[:-2]) & (there[1:-1] == there[2:])
    flat &= indexes != values.argmax()
    return indexes[~flat]


def pack_run(study: Study, run: Run) -> dict[str, Any] | None:
    """
    Return a run's timeline as the page stores it, or None if it has none.

    Times and amounts are whole numbers in units that the page's script knows; each is the difference to the one before.

    Raises:
        RecordingError: The file is not a timeline, or cannot be read.
    """
    recorded = read_timeline(study.timeline_path(run))
    if recorded is None or not len(recorded):
        return None
    made = run.measurement
    return {
        "program": run.program,
        "tasks": run.tasks,
        "index": run.index,
        "failed": "" if run.status == "ok" else run.reason or run.status,
        "rss": differences(recorded.t_s, recorded.rss_bytes),
        "pss": differences(recorded.pss_t_s, recorded.pss_bytes),
        "end": made.tree_wall_s if made is not None else float(recorded.t_s[-1]),
        "launched": run.launch_s,
        "done": run.done_s,
        "plateau": run.plateau.bytes if run.plateau is not None else None,
    }


def differences(t_s: NDArray[np.float64], values: NDArray[np.int64]) -> list[list[int]]:
    """Return the selected points of a curve: times in 0.1 ms and amounts in KiB, each minus the one before."""
    import numpy as np

    indexes = select_points(t_s, values)
    times = np.rint(t_s[indexes] * _PER_SECOND).astype(np.int64)
    return [np.diff(column, prepend=0).tolist() for column in (times, values[indexes] // _UNIT)]


def together(
    packs: Sequence[Mapping[str, Any]], titles: Mapping[str, str], looks: Mapping[str, Look], theme: Theme, height: int
) -> Any:
    """
    Return the chart of one run of each program, all with the same number of tasks. The page's script gives the data.

    Data: ``runs`` with ``program``, ``t`` (seconds) and ``amount`` (bytes); ``failed`` likewise, with the last point of
    each failed run. Parameters: ``tasks``; ``to_s``, the end of the time axis.

    Args:
        packs: The results of `pack_run` for all runs that have a timeline.
        titles: The title of each program.
        looks: How each program is drawn.
        theme: The other colours.
        height: The height in pixels.
    """
    alt = need_extra()
    largest: dict[int, dict[str, int]] = {}
    failed = {(pack["tasks"], pack["program"]) for pack in packs}
    failed -= {(pack["tasks"], pack["program"]) for pack in packs if not pack["failed"]}
    # A good run comes before a failed one.
    for pack in sorted(packs, key=lambda pack: bool(pack["failed"])):
        top = max(itertools.accumulate(pack["rss"][1])) * _UNIT
        largest.setdefault(pack["tasks"], {}).setdefault(pack["program"], top)
    tops = [top for of_size in largest.values() for top in of_size.values()]
    domain = BYTES.domain([min(tops) / 2, max(tops)])
    names = [
        name
        for tasks, of_size in largest.items()
        for name in names_beside(
            [
                {
                    "program": p,
                    "title": f"{CROSS} {titles[p]}" if (tasks, p) in failed else titles[p],
                    "tasks": tasks,
                    "amount": top,
                }
                for p, top in of_size.items()
            ],
            domain,
            height,
        )
    ]
    axis = alt.Axis(values=BYTES.ticks(domain), labelExpr=BYTES.label, grid=True, domain=False, **ABOVE_AXIS)

    def y(field: str) -> Any:
        log = alt.Scale(type="log", domain=list(domain), nice=False)
        return alt.Y(f"{field}:Q", title="RSS of all its processes", axis=axis, scale=log)

    x = alt.X(
        "t:Q", title="time since the start, s", scale=alt.Scale(domain=[0, alt.ExprRef("to_s")], nice=False),
        axis=alt.Axis(tickCount=7),
    )  # fmt: skip
    channels = program_channels(alt, [name["program"] for name in names], looks)
    pointed = alt.selection_point(name="pointed", fields=["program"], on="pointerover", clear="pointerout")
    seen = alt.condition(pointed, alt.value(1), alt.value(0.15))
    line = alt.Chart(alt.NamedData("runs"), name="runs").mark_line(interpolate="step-after", strokeWidth=1.6, clip=True)
    on = (
        alt.Chart(alt.Data(values=names))
        .transform_filter("datum.tasks === tasks")
        .encode(x=alt.value(alt.ExprRef("width")), y=y("at"), opacity=seen)
    )
    layers = [
        line.encode(x=x, y=y("amount"), color=channels.colour, strokeDash=channels.dash, opacity=seen),
        alt.Chart(alt.NamedData("failed")).mark_text(text=CROSS, **CROSS_STYLE)
        .encode(x=x, y=y("amount"), color=channels.colour, opacity=seen),
        on.mark_point(filled=True, size=40, xOffset=15).encode(color=channels.colour, shape=channels.shape),
        on.properties(name="names").mark_text(align="left", baseline="middle", dx=23, fontSize=11.5, color=theme.ink)
        .encode(text="title:N").add_params(pointed),
    ]  # fmt: skip
    chart = alt.layer(*layers).add_params(alt.param(name="tasks", value=1), alt.param(name="to_s", value=1))
    return configured(chart.properties(width="container", height=height), theme)


def timeline(theme: Theme) -> Any:
    """
    Return the chart of one run. The page's script gives the data and the parameters.

    Data: ``rss`` and ``pss`` with ``t`` (seconds) and ``amount``; ``failed`` with the last point of a failed run;
    ``peak`` and ``events`` also with a ``label``; ``plateau`` with ``amount`` and ``label``. Parameters: ``from_s`` and
    ``to_s``, the visible part; ``top``, the end of the axis of amounts; ``unit``, the unit of amounts; ``colour``, that
    of the program.
    """
    alt = need_extra()
    starts = {"from_s": 0, "to_s": 1, "top": 1, "unit": "MiB", "colour": theme.ink}
    x = alt.X(
        "t:Q", title="time since the start, s",
        scale=alt.Scale(domain=[alt.ExprRef("from_s"), alt.ExprRef("to_s")], nice=False),
        axis=alt.Axis(tickCount=7),
    )  # fmt: skip
    y = alt.Y("amount:Q", title="memory", scale=alt.Scale(domain=[0, alt.ExprRef("top")], nice=False), axis=_axis(alt))
    on = {name: alt.Chart(alt.NamedData(name)) for name in ("rss", "pss", "failed", "peak", "events", "plateau")}
    step = {"interpolate": "step-after", "clip": True}
    label = {"fontSize": 11, "clip": True, "baseline": "middle"}
    layers = [
        on["rss"].mark_area(color=alt.ExprRef("colour"), opacity=0.25, **step).encode(x=x, y=y),
        on["plateau"].mark_rule(color=theme.ink, strokeDash=[2, 3]).encode(y=y),
        on["events"].mark_rule(color=theme.pale, strokeWidth=1, clip=True).encode(x=x),
        on["rss"].mark_line(color=alt.ExprRef("colour"), strokeWidth=1.5, **step).encode(x=x, y=y),
        on["pss"].mark_line(color=theme.ink, strokeWidth=1.2, strokeDash=[5, 3], **step).encode(x=x, y=y),
        # A run ends at the right edge of the chart, which would cut a centred cross.
        on["failed"].mark_text(text=CROSS, color=theme.ink, align="right", clip=True, **CROSS_STYLE).encode(x=x, y=y),
        on["peak"].mark_point(color=theme.ink, filled=True, size=45, opacity=1, clip=True).encode(x=x, y=y),
        *(
            on[name].mark_text(color=theme.ink, align=align, dx=dx, dy=dy, **label).encode(x=x, y=at, text="label:N")
            .transform_filter(f"datum.left === {'true' if align == 'right' else 'false'}")
            for name, at, dy in (("peak", y, -11), ("events", alt.value(8), 0))
            for align, dx in (("left", 7), ("right", -7))
        ),
        on["plateau"].mark_text(color=theme.ink, align="right", x=alt.ExprRef("width"), dx=-4, dy=9, **label)
        .encode(y=y, text="label:N"),
    ]  # fmt: skip
    chart = alt.layer(*layers).add_params(*(alt.param(name=name, value=value) for name, value in starts.items()))
    return configured(chart.properties(width="container", height=300), theme)


def overview(theme: Theme) -> Any:
    """Return a small chart of a whole run. Its parameter ``part`` is the selected time. Data as in `timeline`."""
    alt = need_extra()
    part = alt.selection_interval(name="part", encodings=["x"], mark=alt.BrushConfig(fill=theme.ink, fillOpacity=0.12))
    plain = {"title": None, "labels": False, "ticks": False, "domain": False}
    chart = (
        alt.Chart(alt.NamedData("rss"), name="strip")
        .mark_area(color=alt.ExprRef("colour"), opacity=0.45, interpolate="step-after")
        .encode(
            x=alt.X("t:Q", axis=alt.Axis(**plain), scale=alt.Scale(domain=[0, alt.ExprRef("to_s")], nice=False)),
            y=alt.Y("amount:Q", axis=alt.Axis(**plain, minExtent=_EXTENT, maxExtent=_EXTENT)),
        )
        .add_params(part, alt.param(name="to_s", value=1), alt.param(name="colour", value=theme.ink))
    )
    return configured(chart.properties(width="container", height=40), theme)


def _axis(alt: Any) -> Any:
    label = "format(datum.value, '~r') + ' ' + unit"
    return alt.Axis(
        title=None, labelExpr=label, tickCount=5, grid=True, domain=False, ticks=False,
        minExtent=_EXTENT, maxExtent=_EXTENT,
    )  # fmt: skip
