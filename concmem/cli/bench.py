"""``concmem bench``: run the study and write its report."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from concmem._escaping import escape_text, shell_word
from concmem.cli._console import PipeConsole
from concmem.cli._options import amount, say_cache
from concmem.cli._streams import say, show
from concmem.cli._waiting import ended_as_by_control_c
from concmem.cli.report import written
from concmem.errors import ConcmemError
from concmem.units import parse_count, parse_seconds, spell_seconds

if TYPE_CHECKING:
    from concmem.study import Plan

__all__ = ["bench"]

_INCOMPLETE = 3
"""The exit status of a study in which some of the selected programs could not be run."""
_QUICK = {"tasks": (1, 1_000, 10_000), "sleep_s": 1.0, "runs": 1, "runs_at": ()}


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    names = None if value is None else tuple(name.strip() for name in value.split(",") if name.strip())
    if names == ():
        raise click.BadParameter("must name at least one")
    return names


def _counts(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(parse_count(count) for count in value.split(","))


def _sleep(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    from concmem.study.plan import MOST_S

    seconds = amount(parse_seconds)(ctx, param, value)
    if seconds is not None and not 0 < seconds <= MOST_S:
        raise click.BadParameter(f"{value!r} is not above 0, or is more than {spell_seconds(MOST_S)}")
    return seconds


def _runs(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, tuple[tuple[int, int], ...]] | None:
    if value is None:
        return None
    general, *special = value.split(",")
    pairs = [each.partition(":") for each in special]
    if not all(general.isdigit() for general in (general, *(runs for _, _, runs in pairs))):
        raise click.BadParameter("must be a number of runs, such as 5, or one with exceptions, such as 5,1M:3")
    return int(general), tuple((parse_count(tasks), int(runs)) for tasks, _, runs in pairs)


@click.command()
@click.option(
    "--programs",
    metavar="A,B",
    callback=_names,
    help="Run these programs, or all. [default: the article's ten, and all of --programs-dir]",
)
@click.option("--variant", "variants", metavar="V,V", callback=_names, help="Run only programs of these variants.")
@click.option("--workload", metavar="W", help="Set what the tasks do: sleep, spawn, channel. [default: sleep]")
@click.option(
    "--tasks", metavar="N,N", callback=_counts, help="Set the numbers of tasks at once. [default: 1,10k,100k,1M]"
)
@click.option(
    "--runs",
    metavar="K[,N:K]",
    callback=_runs,
    help="Run each program K times at each N; 5,1M:3 means 3 times at 1M, else 5. [default: 1]",
)
@click.option(
    "--sleep",
    "sleep_s",
    metavar="S",
    callback=_sleep,
    help="Set how long a task sleeps, or how long another workload runs. [default: 10 s]",
)
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), help="Write the study to DIR. [default: study-<date>]"
)
@click.option("--quick", is_flag=True, help="Use --tasks 1,1k,10k --sleep 1 --runs 1, unless these are given.")
@click.option("--resume", is_flag=True, help="Continue the study in --out, or the latest study-* in this folder.")
@click.option(
    "--lift-limits",
    is_flag=True,
    help="Raise the limits on threads for the study, then restore them (root).",
)
@click.option(
    "--seed", metavar="S", type=int, help="Set the seed of the order of the programs. [default: random; stored]"
)
@click.option(
    "--programs-dir",
    "programs_dirs",
    metavar="DIR",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="Add the languages and programs in this folder; may be repeated.",
)
@click.option(
    "--install-toolchains",
    type=click.Choice(("ask", "yes", "no")),
    default="no",
    show_default=True,
    help="Install missing toolchains first; ask asks if there is a terminal.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Run on the workers of this Dask scheduler, such as tcp://host:8786. [default: this machine]",
)
@click.option("--no-wait", is_flag=True, help="Exit with 75 if another study is running on this machine.")
@click.option(
    "--wait",
    "wait_s",
    metavar="TIME",
    callback=amount(parse_seconds),
    help="Wait at most this long for another study on this machine. [default: until it ends]",
)
def bench(
    out: Path | None,
    resume: bool,
    quick: bool,
    lift_limits: bool,
    runs: tuple[int, tuple[tuple[int, int], ...]] | None,
    scheduler: str | None,
    no_wait: bool,
    wait_s: float | None,
    install_toolchains: str,
    **options: Any,
) -> None:
    """
    Measure how much memory N concurrent tasks need: run every program at every N, then write the report.

    Each run is stored as soon as it has ended. Ctrl-C loses only the run in progress, and --resume continues the study.
    With --resume, options that are not given are those of the study.

    The first line states the number of runs, and about how much time, disk and memory they take on this machine. It
    includes toolchains that will be installed and programs that must be built. With --resume it covers only what is
    left. Without toolchains to install, the default study takes 40 runs and 4.1 GiB of memory; the first time about 15
    minutes and 170 MiB of disk, later 11 minutes and 21 MiB. --quick takes 30 runs and 0.3 GiB; the first time about 4
    minutes and 170 MiB, later a minute and 17 MiB.

    The exit status is 3 if some programs could not be run because a toolchain is missing or a build failed.
    """
    from concmem import study
    from concmem.report import print_table
    from concmem.study.results.results import Results

    if no_wait and wait_s is not None:
        raise click.UsageError("--no-wait and --wait cannot be used together")
    directory = out or study.default_directory(resume=resume)
    base = study.load_study(directory).plan if resume else study.Plan()
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if runs is not None:
        given["runs"], given["runs_at"] = runs
    plan = attrs.evolve(base, **{**(_QUICK if quick else {}), **given})
    if scheduler is None:
        if outlook := study.look_ahead(plan, directory, resume=resume, install=install_toolchains != "no"):
            click.echo(escape_text(f"{outlook}."), err=True)
        say_cache()
    if install_toolchains != "no" and scheduler is None:
        _install_toolchains(plan, ask=install_toolchains == "ask")
    progress = study.make_progress(PipeConsole(stderr=True), f"Writing the study to {directory}")
    try:
        with ended_as_by_control_c():
            done = study.bench(
                plan, directory, resume=resume, lift_limits=lift_limits, progress=progress, scheduler=scheduler,
                wait_s=0.0 if no_wait else wait_s,
            )  # fmt: skip
    except (KeyboardInterrupt, study.StudyNotStored, study.ClusterError, study.MachineBusy) as error:
        if isinstance(error, ConcmemError):
            why, status = str(error), error.exit_code
        else:
            why, status = str(error) or "interrupted", 128 + getattr(error, "number", signal.SIGINT)
        try:
            stored = len(study.load_study(directory).runs)
        except ConcmemError as load_error:  # the study had not begun, or its files are damaged
            say(why if isinstance(load_error, study.StudyError) else f"{why}; {load_error}")
            raise SystemExit(status) from None
        again = f"concmem bench --resume --out {shell_word(str(directory))}"
        again += f" --scheduler {shell_word(scheduler)}" if scheduler else ""
        say(f"{why}; {stored} run{'' if stored == 1 else 's'} stored. To continue: {again}")
        raise SystemExit(status) from None
    results = Results(done)
    paths, _ = written(results)
    print_table(results, PipeConsole())
    show()
    show(f"Written: {', '.join(path.name for path in paths)} in {directory}")
    missing = [entry.name for entry in done.programs if entry.missing]
    if missing:
        say(f"{len(missing)} of {len(done.programs)} programs could not be run: {', '.join(missing)}")
        raise SystemExit(_INCOMPLETE)


def _install_toolchains(plan: Plan, *, ask: bool) -> None:
    """Install the toolchains that a plan lacks. The study runs without the programs that still lack one."""
    from concmem.cli._install import install_missing
    from concmem.drivers import programs as drivers

    found = drivers.load_programs([Path(folder) for folder in plan.programs_dirs])
    install_missing(drivers.choose(found, plan.programs, plan.variants).values(), ask=ask)
