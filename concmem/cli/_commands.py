"""The group of all subcommands."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NoReturn

import click

import concmem.cli
from concmem._version import __version__
from concmem.cli._status import end_with
from concmem.cli._streams import say

__all__ = ["main"]


class _Commands(click.Group):
    """A group that finds its commands among this package's modules and prints each error as one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        import pkgutil

        return sorted(m.name for m in pkgutil.iter_modules(concmem.cli.__path__) if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = f"{concmem.cli.__name__}.{cmd_name}"
        if not cmd_name.isidentifier() or cmd_name.startswith("_") or find_spec(module) is None:
            return None
        command = getattr(importlib.import_module(module), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            sys.exit(141)  # the status of a command that SIGPIPE killed

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *rest: Any, **options: Any
    ) -> NoReturn:
        command = super().main
        options["standalone_mode"] = False

        def run() -> object:
            try:
                return command(args, prog_name, *rest, **options)
            except click.UsageError as error:
                path = error.ctx.command_path if error.ctx else "concmem"
                say(f"{error.format_message().rstrip('.')} (see '{path} --help')")
                return 2
            except click.ClickException as error:
                say(error.format_message())
                return error.exit_code
            except click.Abort:
                raise KeyboardInterrupt from None

        end_with(run)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, prog_name="concmem")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Measure how much memory a command and everything that it starts need."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
