"""Install toolchains: list the packages, ask, show the progress, list what is still missing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection

import click

from concmem._escaping import escape_text
from concmem.cli._streams import say
from concmem.drivers import programs as drivers
from concmem.drivers import toolchains
from concmem.drivers.outside_programs import so_far
from concmem.drivers.programs import Missing, Program
from concmem.errors import ConcmemError
from concmem.units import format_bytes

__all__ = ["Steps", "install_missing"]

_EVERY_S = 30.0


class Steps:
    """Print the progress of long commands: on a terminal one line that changes, elsewhere a line every 30 seconds."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._open = False
        self._printed_s = 0.0

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.close()
        self._printed_s = 0.0
        click.echo(escape_text(line.expandtabs()), err=True)

    def watch(self, elapsed_s: float, line: str) -> None:
        """Print how long a command has been running, and the last line of its output."""
        text = f"  {so_far(elapsed_s, escape_text(line.expandtabs()))}"
        if self._on_terminal:
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[K{text[:width]}", err=True, nl=False)
            self._open = True
        elif elapsed_s - self._printed_s >= _EVERY_S:
            self._printed_s = elapsed_s
            click.echo(text, err=True)

    def close(self) -> None:
        """Clear the progress line."""
        if self._open:
            click.echo("\r\x1b[K", err=True, nl=False)
        self._open = False


def install_missing(programs: Collection[Program], *, ask: bool) -> dict[str, Missing]:
    """
    List what will be installed for these programs, ask if `ask` (on a terminal), install it, list what is missing.

    Returns:
        The programs that still cannot be run.
    """
    steps = Steps()
    plan = toolchains.plan(programs, steps.say, steps.watch)
    steps.close()
    if plan.here:
        _print_plan(plan, steps)
        if ask and _on_terminal() and not _confirmed():
            steps.say("Nothing was installed.")
        else:
            try:
                toolchains.install_for(programs, steps.say, steps.watch, lists_fetched=plan.lists_fetched)
            finally:
                steps.close()
    return _print_missing(programs)


class NotAnswered(ConcmemError, RuntimeError):
    """Standard input ended before the question was answered."""

    exit_code = 1


def _confirmed() -> bool:
    try:
        return click.confirm("Install?", default=True, err=True)
    except click.Abort as error:
        click.echo(err=True)  # end the line of the question
        if not isinstance(error.__context__, EOFError):
            raise
        raise NotAnswered("no answer: nothing was installed") from None


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _print_plan(plan: toolchains.Plan, steps: Steps) -> None:
    steps.say("Toolchains that will be installed:")
    for language, packages in plan.here.items():
        steps.say(f"  {language}: {packages}")
    minutes = max(1, round(plan.seconds / 60))
    steps.say(
        f"About {format_bytes(plan.download_bytes)} to download, {format_bytes(plan.disk_bytes)} of disk, "
        f"{minutes} minute{'' if minutes == 1 else 's'}. Debian packages are installed into the system, packages from "
        "PyPI and npm into concmem's cache folder."
    )


def _print_missing(programs: Collection[Program]) -> dict[str, Missing]:
    results = {program: drivers.detect(program) for program in programs}
    missing = {program: each for program, each in results.items() if isinstance(each, Missing)}
    by_reason: dict[Missing, list[Program]] = {}
    for program, each in missing.items():
        by_reason.setdefault(each, []).append(program)
    for each, its_programs in by_reason.items():
        # Without a command, print the manifest's own hint.
        by_hand = f" ({each.install})" if each.install and not toolchains.command(its_programs) else ""
        say(f"missing for {', '.join(program.name for program in its_programs)}: {each.reason}{by_hand}")
    if command := toolchains.command(list(missing)):
        say(f"to install what is missing: {command}")
    return {program.name: each for program, each in missing.items()}
