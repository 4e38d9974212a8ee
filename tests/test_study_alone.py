from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from concmem.study.alone import MachineBusy, alone, alone_in_turn

pytestmark = pytest.mark.usefixtures("own_machine")

HOLDER = "from concmem.study.alone import alone\nwith alone():\n    print(flush=True)\n    input()"


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """Another process, which has the machine until it is killed or gets a line."""
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "\n"
        yield process
        process.kill()


def test_a_machine_has_one_study(holder: subprocess.Popen[str]) -> None:
    """Who asks second is told who has it, and has it as soon as that one is dead."""
    with pytest.raises(MachineBusy) as caught, alone():
        pass
    assert str(caught.value) == f"process {holder.pid} is running a study on this machine"
    holder.kill()
    holder.wait()
    with alone(), pytest.raises(MachineBusy, match="another process is running"), alone():
        pass
    with alone():
        pass


def test_who_waits_says_for_whom(holder: subprocess.Popen[str]) -> None:
    """`alone_in_turn` says once who has the machine, and goes on when that one has ended."""
    notes: list[str] = []

    def note(sentence: str) -> None:
        notes.append(sentence)
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()

    begun_s = time.monotonic()
    with alone_in_turn(note):
        assert holder.wait(5) == 0
    assert time.monotonic() - begun_s < 5
    assert notes == [
        f"waiting: process {holder.pid} is running a study on this machine, and one machine runs one program at a time"
    ]


def test_a_study_waits_for_the_machine(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    """`concmem bench` says what it waits for, has stored nothing meanwhile, and Ctrl-C ends its waiting."""
    command = [sys.executable, "-m", "concmem", "bench", "--programs", "python", "--tasks", "1", "--out", "study"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "The study goes into study\n"
        assert process.stderr.readline().startswith(f"waiting: process {holder.pid} is running a study")
        assert list((tmp_path / "study").iterdir()) == []
        process.send_signal(signal.SIGINT)
        assert (process.stderr.read().strip(), process.wait(10)) == ("concmem: interrupted", 130)
    assert not (tmp_path / "study").exists()
