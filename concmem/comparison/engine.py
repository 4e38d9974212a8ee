"""Run the commands of a comparison in turn, in a random order, and measure each run."""

# Do not add `from __future__ import annotations`: `documented` shows the annotations as they are written.

import datetime
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from concmem._version import __version__
from concmem.comparison.candidates import Hooks, expand
from concmem.comparison.result import FIGURES, CommandResult, Comparison, FigureName
from concmem.comparison.session import Progress, Session
from concmem.errors import InvalidRequest
from concmem.host import describe
from concmem.options import Command, Options, documented

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["compare"]


@documented(Options)
def compare(
    commands: Mapping[str, Command] | Sequence[Command],
    *,
    runs: int | tuple[int, int] = 10,
    warmup: int = 0,
    reference: str | None = None,
    figure: FigureName = "peak",
    parameters: Mapping[str, Sequence[object]] | None = None,
    hooks: Hooks | Sequence[Hooks] | None = None,
    ignore_failure: bool = False,
    seed: int | None = None,
    progress: Progress | None = None,
    **options: "Unpack[Options]",
) -> Comparison:
    """
    Run several commands in turn, measure each run, and return how much each needs, with intervals and ratios.

    In each round every command runs once, in a random order that the seed determines. A command of which the first run
    fails is not run again. Other failed runs do not count; all are in the result.

    Args:
        commands: The commands as for `measure`, by name or without names.
        runs: The number of runs of each command. With two numbers, as many as fit into 3 seconds, between both.
        warmup: The number of runs of each command before the first one that counts.
        reference: The name of the command to compare with; by default the first one.
        figure: What to compare: ``peak``, ``largest_peak_rss``, ``tree_peak_pss``, ``cgroup_peak`` or ``wall`` (time).
        parameters: Values of parameters. Each command runs with every combination; ``{n}`` stands for the value of n.
        hooks: Commands to run around the measured ones, see `Hooks`; one for all commands, or one for each. If setup or
            cleanup differ between commands, all runs of a command are made together.
        ignore_failure: Also count runs that do not exit with 0.
        seed: The seed of the order; by default it is drawn, and stored in the result.
        progress: Called before each run and at the end.
        **options: As follows.
        {options}

    Other than for `measure`, `cgroup` and `taskstats` are on by default, and standard input and output are DEVNULL. The
    last line of standard error is kept of a failed run.

    Raises:
        InvalidRequest: An argument is invalid.
        HookFailed: A command of `hooks` failed.
        SamplerError, UnsupportedPlatform: As for `measure`.
    """
    if figure not in FIGURES:
        raise InvalidRequest(f"figure must be one of {', '.join(FIGURES)}, not {figure!r}")
    least, most = (runs, runs) if isinstance(runs, int) else runs
    for name, value, low in (("runs", least, 1), ("runs", most, least), ("warmup", warmup, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise InvalidRequest(f"{name} must be a whole number of at least {low}, not {value!r}")
    given = [hooks] if isinstance(hooks, Hooks) else list(hooks or [Hooks()])
    found = expand(commands, parameters, given)
    if reference is not None and reference not in [each.name for each in found]:
        raise InvalidRequest(f"reference must be the name of a command, not {reference!r}")
    options = cast(Options, {"cgroup": True, "taskstats": True, **options})
    seed = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    started_at = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    session = Session(found, (least, most), warmup, figure, ignore_failure, seed, progress, options)
    interleaved = session.run()
    return Comparison(
        results=tuple(
            CommandResult(
                name=each.name,
                command=each.shown,
                template=each.template,
                parameters=each.parameters,
                figure=figure,
                runs=tuple(session.runs[each.name]),
                stopped=session.stopped.get(each.name, ""),
            )
            for each in found
        ),
        reference=found[0].name if reference is None else reference,
        figure=figure,
        seed=seed,
        interleaved=interleaved,
        host=describe(),
        started_at=started_at,
        version=__version__,
    )
