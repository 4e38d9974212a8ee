"""Call a command, print its error as one sentence, and end with its exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from concmem.cli._streams import finish_output, open_closed, report_error, say, sentence, write_whole
from concmem.errors import ConcmemError

__all__ = ["end_with"]


def end_with(command: Callable[[], object]) -> NoReturn:
    """Call a command and end with the status that it returns, or with that of its error."""
    open_closed()
    write_whole()
    try:
        status = _call(command)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.exit(finish_output(status))


def _call(command: Callable[[], object]) -> int:
    try:
        result = command()
    except KeyboardInterrupt:
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
