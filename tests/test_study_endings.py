"""Studies that are ended by Ctrl-C, SIGKILL and a full disk, as real processes with a real program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs
import pytest

from concmem.study import load_study

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_machine")]

PROGRAM = """\
import sys, time
tasks, sleep_s = int(sys.argv[1]), float(sys.argv[2])
if sleep_s:  # 0 is the warm-up
    with open(COUNT, "a") as file:
        file.write(f"{tasks}\\n")
print(f"started {tasks}", flush=True)
time.sleep(sleep_s)
print(f"done {tasks}", flush=True)
"""
DIES_BEFORE_A_FILE = """\
import os, signal, sys
from concmem._files import atomic
from concmem.__main__ import main

left, replace = [int(sys.argv.pop(1))], os.replace

def dying(*paths):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*paths)

atomic.os.replace = dying
main()
"""
FULL_DISK = """\
mount -t tmpfs -o "size=$1k" none disk || exit 99
shift
"$@" --out disk/study >/dev/null 2>message.full; echo $? >code.full
cp -r disk/study half
mount -o remount,size=64m disk
resume=
if [ -e disk/study/study.json ]; then resume=--resume; fi
"$@" $resume --out disk/study >/dev/null 2>message.roomy; echo $? >code.roomy
cp -r disk/study whole
"""


@attrs.frozen
class Counted:
    """A folder with a study of one program, one run for each size, and a file with one line for each start."""

    folder: Path

    @property
    def path(self) -> Path:
        """The folder of the study."""
        return self.folder / "study"

    def command(self, tasks: Sequence[int], *options: str, python: Sequence[str] = ("-m", "concmem")) -> list[str]:
        """Return the command that runs such a study in any folder."""
        plan = ["--programs", "counted", "--tasks", ",".join(map(str, tasks)), "--sleep", "0.3", "--seed", "1"]
        return [sys.executable, *python, "bench", "--programs-dir", str(self.folder / "programs"), *plan, *options]

    def begin(self, tasks: Sequence[int], **options: Sequence[str]) -> subprocess.Popen[str]:
        """Start the command in its own session; it resumes the study if there is one."""
        resume = ["--resume"] if (self.path / "study.json").exists() else []
        return subprocess.Popen(
            self.command(tasks, "--out", "study", *resume, **options),
            cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def starts(self) -> Counter[int]:
        """Count the starts of the program with each size."""
        count = self.folder / "count"
        return Counter(map(int, count.read_text().split())) if count.exists() else Counter()

    def stored(self, path: Path | None = None) -> dict[int, bytes]:
        """Return the stored runs by their size."""
        path = path or self.path
        if not (path / "study.json").exists():
            return {}
        study = load_study(path)
        assert all(run.status == "ok" and study.timeline_path(run).exists() for run in study.runs)
        return {run.tasks: (path / "runs" / f"counted-{run.tasks}-0.json").read_bytes() for run in study.runs}

    def running(self) -> list[str]:
        """Return the command lines of the program's processes."""
        result = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes()
            except OSError:
                continue
            if str(self.folder / "programs" / "own" / "program.py").encode() in line:
                result.append(line.decode())
        return result


@pytest.fixture
def counted(tmp_path: Path, write_programs: Callable[..., Path]) -> Iterator[Counted]:
    """A new folder of this kind."""
    write_programs(PROGRAM.replace("COUNT", repr(str(tmp_path / "count"))), "counted")
    yield Counted(tmp_path)


def _until_gone(counted: Counted) -> None:
    deadline = time.monotonic() + 120
    while running := counted.running():
        assert time.monotonic() < deadline, running
        time.sleep(0.02)


def _complete(counted: Counted, tasks: Sequence[int], cut: int) -> None:
    """Finish the study; check that every run is there, and that only interrupted runs were started twice."""
    with counted.begin(tasks) as process:
        _, message = process.communicate(timeout=300)
    assert process.returncode == 0, message
    study = load_study(counted.path)
    assert [(run.tasks, run.status) for run in study.runs] == [(n, "ok") for n in tasks]
    starts = counted.starts()
    assert set(starts) == set(tasks) and sum(starts.values()) <= len(tasks) + cut
    assert [path for path in counted.path.rglob(".*")] == [], "unfinished files of killed processes are removed"


@pytest.mark.parametrize(
    ("number", "whole_group", "code"),
    [(signal.SIGINT, False, 130), (signal.SIGINT, True, 130), (signal.SIGKILL, False, -signal.SIGKILL)],
)
def test_a_study_ended_at_any_moment_can_be_resumed(
    counted: Counted, number: int, whole_group: bool, code: int
) -> None:
    """
    A study is ended and resumed at several moments of a run; the stored runs stay as they are.

    Ctrl-C goes to the whole process group, as from a terminal, or to the command alone. No process of the program
    is left.
    """
    tasks = range(1, 13)
    kept: dict[int, bytes] = {}
    for delay_s in (0.0, 0.12, 0.25, 0.37):
        with counted.begin(tasks) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("["):
                    break
            time.sleep(delay_s)
            (os.killpg if whole_group else os.kill)(process.pid, number)
            rest = process.stderr.read()
            assert process.wait(300) == code, rest
        _until_gone(counted)
        stored = counted.stored()
        assert len(stored) > len(kept) and kept.items() <= stored.items()
        kept = stored
        if number == signal.SIGINT:
            assert rest.splitlines()[-1] == (
                f"concmem: interrupted; {len(kept)} run{'s'[: len(kept) > 1]} stored. "
                "To continue: concmem bench --resume --out study"
            )
    before = counted.starts()
    _complete(counted, tasks, cut=4)
    after = counted.starts()
    assert {n: after[n] for n in kept} == {n: before[n] for n in kept}
    assert kept.items() <= counted.stored().items()


