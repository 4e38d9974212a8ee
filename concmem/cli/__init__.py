"""
The ``concmem`` command: a subcommand a file, each imported only when it is asked for.

A module of this package without a leading underscore is a subcommand; the click command in it has the module's name.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from concmem._version import __version__
from concmem.cli._streams import open_closed, say, settle
from concmem.errors import ConcmemError

__all__ = ["main"]


def _sentence(error: BaseException) -> str:
    """What an error says, in the order in which people write it: what it is about, then what is wrong."""
    if isinstance(error, OSError) and error.strerror and type(error).__str__ is OSError.__str__:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return str(error) or type(error).__name__


class _Commands(click.Group):
    """A group that finds its commands among this package's modules, and that ends on every error with one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = getattr(importlib.import_module(f"{__name__}.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            sys.exit(141)  # as SIGPIPE ends a command whose reader has gone

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *rest: Any, **options: Any
    ) -> NoReturn:
        open_closed()
        try:
            self._main(args, prog_name, *rest, **options)
        finally:
            settle()

    def _main(self, args: Sequence[str] | None, prog_name: str | None, *rest: Any, **options: Any) -> NoReturn:
        options["standalone_mode"] = False
        try:
            result = super().main(args, prog_name, *rest, **options)
        except click.UsageError as error:
            path = error.ctx.command_path if error.ctx else "concmem"
            say(f"{error.format_message().rstrip('.')} ('{path} --help' shows what there is)")
            sys.exit(2)
        except click.ClickException as error:
            say(error.format_message())
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            say("interrupted")
            sys.exit(130)
        except ConcmemError as error:
            say(_sentence(error))
            sys.exit(error.exit_code)
        except Exception as error:
            if os.environ.get("CONCMEM_DEBUG"):
                raise
            what = _sentence(error) if isinstance(error, OSError) else f"{type(error).__name__}: {_sentence(error)}"
            say(f"{what} (CONCMEM_DEBUG=1 shows where)")
            sys.exit(125)
        sys.exit(result if isinstance(result, int) else 0)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="concmem")
def main() -> None:
    """Run a command and say how much memory it, and everything that it started, needed."""
