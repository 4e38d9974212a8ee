"""Limits of the machine that a study raises are restored, however the study ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

import concmem
import concmem.doctor
from concmem.cli._commands import main
from concmem.cli.doctor import doctor
from concmem.errors import ConcmemError
from concmem.study import StudyError
from concmem.study.limits.kinds import Limit
from concmem.study.limits.lift import NOTES, PUT_BACK, raised_limits, restore

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can raise limits of the machine")

HOLD = """
import sys, time
from pathlib import Path
from concmem.study.limits.lift import raised_limits
from concmem.study.limits.kinds import Limit
file, notes = map(Path, sys.argv[1:])
with raised_limits(lambda: [Limit("kernel.pid_max", int(file.read_text()), file, 1 << 22)], 100_000, notes):
    print("raised", flush=True)
    time.sleep(60)
"""
WAITING = """
import sys, time
tasks, sleep_s = int(sys.argv[1]), float(sys.argv[2])
print(f"started {tasks}", flush=True)
time.sleep(sleep_s)
print(f"done {tasks}", flush=True)
"""
KERNEL = Path("/proc/sys/kernel/pid_max")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file in place of a limit, set to 32768."""
    file = tmp_path / "pid_max"
    file.write_text("32768\n")
    return file


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture
def killed(file: Path, notes: Path) -> Callable[[Path], None]:
    """Raise the limit to 102048 in a process, and SIGKILL that."""

    def kill(notes: Path = notes) -> None:
        with subprocess.Popen([sys.executable, "-c", HOLD, file, notes], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None and child.stdout.readline() == "raised\n"
            child.send_signal(signal.SIGKILL)
        assert file.read_text() == "102048\n"

    return kill


@attrs.frozen
class RealLimit:
    """
    A file in place of the machine's kernel.pid_max, for commands that begin with `enter`.

    The machine's own limit is not changed, so that other studies are not disturbed.
    """

    file: Path
    enter: tuple[str, ...]

    def read(self) -> int:
        """Its value. A plain file, unlike the kernel's, is empty for a moment while it is written."""
        while not (text := self.file.read_text()):
            time.sleep(0.001)
        return int(text)


@pytest.fixture
def real_limit(file: Path, notes: Path, own_mounts: list[str]) -> RealLimit:
    notes.mkdir()
    NOTES.mkdir(exist_ok=True)
    places = f'mount --bind "$1" {KERNEL} && mount --bind "$2" {NOTES} && shift 2 && exec "$@"'
    return RealLimit(file, (*own_mounts, "sh", "-c", places, "sh", str(file), str(notes)))


def limit(file: Path) -> Limit:
    return Limit("kernel.pid_max", int(file.read_text()), file, 1 << 22)


@needs_root
def test_limits_are_raised_and_restored(file: Path, notes: Path) -> None:
    """Inside of the block they are as high as needed; after it, and after Ctrl-C, as before."""
    with pytest.raises(KeyboardInterrupt), raised_limits(lambda: [limit(file)], 100_000, notes) as changes:
        assert (file.read_text(), len(changes)) == ("102048\n", 1)
        raise KeyboardInterrupt
    assert file.read_text() == "32768\n"
    with raised_limits(lambda: [limit(file)], 1000, notes) as changes:
        assert (file.read_text(), changes) == ("32768\n", [])
    with raised_limits(lambda: [limit(file)], 10_000_000, notes):
        assert file.read_text() == f"{1 << 22}\n", "no further than it goes"
    assert file.read_text() == "32768\n"


@needs_root
def test_two_studies_do_not_raise_limits_at_once(file: Path, notes: Path) -> None:
    """The second is refused, and does not restore the limits of the first."""
    with raised_limits(lambda: [limit(file)], 100_000, notes):
        with (
            pytest.raises(StudyError, match="another study has raised the limits"),
            raised_limits(lambda: [], 200_000, notes),
        ):
            pass
        assert restore(notes) == []
        assert file.read_text() == "102048\n"


@needs_root
def test_a_limit_that_cannot_be_raised_leaves_the_others_as_they_were(file: Path, notes: Path, tmp_path: Path) -> None:
    """The error names it; the limits raised before are restored, and nothing is left to restore."""
    closed = Limit("kernel.threads-max", 5, tmp_path / "none" / "threads-max", 1 << 22)
    with (
        pytest.raises(StudyError, match=r"threads-max cannot be set to 102048: No such file"),
        raised_limits(lambda: [limit(file), closed], 100_000, notes),
    ):
        pass
    assert file.read_text() == "32768\n"
    assert restore(notes) == []


@needs_root
def test_a_killed_study_s_limits_are_restored_later(killed: Callable[[], None], file: Path, notes: Path) -> None:
    """SIGKILL leaves them raised; the next `restore` sets them back and returns them, once."""
    killed()
    assert [str(change) for change in restore(notes)] == [f"{file} from 32768 to 102048"]
    assert file.read_text() == "32768\n"
    assert restore(notes) == []


@needs_root
def test_a_limit_that_was_changed_since_is_left_as_it_is(killed: Callable[[], None], file: Path, notes: Path) -> None:
    """Only a limit that still has the value of the killed study is restored."""
    killed()
    file.write_text("77777\n")
    assert restore(notes) == []
    assert file.read_text() == "77777\n"


@needs_root
def test_the_next_study_starts_from_the_previous_values(killed: Callable[[], None], file: Path, notes: Path) -> None:
    """The values of a killed study are not taken for the machine's own."""
    killed()
    with raised_limits(lambda: [limit(file)], 200_000, notes) as changes:
        assert [(change.before, change.raised) for change in changes] == [(32768, 202_048)]
    assert file.read_text() == "32768\n"


@needs_root
def test_doctor_restores_limits_of_a_killed_study(
    monkeypatch: pytest.MonkeyPatch, killed: Callable[[], None], file: Path, notes: Path
) -> None:
    """It prints one line before it examines the machine."""

    def examine(**_: object) -> None:
        raise ConcmemError("that was all")

    monkeypatch.setattr(concmem.doctor, "examine", examine)
    monkeypatch.setattr(restore, "__defaults__", (notes,))
    killed()
    done = CliRunner().invoke(doctor, [])
    assert f"concmem: {PUT_BACK}: {file} from 32768 to 102048\n" in done.output
    assert file.read_text() == "32768\n"


MOMENT = f"""
import json
from pathlib import Path
from concmem.host import describe
from concmem.study.limits.lift import raised_limits
from concmem.study.limits.kinds import Limit
file = Path("{KERNEL}")
def limits():
    return [int(file.read_text()), describe().limits["pid_max"]]
with raised_limits(lambda: [Limit("kernel.pid_max", int(file.read_text()), file, 1 << 22)], 40_000):
    inside = limits()
print(json.dumps([inside, limits()]))
"""


@needs_root
def test_the_machine_s_own_limit_is_raised_and_restored(real_limit: RealLimit, host_python: Callable[..., Any]) -> None:
    """A description of the machine has the value of that moment."""
    assert host_python(MOMENT, python=(*real_limit.enter, sys.executable)) == [[42_048] * 2, [32_768] * 2]
    assert real_limit.read() == 32_768


@needs_root
@pytest.mark.slow
def test_the_command_restores_limits_or_the_next_one_does(
    real_limit: RealLimit, tmp_path: Path, write_programs: Callable[..., Path], request: pytest.FixtureRequest
) -> None:
    """SIGTERM restores the limit; after SIGKILL the next study restores it."""
    request.getfixturevalue("own_machine")
    before = real_limit.read()
    programs = write_programs(WAITING, "waiting", kind="thread", begins_together=False)
    command = [*real_limit.enter, sys.executable, "-m", "concmem", "bench", "--programs-dir", str(programs)]
    command += ["--programs", "waiting", "--tasks", str(before + 1), "--sleep", "60", "--out"]
    seen = {}
    for number in (signal.SIGTERM, signal.SIGKILL):
        arguments = [*command, number.name, "--lift-limits"]
        with subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.PIPE) as study:
            until_s = time.monotonic() + 120
            while real_limit.read() == before and study.poll() is None and time.monotonic() < until_s:
                time.sleep(0.05)
            raised = real_limit.read()
            study.send_signal(number)
        seen[number] = (raised > before, real_limit.read())
    assert seen == {signal.SIGTERM: (True, before), signal.SIGKILL: (True, raised)}
    command[command.index("60")] = "1"
    command[command.index(str(before + 1))] = "1"
    done = subprocess.run([*command, "next"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"{PUT_BACK}: {KERNEL} from {before} to {raised}" in done.stderr.splitlines()


def test_raising_limits_without_root_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One sentence, exit code 2, and no folder is created."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--lift-limits", "--programs", "python", "--out", str(tmp_path / "study")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == "concmem: only root can raise the machine's limits"
    assert not (tmp_path / "study").exists()
