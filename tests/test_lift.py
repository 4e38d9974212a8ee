"""Limits of the machine that a study raises are put back, however the study ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import concmem
import concmem.doctor
from concmem.cli import main
from concmem.cli.doctor import doctor
from concmem.errors import ConcmemError
from concmem.host import describe
from concmem.study import StudyError
from concmem.study.alone import MachineBusy, alone
from concmem.study.lift import NOTES, PUT_BACK, lifted, restore
from concmem.study.limits import Limit

pytestmark = pytest.mark.alone

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can raise limits of the machine")

HOLD = """
import sys, time
from pathlib import Path
from concmem.study.lift import lifted
from concmem.study.limits import Limit
file, notes = map(Path, sys.argv[1:])
with lifted(lambda: [Limit("kernel.pid_max", int(file.read_text()), file, 1 << 22)], 100_000, notes):
    print("lifted", flush=True)
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
    """Stands for a file of limits, set to 32768."""
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
            assert child.stdout is not None and child.stdout.readline() == "lifted\n"
            child.send_signal(signal.SIGKILL)
        assert file.read_text() == "102048\n"

    return kill


@pytest.fixture
def real_limit() -> Iterator[Path]:
    """The machine's own kernel.pid_max, while no study is at work; it is to be afterwards what it was."""
    before = KERNEL.read_text()
    try:
        KERNEL.write_text(before)
    except OSError as error:
        pytest.skip(f"{KERNEL} cannot be written here: {error.strerror}")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(alone())
        except MachineBusy as busy:
            pytest.skip(str(busy))
        yield KERNEL
    assert KERNEL.read_text() == before


def limit(file: Path) -> Limit:
    return Limit("kernel.pid_max", int(file.read_text()), file, 1 << 22)


@needs_root
def test_limits_are_lifted_and_put_back(file: Path, notes: Path) -> None:
    """Within the block they are as high as needed; after it, and after Ctrl-C, as they were."""
    with pytest.raises(KeyboardInterrupt), lifted(lambda: [limit(file)], 100_000, notes) as changes:
        assert (file.read_text(), len(changes)) == ("102048\n", 1)
        raise KeyboardInterrupt
    assert file.read_text() == "32768\n"
    with lifted(lambda: [limit(file)], 1000, notes) as changes:
        assert (file.read_text(), changes) == ("32768\n", [])
    with lifted(lambda: [limit(file)], 10_000_000, notes):
        assert file.read_text() == f"{1 << 22}\n", "no further than it goes"
    assert file.read_text() == "32768\n"


@needs_root
def test_two_studies_do_not_lift_at_once(file: Path, notes: Path) -> None:
    """The second is refused, and does not take the first for dead."""
    with lifted(lambda: [limit(file)], 100_000, notes):
        with pytest.raises(StudyError, match="another study has lifted"), lifted(lambda: [], 200_000, notes):
            pass
        assert restore(notes) == []
        assert file.read_text() == "102048\n"


@needs_root
def test_what_cannot_be_raised_leaves_the_others_as_they_were(file: Path, notes: Path, tmp_path: Path) -> None:
    """The error names it; what had been raised by then is put back, and nothing is left to be restored."""
    closed = Limit("kernel.threads-max", 5, tmp_path / "none" / "threads-max", 1 << 22)
    with (
        pytest.raises(StudyError, match=r"threads-max cannot be set to 102048: No such file"),
        lifted(lambda: [limit(file), closed], 100_000, notes),
    ):
        pass
    assert file.read_text() == "32768\n"
    assert restore(notes) == []


@needs_root
def test_a_killed_study_s_limits_are_put_back_later(killed: Callable[[], None], file: Path, notes: Path) -> None:
    """SIGKILL leaves them raised; the next who looks puts them back and says so, once."""
    killed()
    assert [str(change) for change in restore(notes)] == [f"{file} from 32768 to 102048"]
    assert file.read_text() == "32768\n"
    assert restore(notes) == []


