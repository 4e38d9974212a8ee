"""
All formats that concmem writes, each declared once: what is written, the ending of the file, and the writer.

The command takes the allowed endings from here. To add a format, add an entry to `OUTPUTS` and its writer.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, NamedTuple

from concmem._files.atomic import write_whole

__all__ = ["OUTPUTS", "Output", "check_needs", "content", "endings", "save"]


class Output(NamedTuple):
    """
    One format.

    Attributes:
        of: What is written: ``measurement``, ``timeline``, ``chart``; ``commands`` (compared), ``commands chart``;
            ``checks``, ``checks for`` another program; ``study``, ``comparison`` (of studies), ``claims``, ``page``.
        ending: The ending of the file, such as ``.csv``; or the program that reads it.
        writer: ``module:function``, imported on first use. The function returns the content as text or bytes.
        needs: ``module:function``, which raises an error if a library is missing; "" if none is needed.
    """

    of: str
    ending: str
    writer: str
    needs: str = ""


_CHARTS = "concmem.report.charts.measurement"
_COMMANDS = "concmem.report.charts.commands"
_TABLES = "concmem.report.tables"

OUTPUTS = (
    Output("measurement", ".json", "concmem._files.stored_form:to_json"),
    Output("timeline", ".csv", "concmem.export.csv:timeline_csv"),
    Output("timeline", ".npz", "concmem._files.stored_timeline:timeline_npz"),
    Output("chart", ".svg", f"{_CHARTS}:svg", needs=f"{_CHARTS}:need_extra"),
    Output("chart", ".png", f"{_CHARTS}:png", needs=f"{_CHARTS}:need_extra"),
    Output("chart", ".html", f"{_CHARTS}:html", needs=f"{_CHARTS}:need_extra"),
    Output("commands", ".json", "concmem.export.hyperfine:commands_json"),
    Output("commands", ".csv", "concmem.export.hyperfine:commands_csv"),
    Output("commands", ".md", f"{_TABLES}.commands:commands_markdown"),
    Output("commands chart", ".svg", f"{_COMMANDS}:svg", needs=f"{_COMMANDS}:need_extra"),
    Output("commands chart", ".png", f"{_COMMANDS}:png", needs=f"{_COMMANDS}:need_extra"),
    Output("commands chart", ".html", f"{_COMMANDS}:html", needs=f"{_COMMANDS}:need_extra"),
    Output("checks", ".md", f"{_TABLES}.checks:checks_markdown"),
    Output("checks for", "bmf", "concmem.export.checks:bmf"),
    Output("checks for", "github-action-benchmark", "concmem.export.checks:github_action_benchmark"),
    Output("study", ".md", f"{_TABLES}.peaks:markdown"),
    Output("study", ".csv", f"{_TABLES}.formats:csv_text"),
    Output("study", ".json", f"{_TABLES}.formats:study_json"),
    Output("study", ".parquet", f"{_TABLES}.formats:study_parquet"),
    Output("comparison", ".md", f"{_TABLES}.comparison:comparison_markdown"),
    Output("comparison", ".csv", f"{_TABLES}.formats:comparison_csv"),
    Output("comparison", ".json", f"{_TABLES}.formats:comparison_json"),
    Output("claims", ".md", f"{_TABLES}.claims:claims_markdown"),
    Output("claims", ".json", f"{_TABLES}.claims:claims_json"),
    Output("page", ".html", "concmem.report.page.build:page"),
)

_BY_ENDING = {(output.of, output.ending): output for output in OUTPUTS}


def endings(of: str) -> tuple[str, ...]:
    """Return the endings of the files that something can be written to."""
    return tuple(output.ending for output in OUTPUTS if output.of == of)


def _load(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def content(of: str, ending: str, value: Any) -> bytes:
    """
    Return the content of a file, text as UTF-8.

    Args:
        of: What is written.
        ending: The ending of the file.
        value: The measurement, the timeline, the comparison, or the `Results` of the study.

    Raises:
        KeyError: There is no such format.
        ReportExtraMissing: The format needs a library that is not installed.
    """
    written = _load(_BY_ENDING[of, ending].writer)(value)
    return written.encode() if isinstance(written, str) else bytes(written)


def check_needs(of: str, ending: str) -> None:
    """
    Check that the libraries that a format needs are installed.

    Raises:
        ReportExtraMissing: One is missing.
    """
    if needs := _BY_ENDING[of, ending].needs:
        _load(needs)()


def save(of: str, value: Any, path: Path) -> None:
    """
    Write a file in the format of its ending, completely or not at all.

    Raises:
        OSError: The file cannot be written.
        ReportExtraMissing: The format needs a library that is not installed.
    """
    write_whole(path, content(of, path.suffix.lower(), value))
