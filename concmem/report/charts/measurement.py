"""The timeline of one measurement as a chart: SVG, PNG, or an HTML page that needs no network."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from concmem._escaping import escape_text
from concmem._figures.sentences import headline
from concmem.report.charts.study import need_extra
from concmem.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from concmem.model import Measurement

__all__ = ["InScript", "chart", "html", "need_extra", "png", "svg"]

_WINDOWS = 1500
"""More points than a chart has pixels across, so that merging points changes nothing visible."""

_RSS, _PSS = "#0072B2", "#D55E00"
_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def _curve(t_s: NDArray[Any], amounts: NDArray[Any], unit_bytes: int) -> list[dict[str, float]]:
    """Return the points of a curve. If there are too many, return the largest of each group."""
    step = max(1, -(-len(t_s) // _WINDOWS))
    return [
        {"t": float(t_s[start]), "amount": int(amounts[start : start + step].max()) / unit_bytes}
        for start in range(0, len(t_s), step)
    ]


def _wrapped(text: str, width: int = 100) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, max_lines=2, placeholder=" ...")


class InScript(json.JSONEncoder):
    """JSON for a script element. ``</script>`` would end the element even within a string."""

    def encode(self, o: Any) -> str:
        """Return a value as JSON without "<"."""
        return super().encode(o).replace("<", "\\u003c")


def chart(measurement: Measurement) -> Any:
    """
    Return the chart of a measurement's timeline: RSS of the tree over time, PSS if it was read, and the largest RSS.

    Raises:
        ReportExtraMissing: Altair is not installed.
    """
    alt = need_extra()
    timeline, command = measurement.timeline, measurement.command
    top, peak_t_s = max(int(timeline.rss_bytes.max()) if len(timeline) else 0, 1), timeline.peak_t_s or 0.0
    unit, unit_bytes = next(((name, size) for name, size in _UNITS if top >= size), ("B", 1))
    end_s = max(measurement.tree_wall_s, peak_t_s)
    time = alt.X("t:Q", title="time since the start [s]", axis=alt.Axis(grid=False), scale=alt.Scale(domain=[0, end_s]))
    # Room above the largest for its label.
    amount = alt.Y("amount:Q", title=f"memory [{unit}]", scale=alt.Scale(domain=[0, top / unit_bytes * 1.1]))
    rss = _curve(timeline.t_s, timeline.rss_bytes, unit_bytes)
    pss = _curve(timeline.pss_t_s, timeline.pss_bytes, unit_bytes)
    largest = {
        "t": peak_t_s,
        "amount": top / unit_bytes,
        "label": f"{format_bytes(top)} at {format_seconds(peak_t_s)}",
    }
    layers = [
        alt.Chart(alt.Data(values=rss))
        .mark_area(color=_RSS, opacity=0.35, interpolate="step-after", line={"color": _RSS, "strokeWidth": 1.2})
        .encode(x=time, y=amount)
    ]
    if pss:
        line = alt.Chart(alt.Data(values=pss)).mark_line(color=_PSS, interpolate="step-after", strokeWidth=1.2)
        layers.append(line.encode(x=time, y=amount))
    # Right of the middle, the label would leave the chart on the right.
    late = peak_t_s > measurement.tree_wall_s / 2
    mark = alt.Chart(alt.Data(values=[largest])).encode(x=time, y=amount)
    text = mark.mark_text(align="right" if late else "left", dx=-8 if late else 8, dy=-8, color="#222222")
    layers += [mark.mark_point(color=_RSS, filled=True, size=50), text.encode(text="label:N")]
    shown = escape_text(command if isinstance(command, str) else " ".join(command))
    legend = "Blue: RSS of all processes, largest of each window"
    legend += ". Orange: PSS, shared pages counted once" if pss else ""
    title = alt.TitleParams(
        headline(measurement), subtitle=[*_wrapped(shown), legend], anchor="start", subtitleColor="#555555"
    )
    return alt.layer(*layers).properties(width=760, height=320, title=title, background="white")


def svg(measurement: Measurement) -> str:
    """Return the chart of a measurement's timeline as SVG."""
    text = io.StringIO()
    chart(measurement).save(text, format="svg")
    return text.getvalue()


def png(measurement: Measurement) -> bytes:
    """Return the chart of a measurement's timeline as PNG."""
    binary = io.BytesIO()
    chart(measurement).save(binary, format="png", scale_factor=2)
    return binary.getvalue()


def html(measurement: Measurement) -> str:
    """Return the chart of a measurement's timeline as a page that needs no network."""
    text = io.StringIO()
    chart(measurement).save(text, format="html", inline=True, json_kwds={"cls": InScript})
    return text.getvalue()
