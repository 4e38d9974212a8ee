from __future__ import annotations

import contextlib
import datetime
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from concmem._escaping import escape_text
from concmem.cli._commands import main
from concmem.study import MachineBusy, Plan, StudyError, bench, load_study  # fmt: skip
from concmem.study.running import machine_lock as lock
from concmem.study.running.machine_lock import Holder, find_holder, lock_machine, wait_for_machine

pytestmark = pytest.mark.usefixtures("own_machine")

FOLDER = "/srv/stud\u00ed es/\x1b[31m@:one\udcff"
SHOWN = escape_text(FOLDER)
HOLDER = (
    "from concmem.study.running.machine_lock import lock_machine\n"
    f"with lock_machine({FOLDER!r}):\n    print(flush=True)\n    input()"
)
SINCE = r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
GOOD = """\
import sys, time
tasks, sleep_s = int(sys.argv[1]), float(sys.argv[2])
print(f"started {tasks}", flush=True)
time.sleep(sleep_s)
print(f"done {tasks}", flush=True)
"""


def holder_pattern(process: subprocess.Popen[str]) -> str:
    """Return a pattern of the description of that process as the holder."""
    return rf"process {process.pid} is running a study in {re.escape(SHOWN)} on this machine, {SINCE}"


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the machine lock until it is killed or gets a line."""
    command = [sys.executable, "-c", HOLDER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "\n"
        yield process
        process.kill()


def test_only_one_study_holds_the_lock(holder: subprocess.Popen[str]) -> None:
    """The error names the holder, its folder and the time; the lock is free as soon as the holder is dead."""
    with pytest.raises(MachineBusy) as caught, lock_machine():
        pass
    assert re.fullmatch(holder_pattern(holder), str(caught.value))
    assert caught.value.holder.pid == holder.pid and caught.value.exit_code == 75
    assert caught.value.holder == find_holder()
    holder.kill()
    holder.wait()
    with (
        lock_machine("/here"),
        pytest.raises(MachineBusy, match=f"process {os.getpid()} is running a study in /here"),
        lock_machine(),
    ):
        pass
    assert find_holder() is None
    with lock_machine():
        pass


def test_the_holder_is_named_however_many_wait(holder: subprocess.Popen[str]) -> None:
    """Waiting processes leave nothing in the holder, which never answers: it may even be stopped."""
    holder.send_signal(signal.SIGSTOP)
    for _ in range(5000):
        with pytest.raises(MachineBusy) as caught, lock_machine():
            pass
        assert caught.value.holder.pid == holder.pid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_gets_the_same_error(holder: subprocess.Popen[str]) -> None:
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                with lock_machine():
                    pass
            except MachineBusy as busy:
                status = 0 if re.fullmatch(holder_pattern(holder), str(busy)) else 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_long_folder_is_named_in_full() -> None:
    """A path longer than one socket name is put together whole, and not mixed with a stale name."""
    folder = "/" + "/".join(f"part-{n}" for n in range(400))
    with lock_machine(folder):
        result = find_holder()
        assert result is not None and result.folder == folder
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stale:
            stale.bind(f"{lock._NAME}:5-5:0:2:half")
            assert find_holder() == result
    assert find_holder() is None


@pytest.mark.parametrize(
    "part",
    ["1-1:0:1:%5B1%5D", "1-1:0:1:nothing", f"1-1:0:1:{'%5B' * 12}", "1-1:1:1:7", "1-1:0:1:%5B1%2C2%2C%22a%22%2C4%5D"],
)
def test_names_that_others_bind_do_no_harm(part: str) -> None:
    """A holder without a valid description is called another process."""
    with contextlib.ExitStack() as stack:
        for name in (lock._NAME, f"{lock._NAME}:{part}"):
            stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)).bind(name)
        with pytest.raises(MachineBusy, match=r"^another process is running a study on this machine$"), lock_machine():
            pass


def test_a_pid_of_another_namespace_and_an_odd_time_say_so() -> None:
    assert "process 7 of another PID namespace is" in str(Holder(7, "", 1, 1))
    assert str(Holder(7, "", 1 << 60, lock._pid_namespace())).endswith("on this machine, since an unknown time")
    when = datetime.datetime.fromtimestamp(86400 * 365).strftime("%Y-%m-%d %H:%M:%S")
    assert str(Holder(7, "", 86400 * 365, lock._pid_namespace())).endswith(f"since {when}")


def test_the_error_can_be_pickled() -> None:
    busy = MachineBusy(Holder(7, "host:/srv", 5, 1), 2.0)
    again = pickle.loads(pickle.dumps(busy))
    assert (str(again), again.holder) == (str(busy), busy.holder)


def test_waiting_names_the_holder(holder: subprocess.Popen[str]) -> None:
    """`wait_for_machine` names the holder once, and continues when that has ended."""
    notes: list[str] = []

    def note(sentence: str) -> None:
        notes.append(sentence)
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()

    with wait_for_machine(note):
        assert holder.wait(300) == 0
    (message,) = notes
    assert re.fullmatch(f"waiting: {holder_pattern(holder)}; a machine measures one program at a time", message)


@pytest.mark.parametrize("wait_s", [0.0, 60.0])
def test_waiting_has_an_end(holder: subprocess.Popen[str], wait_s: float) -> None:
    """With a clock that only pauses advance: the limit is exact, and with 0 nothing is waited for."""
    now_s, notes = [1000.0], []

    def pause(seconds: float) -> None:
        assert seconds > 0
        now_s[0] += seconds

    with (
        pytest.raises(MachineBusy) as caught,
        wait_for_machine(notes.append, wait_s=wait_s, clock=lambda: now_s[0], pause=pause),
    ):
        pass
    assert now_s[0] == 1000 + wait_s and len(notes) == bool(wait_s)
    after = "; it was still running after 1:00" if wait_s else ""
    assert re.fullmatch(holder_pattern(holder) + after, str(caught.value))


@pytest.fixture
def study_command(write_programs: Callable[..., Path], tmp_path: Path) -> list[str]:
    """The command `concmem bench` with one program, into the folder ``study``."""
    folder = write_programs(GOOD, "one")
    command = [sys.executable, "-m", "concmem", "bench", "--programs-dir", str(folder), "--programs", "one"]
    return [*command, "--tasks", "1", "--sleep", "0.1", "--out", "study"]


def test_a_study_builds_and_then_waits_for_the_machine(
    holder: subprocess.Popen[str], study_command: list[str], tmp_path: Path
) -> None:
    """`concmem bench` names the holder and builds, but measures nothing; Ctrl-C ends the waiting."""
    with subprocess.Popen(study_command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line.rstrip())
            if line.startswith("waiting"):
                break
        assert lines[0].startswith("1 run to make: about ") and lines[1] == "Writing the study to study"
        assert f"{lines[-1]}".startswith(f"waiting: process {holder.pid} is running a study in {SHOWN}")
        building = lines.index("preparing one")
        assert any(
            line.endswith("programs are built now, and run when that study has ended") for line in lines[:building]
        )
        assert [path.name for path in (tmp_path / "study").iterdir()] == ["study.json"]
        process.send_signal(signal.SIGINT)
        message = "concmem: interrupted; 0 runs stored. To continue: concmem bench --resume --out study"
        *again, last = process.stderr.read().splitlines()
        # A signal just after a line was written can make Python write it again.
        assert (last, process.wait(300), set(again) <= set(lines)) == (message, 130, True)
    stored = load_study(tmp_path / "study")
    assert [entry.missing for entry in stored.programs] == [""]
    holder.kill()
    holder.wait()
    assert [run.status for run in bench(stored.plan, stored.path, resume=True).runs] == ["ok"]


@pytest.mark.parametrize(("option", "begun"), [(["--no-wait"], False), (["--wait", "10ms"], True)])
def test_a_study_need_not_wait(
    option: list[str], begun: bool, holder: subprocess.Popen[str], study_command: list[str], tmp_path: Path
) -> None:
    """Exit status 75; with `--no-wait` before anything is built, and without leaving a folder."""
    command = [*study_command, *option]
    done = subprocess.run(command, cwd=tmp_path, timeout=300, capture_output=True, text=True, check=False)
    assert done.returncode == 75
    *_, last = done.stderr.splitlines()
    after = r"; it was still running after [\d.]+ ms; 0 runs stored\. To continue: .*--resume.*" if begun else ""
    assert re.fullmatch(f"concmem: {holder_pattern(holder)}{after}", last)
    assert (tmp_path / "study").exists() == begun
    assert ("preparing one" in done.stderr) == begun


def test_building_does_not_hold_the_lock(
    write_programs: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is free while a program is built, and held while it runs, even for the warm-up."""
    from concmem.drivers import programs as drivers

    seen = tmp_path / "seen"
    script = f"""\
import sys, time
held = any("{lock._NAME[1:]}" in line for line in open("/proc/net/unix"))
open({str(seen)!r}, "a").write(f"{{held}} ")
"""
    folder = write_programs(script + textwrap.dedent(GOOD), "one")
    prepare, built = drivers.prepare, []

    def watched(*args: object) -> drivers.Prepared:
        built.append(find_holder())
        return prepare(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(drivers, "prepare", watched)
    bench(Plan(programs=("one",), programs_dirs=(str(folder),), tasks=(1,), sleep_s=0.1), tmp_path / "study")
    assert built == [None]
    assert seen.read_text().split() == ["True"] * 2  # the warm-up, the run


@pytest.mark.parametrize(
    "options", [{"wait_s": -1.0}, {"wait_s": float("nan")}, {"wait_s": 1.0, "scheduler": "tcp://a:1"}]
)
def test_an_invalid_limit_of_the_wait_is_refused(options: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="wait"):
        bench(Plan(), tmp_path / "study", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "study").exists()


def test_the_two_options_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "--no-wait", "--wait", "1m"])
    assert "--no-wait and --wait cannot be used together" in capsys.readouterr().err


def test_the_lock_is_free_as_soon_as_its_holder_is_killed(holder: subprocess.Popen[str]) -> None:
    """No file is left to be checked."""
    holder.kill()
    holder.wait()
    begun_s = time.monotonic()
    with wait_for_machine(lambda sentence: pytest.fail(sentence)):
        assert find_holder() is not None
    assert time.monotonic() - begun_s < 30
