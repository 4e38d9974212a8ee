"""Read the checks of a ``concmem.toml``, and print the results of a gate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import attrs

from concmem.cli._layout import Layout
from concmem.comparison.change import Estimate
from concmem.comparison.gate import Check, Gate
from concmem.comparison.intervals import median_interval
from concmem.comparison.result import FigureName, amount_text
from concmem.errors import InvalidRequest
from concmem.report.tables.checks import COLUMNS, cells, heading
from concmem.report.tables.commands import span_text
from concmem.units import parse_share

if TYPE_CHECKING:
    from concmem.comparison.baseline import Baseline
    from concmem.options import Options

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["ChecksInvalid", "baseline_text", "checks_text", "read_checks"]

_WIDEST = 120


class ChecksInvalid(InvalidRequest):
    """A ``concmem.toml`` is invalid. The message names the file and the key."""


@attrs.frozen(kw_only=True)
class _Table:
    """A table ``[check.NAME]``. Names and meanings of the keys are those of `concmem.comparison.gate.Check`."""

    command: str | tuple[str, ...]
    runs: int = 5
    warmup: int = 0
    fail_above: str = ""
    figure: FigureName = "peak"
    prepare: str = ""


@attrs.frozen(kw_only=True)
class _File:
    """The whole file: the tables, and the name of the baseline's file."""

    baseline: str = ""
    check: dict[str, _Table]


def read_checks(path: Path, fail_above: float, options: Options) -> tuple[dict[str, Check], Path | None]:
    """
    Read the checks of a file.

    Args:
        path: The file.
        fail_above: The limit of checks that do not have their own.
        options: Options of each measurement.

    Returns:
        The checks by name, and the file of the baseline, relative to the folder of `path`; None if it names none.

    Raises:
        ChecksInvalid: The file cannot be read, or is wrong.
    """
    from cattrs import transform_error

    from concmem._files.strict import describe

    converter = _converter()
    try:
        found = converter.structure(tomllib.loads(path.read_text(encoding="utf-8")), _File)
        checks = {name: _check(table, fail_above, options) for name, table in found.check.items()}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, InvalidRequest) as error:
        raise ChecksInvalid(f"{path}: {error.strerror if isinstance(error, OSError) else error}") from None
    except Exception as error:
        wrong = "; ".join(each.removesuffix(" @ $") for each in transform_error(error, format_exception=describe))
        raise ChecksInvalid(f"{path}: {wrong}") from None
    return checks, path.parent / found.baseline if found.baseline else None


def _converter() -> Any:
    from concmem._files.strict import strict_converter

    converter = strict_converter()
    words = converter.get_structure_hook(tuple[str, ...])
    for kind in (str | tuple[str, ...], tuple[str, ...] | str):
        converter.register_structure_hook(
            kind, lambda v, _: converter.structure(v, str) if isinstance(v, str) else words(v, tuple[str, ...])
        )
    return converter


def _check(table: _Table, fail_above: float, options: Options) -> Check:
    values = attrs.asdict(table) | {"options": options, "command": table.command}
    return Check(**values | {"fail_above": parse_share(table.fail_above) if table.fail_above else fail_above})


def baseline_text(baseline: Baseline, stream: TextIO) -> str:
    """Return the figures of a baseline as text for a stream, to which nothing is written."""
    layout = Layout(stream, _WIDEST)
    rows = [("figure", "median", "interval", "runs", "recorded", "check")]
    for name, each in baseline.checks.items():
        median = Estimate.of(each.sample.median, median_interval(each.sample))
        interval = "" if median.low is None or median.high is None else span_text(each.figure, median.low, median.high)
        amount = amount_text(each.figure, median.value)
        rows.append((each.figure, amount, interval, str(len(each.values)), each.recorded_at[:10], name))
    layout.table(rows, right=(1, 2, 3), has_titles=True)
    return str(layout)


def checks_text(gate: Gate, stream: TextIO) -> str:
    """Return the results as text, with the width, styles and characters of `stream`, to which nothing is written."""
    layout = Layout(stream, _WIDEST)
    # The name is last, because the last column is wrapped: without a name of its own it is the whole command.
    rows = [(verdict, *amounts, name) for name, *amounts, verdict in (COLUMNS, *map(cells, gate.results))]
    layout.table(rows, right=range(1, 6), has_titles=True)
    layout.text()
    for each in gate.results:
        layout.text(f"{each.sentence}.", bold=each.verdict != "ok")
    if len(gate.results) > 1:
        layout.text()
        layout.text(f"{heading(gate)}.")
    return str(layout)
