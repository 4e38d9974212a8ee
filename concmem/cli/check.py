"""``concmem check``: judge commands by a baseline, and fail if one needs more."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from concmem.cli._options import amount, file, measurement_options
from concmem.cli._streams import FAILED, report_error, sentence
from concmem.cli._waiting import ended_as_by_control_c
from concmem.cli._write import write_output
from concmem.comparison.result import FIGURES
from concmem.export.outputs import endings
from concmem.options import Options
from concmem.units import parse_share

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from concmem.comparison.gate import Gate

__all__ = ["check"]

_CONFIG = Path("concmem.toml")
_FORMATS = endings("checks for")


@click.command(
    context_settings={"allow_interspersed_args": False}, short_help="Judge a command's memory by a baseline, for CI."
)
@click.option("--baseline", metavar="FILE", type=click.Path(path_type=Path), help="Judge by the figures in this file.")
@click.option("--update", is_flag=True, help="Write the figures into the baseline instead of judging them.")
@click.option(
    "--fail-above",
    metavar="SHARE",
    default="5%",
    show_default=True,
    callback=amount(parse_share),
    help="Fail if it needs more than the baseline by this part.",
)
@click.option("--runs", "-r", metavar="N", type=click.IntRange(1), default=5, show_default=True, help="Run N times.")
@click.option("--warmup", "-w", metavar="N", type=click.IntRange(0), default=0, help="Make N runs first, not counted.")
@click.option("--prepare", "-p", metavar="CMD", default="", help="Run CMD before each run, not measured.")
@click.option("--name", "-n", metavar="NAME", help="Name the check. [default: the command]")
@click.option("--figure", type=click.Choice(FIGURES), default="peak", show_default=True, help="Judge this figure.")
@click.option("--any-machine", is_flag=True, help="Judge by a baseline from another machine or kernel, too.")
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Without CMD, run the checks of this file. [default: concmem.toml]",
)
@click.option("--summary", metavar="FILE", callback=file(), help="Append the table to FILE as Markdown.")
@click.option(
    "--export",
    "exports",
    nargs=2,
    multiple=True,
    metavar="FORMAT FILE",
    help=f"Write the figures for {' or '.join(_FORMATS)}.",
)
@measurement_options
@click.argument("command", metavar="[[--] CMD...]", nargs=-1, type=click.UNPROCESSED)
def check(
    command: tuple[str, ...],
    baseline: Path | None,
    update: bool,
    fail_above: float,
    runs: int,
    warmup: int,
    prepare: str,
    name: str | None,
    figure: Any,
    any_machine: bool,
    config: Path | None,
    summary: Path | None,
    exports: tuple[tuple[str, str], ...],
    **options: Unpack[Options],
) -> int:
    """
    Run CMD several times, and fail if it certainly needs more memory than the baseline.

    "Certainly" means that the whole interval of the ratio is above the limit, the errors of the figures included.
    Growth that is not shown passes. Without CMD, the checks of concmem.toml are run. In GitHub Actions the table is
    added to the summary of the job. CMD is executed without a shell.

    \b
    Exit status: 0, or
      3    it needs more than the limit allows, beyond noise
      4    it cannot be judged: too few runs, too much scatter, too small for the figure's own error,
           no baseline, or a baseline from another machine
      2    an option was wrong; nothing was run
      125  concmem itself failed, or could not write a file
      else the status of CMD, if a run of it failed
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not wrapped
    from concmem.cli._checks import checks_text, read_checks
    from concmem.cli._comparison import ProgressLine
    from concmem.comparison.gate import Check
    from concmem.comparison.gate import check as judge_all

    files = [(form, file()(click.get_current_context(), None, path)) for form, path in exports]
    for form, _ in files:
        if form not in _FORMATS:
            raise click.UsageError(f"--export must be {' or '.join(_FORMATS)}, not {form}")
    if command:
        if config is not None:
            raise click.UsageError("--config cannot be used with a command")
        one = Check(
            command=list(command), runs=runs, warmup=warmup, fail_above=fail_above, figure=figure, prepare=prepare,
            options=options,
        )  # fmt: skip
        checks, named = {name or shlex.join(command): one}, None
    else:
        path = config or _CONFIG
        if config is None and not path.exists():
            raise click.UsageError("give a command, or write checks into concmem.toml")
        checks, named = read_checks(path, fail_above, options)
    where = baseline or named
    if where is None:
        raise click.UsageError("--baseline FILE is missing: where the figures are kept")
    progress = ProgressLine(sys.stderr)
    try:
        with ended_as_by_control_c():
            gate = judge_all(checks, where, update=update, any_machine=any_machine, progress=progress)
    finally:
        progress.clear()
    sys.stdout.write(checks_text(gate, sys.stdout))
    sys.stdout.flush()
    written = [_append(gate, target) for target in _summaries(summary)]
    written += [write_output("checks for", form, gate, path) for form, path in files if path is not None]
    return gate.status if all(written) or gate.status else FAILED


def _summaries(summary: Path | None) -> list[Path]:
    """Return the files to which the table is appended: that of the option, and that of a job of GitHub Actions."""
    of_job = os.environ.get("GITHUB_STEP_SUMMARY", "")
    return list(dict.fromkeys([*([summary] if summary else []), *([Path(of_job)] if of_job else [])]))


def _append(gate: Gate, path: Path) -> bool:
    from concmem.export.outputs import content

    try:
        with open(path, "ab") as opened:
            opened.write(content("checks", ".md", gate))
    except OSError as error:
        report_error(error, sentence(error))
        return False
    return True