@needs_root
def test_what_somebody_else_has_set_since_is_left_alone(killed: Callable[[], None], file: Path, notes: Path) -> None:
    """Only a limit that is as the killed study set it is put back."""
    killed()
    file.write_text("77777\n")
    assert restore(notes) == []
    assert file.read_text() == "77777\n"


@needs_root
def test_the_next_to_lift_begins_with_what_was_before(killed: Callable[[], None], file: Path, notes: Path) -> None:
    """What a dead study raised is not taken for the machine's own."""
    killed()
    with lifted(lambda: [limit(file)], 200_000, notes) as changes:
        assert [(change.before, change.raised) for change in changes] == [(32768, 202_048)]
    assert file.read_text() == "32768\n"


@needs_root
@pytest.mark.usefixtures("real_limit")
def test_doctor_puts_back_what_a_killed_study_raised(
    monkeypatch: pytest.MonkeyPatch, killed: Callable[[Path], None], file: Path
) -> None:
    """Before it looks at the machine, in one line."""

    def examine(**_: object) -> None:
        raise ConcmemError("that was all")

    monkeypatch.setattr(concmem.doctor, "examine", examine)
    killed(NOTES)
    done = CliRunner().invoke(doctor, [])
    assert f"concmem: {PUT_BACK}: {file} from 32768 to 102048\n" in done.output
    assert file.read_text() == "32768\n"


@needs_root
def test_the_machine_s_own_limit_is_lifted_and_put_back(real_limit: Path) -> None:
    """The real one, for a moment; what is measured then names it as it is then."""
    before = int(real_limit.read_text())

    def find() -> list[Limit]:
        return [limit(real_limit)]

    with lifted(find, before + 1000):
        assert int(real_limit.read_text()) == before + 3048
        assert describe().limits["pid_max"] == before + 3048
    assert describe().limits["pid_max"] == int(real_limit.read_text()) == before


@needs_root
@pytest.mark.slow
def test_the_command_lifts_and_the_next_puts_back_after_a_kill(
    real_limit: Path, tmp_path: Path, write_programs: Callable[..., Path], request: pytest.FixtureRequest
) -> None:
    """The real command on the real limit: SIGTERM puts it back; after SIGKILL the next study does, unasked."""
    request.getfixturevalue("own_machine")
    before = int(real_limit.read_text())
    programs = write_programs(WAITING, "waiting", kind="thread", begins_together=False)
    command = [sys.executable, "-m", "concmem", "bench", "--programs-dir", programs, "--programs", "waiting"]
    command += ["--tasks", str(before + 1), "--sleep", "60", "--out"]
    seen = {}
    for number in (signal.SIGTERM, signal.SIGKILL):
        arguments = [*command, number.name, "--lift-limits"]
        with subprocess.Popen(arguments, cwd=tmp_path, stderr=subprocess.PIPE) as study:
            until_s = time.monotonic() + 120
            while int(real_limit.read_text()) == before and study.poll() is None and time.monotonic() < until_s:
                time.sleep(0.05)
            raised = int(real_limit.read_text())
            study.send_signal(number)
        seen[number] = (raised > before, int(real_limit.read_text()))
    assert seen == {signal.SIGTERM: (True, before), signal.SIGKILL: (True, raised)}
    command[command.index("60")] = "1"
    command[command.index(str(before + 1))] = "1"
    done = subprocess.run([*command, "next"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert f"{PUT_BACK}: {real_limit} from {before} to {raised}" in done.stderr.splitlines()


def test_an_ordinary_user_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """One sentence, exit code 2, and no folder is begun."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit) as ended:
        main(["bench", "--lift-limits", "--programs", "python", "--out", str(tmp_path / "study")])
    assert (ended.value.code, capsys.readouterr().err) == (2, "concmem: only root can lift the machine's limits\n")
    assert not (tmp_path / "study").exists()
