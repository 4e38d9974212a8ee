"""Getting toolchains for a command: what will be installed, the question, the progress, and what is still missing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection

import click

from concmem._escaping import escape_text
from concmem.cli._streams import say
from concmem.drivers import programs as drivers
from concmem.drivers import toolchains
from concmem.drivers.long_command import so_far
from concmem.drivers.programs import Missing, Program
from concmem.errors import ConcmemError
from concmem.units import format_bytes

__all__ = ["Steps", "get"]

_EVERY_S = 30.0


class Steps:
    """What long steps say: on a terminal a last line that changes every second, elsewhere a line every 30 seconds."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._open = False
        self._told_s = 0.0

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.close()
        self._told_s = 0.0
        click.echo(escape_text(line.expandtabs()), err=True)

    def watch(self, elapsed_s: float, line: str) -> None:
        """Show for how long a command has been running, and the last line of its output."""
        text = f"  {so_far(elapsed_s, escape_text(line.expandtabs()))}"
        if self._on_terminal:
            width = shutil.get_terminal_size().columns - 1
            click.echo(f"\r\x1b[K{text[:width]}", err=True, nl=False)
            self._open = True
        elif elapsed_s - self._told_s >= _EVERY_S:
            self._told_s = elapsed_s
            click.echo(text, err=True)

    def close(self) -> None:
        """Take the last line away."""
        if self._open:
            click.echo("\r\x1b[K", err=True, nl=False)
        self._open = False


def get(programs: Collection[Program], *, ask: bool) -> dict[str, Missing]:
    """
    Say what will be installed for these programs, ask on a terminal if wanted, install it, say what is missing then.

    Returns:
        The programs that cannot be run afterwards.
    """
    steps = Steps()
    plan = toolchains.plan(programs, steps.say, steps.watch)
    steps.close()
    if plan.here:
        _tell(plan, steps)
        if ask and _on_terminal() and not _confirmed():
            steps.say("Nothing was installed.")
        else:
            try:
                toolchains.install_for(programs, steps.say, steps.watch, lists_fetched=plan.lists_fetched)
            finally:
                steps.close()
    return _tell_missing(programs)


class NotAnswered(ConcmemError, RuntimeError):
    """Standard input ended where an answer was asked for."""

    exit_code = 1


def _confirmed() -> bool:
    try:
        return click.confirm("Install?", default=True, err=True)
    except click.Abort as error:
        click.echo(err=True)  # the question's line is still open
        if not isinstance(error.__context__, EOFError):
            raise
        raise NotAnswered("the question was not answered: nothing was installed") from None


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _tell(plan: toolchains.Plan, steps: Steps) -> None:
    steps.say("Toolchains that will be installed:")
    for language, packages in plan.here.items():
        steps.say(f"  {language}: {packages}")
    minutes = max(1, round(plan.seconds / 60))
    steps.say(
        f"About {format_bytes(plan.download_bytes)} to download, {format_bytes(plan.disk_bytes)} of disk, "
        f"{minutes} minute{'' if minutes == 1 else 's'}. Debian packages become part of the system; packages from PyPI "
        "and npm go into concmem's cache folder."
    )


def _tell_missing(programs: Collection[Program]) -> dict[str, Missing]:
    found = {program: drivers.detect(program) for program in programs}
    missing = {program: each for program, each in found.items() if isinstance(each, Missing)}
    alike: dict[Missing, list[Program]] = {}
    for program, each in missing.items():
        alike.setdefault(each, []).append(program)
    for each, of_it in alike.items():
        # A language for which no command helps says what else to do.
        by_hand = f" ({each.install})" if each.install and not toolchains.command(of_it) else ""
        say(f"missing for {', '.join(program.name for program in of_it)}: {each.reason}{by_hand}")
    if command := toolchains.command(list(missing)):
        say(f"to get what is missing: {command}")
    return {program.name: each for program, each in missing.items()}
