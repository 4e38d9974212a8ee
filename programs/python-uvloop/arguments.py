"""The command line that all programs share: how many tasks, and a number of seconds that is 10 if not given."""

from __future__ import annotations

import sys


def read(usage: str) -> tuple[int, float]:
    """The number of tasks and the seconds; ends the program with the usage line where they cannot be read."""
    arguments = sys.argv[1:]
    try:
        if not 1 <= len(arguments) <= 2:
            raise ValueError(arguments)
        count = int(arguments[0])
        seconds = float(arguments[1]) if len(arguments) == 2 else 10.0
        if count < 1 or not 0 <= seconds < 1e9:
            raise ValueError(arguments)
    except ValueError:
        print("usage:", usage, file=sys.stderr)
        sys.exit(2)
    return count, seconds
