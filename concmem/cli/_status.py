"""Call a command, print its error as one sentence, and end with its exit status."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from concmem.cli._streams import finish_output, open_closed, report_error, say, sentence, write_whole
from concmem.errors import ConcmemError

__all__ = ["end_with"]

_USED_UP = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})
"""What the kernel answers when a limit of the disk, the user or the machine is reached."""


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
    except KeyboardInterrupt as error:
        say(str(error) or "interrupted")
        return 128 + getattr(error, "number", signal.SIGINT)
    except ConcmemError as error:
        say(sentence(error))
        return error.exit_code
    except Exception as error:
        if os.environ.get("CONCMEM_DEBUG"):
            raise
        report_error(error, _failure(error))
        return 125
    return result if isinstance(result, int) else 0


def _failure(error: Exception) -> str:
    """Return what to print for an error that is not concmem's own: how to see its traceback if it can be a mistake."""
    what = sentence(error)
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, OSError) and (error.filename is not None or error.errno in _USED_UP):
        return what
    shown = what if isinstance(error, OSError) else f"{type(error).__name__}: {what}"
    return f"{shown} (CONCMEM_DEBUG=1 prints the traceback)"
