"""``concmem bench``: the study, from its plan to its figures."""

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
from concmem.units import parse_count, parse_seconds

if TYPE_CHECKING:
    from concmem.study import Plan

__all__ = ["bench"]

_INCOMPLETE = 3
"""The exit status of a study with fewer than the programs that were asked for."""
_QUICK = {"tasks": (1, 1_000, 10_000), "sleep_s": 1.0, "runs": 1, "runs_at": ()}


def _names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    names = None if value is None else tuple(name.strip() for name in value.split(",") if name.strip())
    if names == ():
        raise click.BadParameter("it names nothing")
    return names


def _counts(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    return None if value is None else tuple(parse_count(count) for count in value.split(","))


def _runs(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, tuple[tuple[int, int], ...]] | None:
    if value is None:
        return None
    general, *special = value.split(",")
    pairs = [each.partition(":") for each in special]
    if not all(general.isdigit() for general in (general, *(runs for _, _, runs in pairs))):
        raise click.BadParameter("it is to be a number of runs, like 5, or one with exceptions, like 5,1M:3")
    return int(general), tuple((parse_count(tasks), int(runs)) for tasks, _, runs in pairs)


@click.command()
@click.option(
    "--programs",
    metavar="A,B",
    callback=_names,
    help="Which programs; all is every one. [default: the article's ten, and all of --programs-dir]",
)
@click.option("--variant", "variants", metavar="V,V", callback=_names, help="Only programs of these variants.")
@click.option("--workload", metavar="W", help="What the tasks do: sleep, spawn, channel. [default: sleep]")
@click.option(
    "--tasks", metavar="N,N", callback=_counts, help="How many tasks each starts at once. [default: 1,10k,100k,1M]"
)
@click.option(
    "--runs",
    metavar="K[,N:K]",
    callback=_runs,
    help="Runs of every program at every size; 5,1M:3 makes 5, but 3 with a million tasks. [default: 1]",
)
@click.option(
    "--sleep",
    "sleep_s",
    metavar="S",
    callback=amount(parse_seconds),
    help="How long a task sleeps; the seconds of another workload. [default: 10 s]",
)
@click.option(
    "--out", metavar="DIR", type=click.Path(path_type=Path), help="Where everything goes. [default: study-<date>]"
)
@click.option("--quick", is_flag=True, help="As --tasks 1,1k,10k --sleep 1 --runs 1, where these are not given.")
@click.option("--resume", is_flag=True, help="Go on with the study in --out, else in the latest study-* here.")
@click.option(
    "--lift-limits",
    is_flag=True,
    help="Raise limits on threads for the study, then put them back (root).",
)
@click.option("--seed", metavar="S", type=int, help="Of the order of the programs. [default: drawn, and stored]")
@click.option(
    "--programs-dir",
    "programs_dirs",
    metavar="DIR",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="A folder with further languages and programs; may be given several times.",
)
@click.option(
    "--install-toolchains",
    type=click.Choice(("ask", "yes", "no")),
    default="no",
    show_default=True,
    help="Get the toolchains that the programs lack first; ask asks, where there is a terminal.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Make the runs on the workers of this Dask scheduler, like tcp://host:8786. [default: on this machine]",
)
@click.option("--no-wait", is_flag=True, help="End with 75 if another study measures on this machine.")
@click.option(
    "--wait",
    "wait_s",
    metavar="TIME",
    callback=amount(parse_seconds),
    help="Wait so long for another study that measures on this machine. [default: until it ends]",
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
    How much memory do N concurrent tasks need? Run every program at every N, then draw the figures.

    Each run is stored as soon as it has ended: Ctrl-C loses the one in flight, and --resume goes on.
    With --resume, what is not given is as in the study's own plan.

    The first line says how many runs there are to make, and about how much time, disk and memory all takes on this
    machine: toolchains that will be installed and programs that must be built included, and with --resume only what is
    left. By default that is 40 runs and 4.1 GiB of memory; the first time about 15 minutes and 170 MiB of disk, later
    11 minutes and 21 MiB. With --quick 30 runs and 0.3 GiB; the first time about 4 minutes and 170 MiB, later a minute
    and 17 MiB. Toolchains that are missing come on top.

    Ends with 3 where some of the programs could not be run because a toolchain is missing or a build failed.
    """
    from concmem import study
    from concmem.report import print_table

    if no_wait and wait_s is not None:
        raise click.UsageError("--no-wait and --wait exclude each other")
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
        _get_toolchains(plan, ask=install_toolchains == "ask")
    progress = study.make_progress(PipeConsole(stderr=True), f"The study goes into {directory}")
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
        except ConcmemError as unread:
            say(why if isinstance(unread, study.StudyError) else f"{why}; {unread}")  # it had not begun, or is damaged
            raise SystemExit(status) from None
        again = f"concmem bench --resume --out {shell_word(str(directory))}"
        again += f" --scheduler {shell_word(scheduler)}" if scheduler else ""
        say(f"{why}; {stored} run{'' if stored == 1 else 's'} stored. To go on: {again}")
        raise SystemExit(status) from None
    paths, _ = written(directory)
    print_table(done, PipeConsole())
    show()
    show(f"Written: {', '.join(path.name for path in paths)} in {directory}")
    missing = [entry.name for entry in done.programs if entry.missing]
    if missing:
        say(f"{len(missing)} of {len(done.programs)} programs could not be run: {', '.join(missing)}")
        raise SystemExit(_INCOMPLETE)


def _get_toolchains(plan: Plan, *, ask: bool) -> None:
    """Get what the programs of a plan lack; a study without some of them is a study all the same."""
    from concmem.cli._getting import get
    from concmem.drivers import programs as drivers

    found = drivers.load_programs([Path(folder) for folder in plan.programs_dirs])
    get(drivers.choose(found, plan.programs, plan.variants).values(), ask=ask)
