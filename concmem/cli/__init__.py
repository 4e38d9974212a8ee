"""
The ``concmem`` command: one file per subcommand, each imported only when it is used.

A module of this package without a leading underscore is a subcommand. Its click command has the module's name.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NoReturn

import click

from concmem._version import __version__
from concmem.cli._streams import finish_output, open_closed, report_error, say, sentence, write_whole
from concmem.errors import ConcmemError

__all__ = ["main"]


class _Commands(click.Group):
    """A group that finds its commands among this package's modules and prints each error as one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        import pkgutil

        return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = f"{__name__}.{cmd_name}"
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
        open_closed()
        write_whole()
        try:
            status = self._main(args, prog_name, *rest, **options)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.exit(finish_output(status))

    def _main(self, args: Sequence[str] | None, prog_name: str | None, *rest: Any, **options: Any) -> int:
        options["standalone_mode"] = False
        try:
            result = super().main(args, prog_name, *rest, **options)
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx else "concmem"
            say(f"{error.format_message().rstrip('.')} (see '{path} --help')")
            return 2
        except click.ClickException as error:
            say(error.format_message())
            return error.exit_code
        except (click.Abort, KeyboardInterrupt):
            say("interrupted")
            return 130
        except ConcmemError as error:
            say(sentence(error))
            return error.exit_code
        except Exception as error:
            if os.environ.get("CONCMEM_DEBUG"):
                raise
            what = sentence(error) if isinstance(error, OSError) else f"{type(error).__name__}: {sentence(error)}"
            report_error(error, f"{what} (CONCMEM_DEBUG=1 prints the traceback)")
            return 125
        return result if isinstance(result, int) else 0


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, prog_name="concmem")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Measure how much memory a command and everything that it starts need."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
