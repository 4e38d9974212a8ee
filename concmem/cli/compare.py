"""``concmem compare``: run several commands in turn, and say which needs less, and whether the difference is real."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from concmem.cli._options import file, measurement_options
from concmem.cli._waiting import ended_as_by_control_c
from concmem.cli._write import write_output
from concmem.comparison.candidates import Hooks, scan
from concmem.comparison.result import FIGURES
from concmem.export.outputs import check_needs, endings
from concmem.options import Command, Options

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from concmem.comparison import Comparison

__all__ = ["compare"]

_RUNS = 10
_Function = TypeVar("_Function", bound=Callable[..., Any])

_AFTER = "concmem.after"
"""The key of the words after ``--``."""


class _WithWords(click.Command):
    """A command whose words after ``--`` are one command to measure, while those before it are one command each."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[_AFTER] = args[at + 1 :]
            args = args[:at]
        return super().parse_args(ctx, args)


def _hooks(values: Mapping[str, Sequence[str]], commands: int) -> list[Hooks]:
    """Return the hooks of each command. An option is given once for all commands, or once for each."""
    for name, texts in values.items():
        if len(texts) not in (0, 1, commands):
            raise click.UsageError(f"--{name} must be given once, or once for each of the {commands} commands")
    if all(len(texts) <= 1 for texts in values.values()):
        return [Hooks(**{name: "".join(texts) for name, texts in values.items()})]
    return [
        Hooks(**{name: texts[i if len(texts) > 1 else 0] if texts else "" for name, texts in values.items()})
        for i in range(commands)
    ]


def _hook(name: str, letter: str, when: str) -> Callable[[_Function], _Function]:
    return click.option(
        f"--{name}", letter, multiple=True, metavar="CMD", help=f"Run CMD {when}, not measured; once, or per command."
    )


