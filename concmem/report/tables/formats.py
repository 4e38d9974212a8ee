"""The rows of a study and the cells of a comparison in formats for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin, get_type_hints

import attrs

from concmem._escaping import csv_cell
from concmem.export import outputs
from concmem.report.charts.study import ReportExtraMissing
from concmem.report.tables.comparison import finding
from concmem.study import Row, Study
from concmem.study.results.comparison import Comparison, Pair
from concmem.study.results.results import Results
from concmem.study.results.row import COLUMNS, column_names

__all__ = [
    "COMPARISON_FORMATS",
    "STUDY_FORMATS",
    "comparison_bytes",
    "comparison_csv",
    "comparison_json",
    "csv_text",
    "row_record",
    "study_bytes",
    "study_json",
    "study_parquet",
]

SCHEMA = 1
"""The version of the schema of the JSON formats."""

_NO_LIMIT = {"error_bytes": "sampled", "over_bytes": "upper_bound"}
"""The status of a figure for which an attribute has no meaning."""
_OF_BOTH = tuple(name for name in COLUMNS if name not in ("program", "tasks"))


def row_record(row: Row) -> dict[str, Any]:
    """
    Return a row as a dict of its columns.

    ``error_bytes`` and ``over_bytes`` are by how much the truth can exceed, and fall short of, a figure. They are None
    if unknown: ``error_bytes`` if ``figure_status`` contains ``sampled``, ``over_bytes`` if it contains
    ``upper_bound``.
    """
    record = {name: getattr(row, name) for name in COLUMNS}
    for name, status in _NO_LIMIT.items():
        if row.median_bytes is None or status in row.figure_statuses:
            record[name] = None
    return record


def csv_text(results: Results) -> str:
    """Return all rows as CSV, in the columns `COLUMNS`; empty if `row_record` has None."""
    return _csv(COLUMNS, map(row_record, results.all_rows))


def _csv(columns: Iterable[str], records: Iterable[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for record in records:
        writer.writerow([csv_cell(record[name]) for name in columns])
    return out.getvalue()


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=1) + "\n"


def _about(study: Study) -> dict[str, Any]:
    """Return a study without its runs."""
    return {
        "plan": attrs.asdict(study.plan),
        "host": attrs.asdict(study.host),
        "programs": [attrs.asdict(entry) for entry in study.programs],
        "started_at": study.started_at,
        "version": study.version,
    }


def _head(results: Results) -> dict[str, Any]:
    by_program = {program: attrs.asdict(cost) for program, cost in results.costs.items()}
    return {"what": "concmem rows", "schema": SCHEMA, **_about(results.study), "costs": by_program}


def study_json(results: Results) -> str:
    """Return all rows as JSON, with the study's plan, machine, programs and costs."""
    return _json({**_head(results), "rows": [row_record(row) for row in results.all_rows]})


def study_parquet(results: Results) -> bytes:
    """Return one table of all rows. Its metadata has the study as JSON, under ``concmem``."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ReportExtraMissing(
            f"Parquet needs {error.name}, which is missing: pip install 'concmem[parquet]'"
        ) from error
    hints = get_type_hints(Row)

    def kind(hint: Any) -> Any:
        parts = {hint, *get_args(hint)}
        if get_origin(hint) is tuple:
            return pyarrow.list_(pyarrow.string())
        if bool in parts:
            return pyarrow.bool_()
        return pyarrow.int64() if int in parts else pyarrow.float64() if float in parts else pyarrow.string()

    schema = pyarrow.schema(
        [(name, kind(hints.get(name, str))) for name in COLUMNS],
        metadata={"concmem": json.dumps(_head(results))},
    )
    table = pyarrow.Table.from_pylist([row_record(row) for row in results.all_rows], schema=schema)
    out = io.BytesIO()
    parquet.write_table(table, out)
    return out.getvalue()


def _flat(pair: Pair) -> dict[str, Any]:
    """Return a cell as one line. The attributes of the two rows have the prefixes ``a_`` and ``b_``."""
    flat: dict[str, Any] = {}
    for name in column_names(Pair):
        value = getattr(pair, name)
        if name in ("a", "b"):
            record = row_record(value) if value is not None else {}
            flat |= {f"{name}_{of_row}": record.get(of_row) for of_row in _OF_BOTH}
        else:
            flat[name] = "; ".join(map(str, value)) if name == "unlike" else value
    return flat


def comparison_csv(comparison: Comparison) -> str:
    """Return the cells of a comparison as CSV, one line for each."""
    none = Pair(program="", tasks=0, a=None, b=None)
    return _csv(list(_flat(none)), map(_flat, comparison.pairs))


def comparison_json(comparison: Comparison) -> str:
    """Return a comparison as JSON."""

    def nested(pair: Pair) -> dict[str, Any]:
        both = {name: row_record(row) if row else None for name, row in (("a", pair.a), ("b", pair.b))}
        record = attrs.asdict(attrs.evolve(pair, a=None, b=None)) | both
        return {**{name: record[name] for name in column_names(Pair)}, "is_far": pair.is_far}

    return _json(
        {
            "what": "concmem comparison",
            "schema": SCHEMA,
            "finding": finding(comparison),
            "a": _about(comparison.a),
            "b": _about(comparison.b),
            "differences": [attrs.asdict(each) for each in comparison.differences],
            "pairs": [nested(pair) for pair in comparison.pairs],
        }
    )


STUDY_FORMATS = tuple(ending[1:] for ending in outputs.endings("study"))
COMPARISON_FORMATS = tuple(ending[1:] for ending in outputs.endings("comparison"))


def study_bytes(study: Study | Results, form: str) -> bytes:
    """
    Return all rows of a study in one of `STUDY_FORMATS`, text as UTF-8.

    Raises:
        ReportExtraMissing: The format needs a library that is not installed.
    """
    return outputs.content("study", f".{form}", Results.of(study))


def comparison_bytes(comparison: Comparison, form: str) -> bytes:
    """Return a comparison in one of `COMPARISON_FORMATS`, as UTF-8."""
    return outputs.content("comparison", f".{form}", comparison)
