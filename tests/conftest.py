from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from concmem._paths import SAMPLER

# Whoever runs the tests may have had signals ignored (nohup, a script's "&"), which every target would inherit.
for _number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(_number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

SETTLE_S = 5.0
"""How long an end may take to become visible on a busy machine before a test calls it missing."""


@attrs.frozen
class Marked:
    """An environment that marks every process started with it, whatever it does to its session or parents."""

    mark: str

    @property
    def env(self) -> dict[str, str]:
        """This process's own environment and the mark."""
        return {**os.environ, "CONCMEM_TEST_MARK": self.mark}

    def alive(self) -> dict[int, str]:
        """The processes that carry the mark and are no zombies, by pid, each with its command line."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        found.pop(os.getpid(), None)
        return found

    def wait_for(self, count: int) -> None:
        """Return as soon as exactly `count` of them are alive; fail after `SETTLE_S`."""
        deadline = time.monotonic() + SETTLE_S
        while len(alive := self.alive()) != count:
            assert time.monotonic() < deadline, f"{count} processes should be alive, these are: {alive}"
            time.sleep(0.01)


@pytest.fixture
def marked() -> Iterator[Marked]:
    """A `Marked`; whatever still carries the mark when the test is over is killed, so that it cannot harm the next."""
    marked = Marked(uuid.uuid4().hex)
    yield marked
    while left := marked.alive():
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def own_children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


@pytest.fixture
def others_may_measure() -> None:
    """For a test that, run by root, goes on as the user nobody: that user must be able to execute the sampler."""
    path = (SAMPLER, *SAMPLER.parents)
    if os.geteuid() == 0 and not all(step.stat().st_mode & 0o001 for step in path):
        pytest.skip(f"root is refused nothing, and other users may not execute {SAMPLER}: a folder is closed to them")


@pytest.fixture
def no_child_left() -> Iterator[None]:
    """The test leaves no child, running or unreaped, that was not there before."""
    before = own_children()
    yield
    assert not own_children() - before


@pytest.fixture
def host_python(marked: Marked) -> Callable[..., Any]:
    """Run a script in a Python of its own, as a host that a test can make large, odd or dead; its last line is JSON."""

    def run(
        script: str, *args: object, timeout_s: float = 60, python: Sequence[str] = (sys.executable,), **kwargs: Any
    ) -> Any:
        done = subprocess.run(
            [*python, "-c", script, *(str(arg) for arg in args)],
            capture_output=True, text=True, timeout=timeout_s, env=marked.env, **kwargs,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