@pytest.mark.parametrize("nth", range(1, 7))
def test_a_study_killed_between_any_two_files_can_be_resumed(counted: Counted, nth: int) -> None:
    """
    SIGKILL just before each file of a study takes its place, also between the timeline and the JSON of a run.

    A run without its JSON does not count. The files are study.json twice, then the timeline and the JSON of each run.
    """
    with counted.begin((1, 2), python=("-c", DIES_BEFORE_A_FILE, str(nth))) as process:
        _, message = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, message
    assert len(list(counted.path.rglob(".*"))) == 1, "one file was being written"
    timelines = {path.stem for path in counted.path.glob("runs/*.npz")}
    runs = {path.stem for path in counted.path.glob("runs/[!.]*.json")}
    assert (len(timelines), len(runs)) == {1: (0, 0), 2: (0, 0), 3: (0, 0), 4: (1, 0), 5: (1, 1), 6: (2, 1)}[nth]
    kept = counted.stored()
    assert len(kept) == len(runs)
    _complete(counted, (1, 2), cut=1)
    assert kept.items() <= counted.stored().items()
    assert all(counted.starts()[tasks] == 1 for tasks in kept)


@pytest.mark.parametrize("size_kib", [4, 16, 24, 32, 80])
def test_a_study_ended_by_a_full_disk_can_be_resumed(counted: Counted, own_mounts: list[str], size_kib: int) -> None:
    """The disk holds only the header, half a run, or some runs: one sentence, and the stored runs are whole."""
    (counted.folder / "disk").mkdir()
    tasks = range(1, 6)
    subprocess.run(
        [*own_mounts, "sh", "-c", FULL_DISK, "sh", str(size_kib), *counted.command(tasks)],
        cwd=counted.folder, timeout=300, check=True,
    )  # fmt: skip
    message, code, code_roomy = (
        (counted.folder / name).read_text() for name in ("message.full", "code.full", "code.roomy")
    )
    half, whole = (counted.stored(counted.folder / name) for name in ("half", "whole"))
    last = message.splitlines()[-1]
    assert int(code) == 125 and "Traceback" not in message
    assert last.startswith("concmem: disk/study/") and " could not be stored: No space left on device" in last
    if (counted.folder / "half" / "study.json").exists():
        assert last.endswith(
            f"; {len(half)} run{'' if len(half) == 1 else 's'} stored. "
            "To continue: concmem bench --resume --out disk/study"
        )
    least, most = {4: (0, 0), 16: (0, 0), 24: (0, 1), 32: (0, 1), 80: (1, 4)}[size_kib]
    assert least <= len(half) <= most
    assert int(code_roomy) == 0, (counted.folder / "message.roomy").read_text()
    assert set(whole) == set(tasks) and half.items() <= whole.items()
    starts = counted.starts()
    assert sum(starts.values()) <= len(tasks) + 1 and all(starts[n] == 1 for n in half)


def test_a_disk_without_room_for_the_report_loses_no_run(counted: Counted, own_mounts: list[str]) -> None:
    """All runs fit, the figures do not: one sentence says how to draw them later."""
    pytest.importorskip("vl_convert", reason="vl-convert-python is not installed (pip install 'concmem[report]')")
    (counted.folder / "disk").mkdir()
    subprocess.run(
        [*own_mounts, "sh", "-c", FULL_DISK, "sh", "200", *counted.command((1, 2))],
        cwd=counted.folder, timeout=300, check=True,
    )  # fmt: skip
    assert (counted.folder / "code.full").read_text().strip() == "125"
    assert (counted.folder / "message.full").read_text().splitlines()[-1] == (
        "concmem: the report in disk/study could not be written: No space left on device; "
        "to try again: concmem report disk/study"
    )
    assert counted.stored(counted.folder / "half") == counted.stored(counted.folder / "whole")
    assert counted.starts() == {1: 1, 2: 1}
    assert (counted.folder / "whole" / "figure-2.png").exists()


def test_two_processes_do_not_run_one_study(counted: Counted) -> None:
    """The second one ends at once with one sentence, the first one continues; after its end another may run."""
    tasks = range(1, 31)
    with counted.begin(tasks) as first:
        assert first.stderr is not None
        for line in first.stderr:
            if line.startswith("["):
                break
        with counted.begin(tasks) as second:
            _, message = second.communicate(timeout=300)
        assert second.returncode == 2
        assert message.splitlines()[-1] == "concmem: the study in study is being run by another process"
        assert first.poll() is None
        first.send_signal(signal.SIGINT)
        first.stderr.read()
    _until_gone(counted)
    stored, starts = counted.stored(), counted.starts()
    assert set(starts.values()) == {1}
    with counted.begin(tasks) as third:
        assert third.stderr is not None
        for line in third.stderr:
            if line.startswith("["):
                break
        third.send_signal(signal.SIGINT)
        third.stderr.read()
    assert stored.items() < counted.stored().items()
