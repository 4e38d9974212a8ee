"""
Measure with one set of options in a process of its own, which may be an ordinary user's.

bracket.py starts one process for each set: ``python measurer.py SET FOLDER``. It reads jobs from standard input and
answers on standard output, one line of JSON each. The set ``user`` has everything that it executes in FOLDER, becomes
the user "nobody" if it is root, and has no control group.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
from trees import printed_truth

from concmem._files import paths

OTHER_UID = 65534
SETS: dict[str, dict[str, Any]] = {
    "root": {"cgroup": True, "taskstats": True},
    "exact": {"cgroup": True, "taskstats": True, "exact": True},
    "user": {},
}
"""The options of `concmem run`, of `concmem run --exact`, and of `concmem run` where nothing is permitted."""

_PR_SET_DUMPABLE = 4
_TIMEOUT_S = 120


@attrs.frozen
class Range:
    """
    The headline of one run.

    Attributes:
        low_bytes, high_bytes: Its ends. The upper end is None if it has none.
        least_bytes, most_bytes: What the command needed at least and at most, without its start-up size; 0 if unknown.
        outside: In one sentence why the truth cannot lie between the ends; "" if it can.
        failed: Why the command failed, for example because the system refused what it needs; "" if it did not.
    """

    low_bytes: int
    high_bytes: int | None
    least_bytes: int
    most_bytes: int
    outside: str
    failed: str

    @property
    def width(self) -> float:
        """The width as a share of the truth, or of the lower end if the truth is unknown; infinite if it has no end."""
        if self.high_bytes is None:
            return float("inf")
        return (self.high_bytes - self.low_bytes) / (self.least_bytes or self.low_bytes)


class Measurer:
    """A process that measures with one of the `SETS`."""

    def __init__(self, options: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, options, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def measure(self, command: Sequence[str], base: Sequence[str] = (), truth_bytes: int | None = None) -> Range:
        """
        Run a command once.

        Args:
            command: The command. The name of a program of known size stands for its path.
            base: The command that needs its start-up size only.
            truth_bytes: What it needs; None if it prints this itself, or if it is unknown.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([command, base, truth_bytes]) + "\n")
        self._process.stdin.flush()
        return Range(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def _become_nobody(folder: str) -> None:
    """Become an ordinary user, who can execute the sampler and the programs but perhaps read no module."""
    shutil.copy(paths.SAMPLER, folder)
    shutil.copytree(paths.KNOWN, Path(folder, "known"))
    paths.SAMPLER, paths.KNOWN = Path(folder, paths.SAMPLER.name), Path(folder, "known")
    _measured((str(paths.KNOWN / "chain"), "0", "0", "0"), "user")  # imports all modules
    _measured.cache_clear()
    os.setgroups([])
    os.setresgid(OTHER_UID, OTHER_UID, OTHER_UID)
    os.setresuid(OTHER_UID, OTHER_UID, OTHER_UID)
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1)  # as any process of this user


def _run(command: Sequence[str], options: str) -> Any:
    import concmem

    return concmem.measure(
        list(command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout_s=_TIMEOUT_S, **SETS[options]
    )


@functools.cache
def _measured(command: tuple[str, ...], options: str) -> int:
    return int(_run(command, options).peak.bytes or 0)


def _answer(command: list[str], base: list[str], truth_bytes: int | None, options: str) -> Range:
    from concmem._figures.ground_truth import START_UP_JITTER_BYTES

    for words in filter(None, (command, base)):
        if (paths.KNOWN / words[0]).exists():
            words[0] = str(paths.KNOWN / words[0])
    start_up_bytes = _measured(tuple(base), options) if base else 0
    m = _run(command, options)
    least, most = (truth_bytes, truth_bytes) if truth_bytes is not None else printed_truth(m) or (0, 0)
    low, high = m.peak.low_bytes or 0, m.peak.high_bytes
    possible = most + start_up_bytes + START_UP_JITTER_BYTES * max(1, len(m.processes))
    outside = ""
    if high is not None and high < least:
        outside = f"its upper end is {(least - high) / 2**20:.2f} MiB below the truth"
    elif base and low > possible:
        outside = f"its lower end is {(low - possible) / 2**20:.2f} MiB above the largest possible amount"
    return Range(low, high, least, most, outside, "" if m.exit.ok else str(m.exit))


def main() -> None:
    """Answer each line of standard input until its end."""
    _, options, folder = sys.argv
    if options == "user" and os.geteuid() == 0:
        _become_nobody(folder)
    for line in sys.stdin:
        print(json.dumps(attrs.asdict(_answer(*json.loads(line), options))), flush=True)


if __name__ == "__main__":
    main()