@click.command(cls=_WithWords, short_help="Compare commands: which needs less, and is it real?")
@click.option("--runs", "-r", metavar="N", type=click.IntRange(1), help=f"Run each command N times. [default: {_RUNS}]")
@click.option("--min-runs", "-m", metavar="N", type=click.IntRange(1), help="Run at least N times.")
@click.option(
    "--max-runs", "-M", metavar="N", type=click.IntRange(1), help="Run as often as fits into 3 s, at most N times."
)
@click.option(
    "--warmup", "-w", metavar="N", type=click.IntRange(0), default=0, help="Make N runs first that do not count."
)
@_hook("setup", "-s", "before the first run of a command")
@_hook("prepare", "-p", "before each run")
@_hook("conclude", "-C", "after each run")
@_hook("cleanup", "-c", "after the last run of a command")
@click.option(
    "--parameter-list", "-L", "lists", nargs=2, multiple=True, metavar="VAR A,B", help="Run with each value for {VAR}."
)
@click.option(
    "--parameter-scan", "-P", "scans", nargs=3, multiple=True, metavar="VAR MIN MAX", help="Run with each number."
)
@click.option(
    "--parameter-step-size", "-D", "step", metavar="D", default="1", help="Set the step of the scan. [default: 1]"
)
@click.option("--command-name", "-n", "names", multiple=True, metavar="NAME", help="Name a command; once for each.")
@click.option("--reference", metavar="CMD", help="Compare with this command or name. [default: the first]")
@click.option("--figure", type=click.Choice(FIGURES), default="peak", show_default=True, help="Compare by this figure.")
@click.option("--ignore-failure", "-i", is_flag=True, help="Count runs that do not exit with 0, too.")
@click.option("--shell", "-S", metavar="SHELL", default="/bin/sh", show_default=True, help="Run commands by SHELL -c.")
@click.option("--no-shell", "-N", is_flag=True, help="Run commands without a shell; quotes still work.")
@click.option("--show-output", is_flag=True, help="Show the output of the commands.")
@click.option("--seed", metavar="S", type=int, help="Set the seed of the order of the runs. [default: random; stored]")
@click.option(
    "--export-json", metavar="FILE", callback=file(dash=True), help="Write JSON that hyperfine's scripts read."
)
@click.option("--export-csv", metavar="FILE", callback=file(dash=True), help="Write CSV.")
@click.option("--export-markdown", metavar="FILE", callback=file(dash=True), help="Write a table as Markdown.")
@click.option(
    "--plot",
    metavar="FILE",
    callback=file("commands chart"),
    help=f"Draw bars, or a curve over a parameter ({', '.join(endings('commands chart'))}).",
)
@measurement_options
@click.argument("commands", metavar="[CMD]...", nargs=-1)
@click.pass_context
def compare(
    ctx: click.Context,
    commands: tuple[str, ...],
    runs: int | None,
    min_runs: int | None,
    max_runs: int | None,
    warmup: int,
    setup: tuple[str, ...],
    prepare: tuple[str, ...],
    conclude: tuple[str, ...],
    cleanup: tuple[str, ...],
    lists: tuple[tuple[str, str], ...],
    scans: tuple[tuple[str, str, str], ...],
    step: str,
    names: tuple[str, ...],
    reference: str | None,
    figure: Any,
    ignore_failure: bool,
    shell: str,
    no_shell: bool,
    show_output: bool,
    seed: int | None,
    export_json: Path | None,
    export_csv: Path | None,
    export_markdown: Path | None,
    plot: Path | None,
    **options: Unpack[Options],
) -> int:
    """
    Run each CMD several times, and say which needs less memory, and whether the difference is real.

    Each CMD is one argument, run by a shell: concmem compare 'sort -S1M big' 'sort -S1G big'. Or give one command after
    --, without a shell, with -L or -P: concmem compare -P n 1 9 -D 2 -- prog --size {n}. The commands take turns in a
    random order. Letters are those of hyperfine; time and CPU stand beside memory.

    \b
    Exit status: 0, or
      1    a run failed (without -i), or a command of --setup, --prepare, --conclude, --cleanup
      2    an option was wrong; nothing was run
      125  concmem itself failed, or could not write an output file
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not wrapped
    from concmem.cli._comparison import ProgressLine, comparison_text
    from concmem.comparison import compare as run_all

    if plot is not None:
        check_needs("commands chart", plot.suffix.lower())
    texts: list[str] = list(commands)
    after: list[str] = ctx.meta.get(_AFTER, [])
    if texts and after:
        raise click.UsageError("give either commands as one argument each, or one command after --")
    parameters = _parameters(lists, scans, step)
    if reference is not None and reference not in (*texts, *names) and not after and not parameters:
        texts.insert(0, reference)
        names = (reference, *names) if names else ()
    made: list[Command] = [after] if after else [_command(text, shell, no_shell) for text in texts]
    if not made:
        raise click.UsageError("give at least one command")
    if len(names) > len(made):
        raise click.UsageError(f"{len(names)} names are given for {len(made)} commands")
    called = [*names, *(texts or [shlex.join(after)])[len(names) :]]
    hooks = {"setup": setup, "prepare": prepare, "conclude": conclude, "cleanup": cleanup}
    if show_output:
        options["stdout"] = options["stderr"] = None
    progress = ProgressLine(sys.stderr)
    try:
        with ended_as_by_control_c():
            comparison = run_all(
                list(made) if parameters and not names else _named(called, made),
                runs=_range(runs, min_runs, max_runs),
                warmup=warmup,
                reference=called[texts.index(reference)] if reference in texts and not parameters else reference,
                figure=figure,
                parameters=parameters,
                hooks=_hooks(hooks, len(made)),
                ignore_failure=ignore_failure,
                seed=seed,
                progress=None if show_output else progress,
                **options,
            )
    finally:
        progress.clear()
    outputs = ((".json", export_json), (".csv", export_csv), (".md", export_markdown))
    if not any(str(path) == "-" for _, path in outputs):
        sys.stdout.write(comparison_text(comparison, sys.stdout))
        sys.stdout.flush()
    written = [write_output("commands", ending, comparison, path) for ending, path in outputs if path is not None]
    if plot is not None:
        written.append(write_output("commands chart", plot.suffix.lower(), comparison, plot))
    if not all(written):
        return 125
    return _status(comparison)


def _status(comparison: Comparison) -> int:
    return 1 if comparison.failures else 0


def _command(text: str, shell: str, no_shell: bool) -> Command:
    if no_shell or shell == "none":
        words = shlex.split(text)
        if not words:
            raise click.UsageError("a command is empty")
        return words
    return text if shell == "/bin/sh" else [*shlex.split(shell), "-c", text]


def _named(called: Sequence[str], made: Sequence[Command]) -> dict[str, Command]:
    if len(set(called)) < len(called):
        raise click.UsageError("two commands have the same name: name them with -n")
    return dict(zip(called, made, strict=True))


def _range(runs: int | None, least: int | None, most: int | None) -> int | tuple[int, int]:
    if runs is not None:
        if least is not None or most is not None:
            raise click.UsageError("--runs cannot be used with --min-runs or --max-runs")
        return runs
    if least is None and most is None:
        return _RUNS
    low = min(_RUNS, most or _RUNS) if least is None else least
    high = max(_RUNS, low) if most is None else most
    if high < low:
        raise click.UsageError(f"--max-runs {high} is below --min-runs {low}")
    return low, high


def _parameters(
    lists: Sequence[tuple[str, str]], scans: Sequence[tuple[str, str, str]], step: str
) -> dict[str, list[str]]:
    values = {name: each.split(",") for name, each in lists}
    for name, low, high in scans:
        values[name] = scan(low, high, step)
    if len(values) < len(lists) + len(scans):
        raise click.UsageError("a parameter is given twice")
    return values
