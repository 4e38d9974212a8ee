"""Build the page of a study: ``index.html``, one file that loads nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

from concmem._escaping import escape_text
from concmem.report.charts.bars import ABOVE, bar_chart, marks_elsewhere
from concmem.report.charts.base import NAME_STEP, need_extra, unchecked
from concmem.report.charts.cost import dots
from concmem.report.charts.lines import PEAK, line_chart, start_up
from concmem.report.charts.study import finding
from concmem.report.charts.theme import DARK, LIGHT, ON_PAGE, css_colours, looks
from concmem.report.charts.timelines import overview, pack_run, timeline, together
from concmem.report.page import sentences as words
from concmem.report.page.table import columns
from concmem.report.sentences import (
    STATUS_WORDS,
    host_line,
    lift_line,
    method_line,
    missing_line,
    number_of,
)
from concmem.report.tables.claims import summary
from concmem.study import Study, published
from concmem.study.results.results import Results
from concmem.study.workloads import workload
from concmem.units import format_bytes, format_count

__all__ = ["page"]

_TALL, _LOW = 430, 270
"""Least heights of charts in pixels; charts with many programs are higher, to have room for their names."""


def page(results: Results) -> str:
    """
    Return the whole page, with its data and the library that draws the charts.

    Raises:
        ReportExtraMissing: The report extra is not installed.
        RecordingError: A timeline of the study cannot be read.
    """
    need_extra()
    import jinja2
    import vl_convert
    from markupsafe import Markup

    templates = files("concmem.report.page") / "templates"
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        finalize=_kept_together,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    source, style, script = (
        (templates / name).read_text(encoding="utf-8") for name in ("page.html.j2", "page.css", "page.js")
    )
    # Within a script element, HTML has only one special text: its end tag.
    library = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")
    with unchecked():
        content = _content(results)
    return environment.from_string(source).render(
        style=Markup(style), script=Markup(script), library=Markup(library), light=css_colours(LIGHT),
        dark=css_colours(DARK), **content,
    )  # fmt: skip


def _kept_together(value: object) -> object:
    """Escape a text, and put no-break spaces within its numbers and before their units."""
    if type(value) is not str:
        return value
    return re.sub(r"(?<=\d) (?=\d{3}\b|[KMGTP]?i?B\b|m?s\b)", "\u00a0", escape_text(value))


def _content(results: Results) -> dict[str, Any]:
    study, every = results.study, results.ordered_rows
    titles = {entry.name: entry.title for entry in study.programs}
    drawn = looks({entry.name: entry.language for entry in study.programs}, ON_PAGE)
    cost, verdicts, timelines = results.costs, results.verdicts, list(_timelines(study))
    charts = dict(_charts(results, titles, timelines))
    does, runs = workload(study.plan.workload), results.rows_of_runs
    conditions = {row.program: row.conditions for row in every if row.conditions}
    return {
        "study": study,
        "workload": does,
        "headline": words.headline(every),
        "deck": words.deck(study, every),
        "method": method_line(every),
        "machine": host_line(study),
        "incomplete": missing_line(study),
        "figures": [
            {"name": f"bars-{n}", "title": finding(results.rows_at(tasks))} for n, tasks in enumerate(study.plan.tasks)
        ],
        "charts": {name: chart.to_dict(validate=False) for name, chart in charts.items()},
        "growth_title": words.growth_title(every),
        "costs_title": words.costs_title(cost, titles),
        "costs": [(titles[name], each) for name, each in sorted(cost.items(), key=lambda item: item[1].each_bytes)],
        "cost_parts": [(part, words.cost_title(cost, part)) for part in ("each", "floor")],
        "start_title": words.start_title(study, every, runs),
        "bars_title": words.bars_title(every),
        "elsewhere": marks_elsewhere(results),
        "starts": [
            {"name": f"start-{n}", "title": words.quantity_title(every, runs, quantity)}
            for n, quantity in enumerate(start_up(does))
            if f"start-{n}" in charts
        ],
        "timelines_title": words.timelines_title(study),
        "timelines": timelines,
        "titles": titles,
        "colours_of": {name: look.colour for name, look in drawn.items()},
        "programs": set(study.plan.programs),
        "asides": {**conditions, **{entry.name: entry.missing for entry in study.programs if entry.missing}},
        "facts": list(_facts(study)),
        "claims_title": summary(verdicts),
        "lift": lift_line(study),
        "verdicts": verdicts,
        "sources": list(dict.fromkeys(each.source for each in published() if each.program in titles)),
        "table_title": words.table_title(every),
        "columns": columns(does, every),
        "rows": every,
        "notes": results.notes,
        "statuses": {
            name: text for name, text in STATUS_WORDS.items() if any(name in row.figure_statuses for row in every)
        },
        "commands": words.commands(study),
        "format_bytes": format_bytes,
        "format_count": format_count,
        "number_of": number_of,
    }


def _charts(results: Results, titles: dict[str, str], timelines: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield the charts that have data, with their names in the template."""
    study, every = results.study, results.ordered_rows
    drawn = looks({entry.name: entry.language for entry in study.programs}, ON_PAGE)
    for n, tasks in enumerate(study.plan.tasks):
        yield f"bars-{n}", bar_chart(results, results.rows_at(tasks), ABOVE, ON_PAGE)
    tall, low = (max(height, NAME_STEP * len(study.plan.programs)) for height in (_TALL, _LOW))
    found = {"growth": line_chart(every, PEAK, drawn, ON_PAGE, tall)}
    for n, quantity in enumerate(start_up(workload(study.plan.workload))):
        found[f"start-{n}"] = line_chart(every, quantity, drawn, ON_PAGE, low)
    for part, title in (("each", "memory per task"), ("floor", "memory without a task")):
        found[f"cost-{part}"] = dots(results.costs, titles, part, title, drawn, ON_PAGE)
    if timelines:
        found |= {"together": together(timelines, titles, drawn, ON_PAGE, tall)}
        found |= {"timeline": timeline(ON_PAGE), "overview": overview(ON_PAGE)}
    yield from ((name, chart) for name, chart in found.items() if chart is not None)


def _timelines(study: Study) -> Iterator[dict[str, Any]]:
    for run in study.runs:
        found = pack_run(study, run)
        if found is not None:
            yield found


def _facts(study: Study) -> Iterator[tuple[str, str]]:
    """Yield names and values of the machine and the plan."""
    host, plan = study.host, study.plan
    yield from (("system", host.distribution), ("kernel", f"Linux {host.kernel}, {host.machine}"))
    yield from (("CPU", f"{host.cpu_model or 'unknown'}, {host.cpus_allowed} of {host.cpus} allowed"),)
    yield from (
        ("memory", format_bytes(host.memory_bytes)),
        ("swap", format_bytes(host.swap_bytes) if host.swap_bytes else "none"),
    )
    yield from (("page size", format_bytes(host.page_bytes)), ("transparent huge pages", host.thp or "unknown"))
    limit = "no limit" if host.memory_limit_bytes is None else f"limited to {format_bytes(host.memory_limit_bytes)}"
    yield "control groups", f"{host.cgroup}, {limit}"
    if host.kernel_stack_bytes:
        yield "kernel stack of a thread", f"{format_bytes(host.kernel_stack_bytes)}, not counted in any figure"
    for name, value in host.limits.items():
        yield name, "no limit" if value is None else format_count(value)
    yield from (("seed", str(plan.seed)), ("concmem", study.version), ("begun", study.started_at))
